/** Which data packets a repair is made of, whatever its kind: for those who only look at repairs. */
import { viewOf } from "../../../lib/codec.ts";
import { blockRepair, layeredRepair, REPAIR, slidingWindowRepair } from "./repair.ts";
import type { Members } from "./repair-solver.ts";

/** Throws `SmfsError` SHORT for less than a header; null for a kind that is not known. */
export function membersOf(repair: Uint8Array): Members | null {
  const view = viewOf(repair);
  switch (repair[0] ?? 0) {
    case REPAIR.layered:
      return layeredRepair.decode(view, 0);
    case REPAIR.slidingWindow:
      return { ...slidingWindowRepair.decode(view, 0), stride: 1 };
    case REPAIR.block:
      return blockRepair.decode(view, 0);
    default:
      return null;
  }
}
