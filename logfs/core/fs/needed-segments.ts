/** Is everything there that a state at the end of its log needs? What is missing was not dropped by us. */
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import type { VolumeState } from "./state.ts";

/** Numbers that one message lists. */
const MAX_LISTED = 16;

/** Throws `SmfsError` DAMAGED with the numbers of the missing segments and the bytes lost in them. */
export function requireSegments(log: Pick<LogReader, "segments">, state: VolumeState): void {
  const there = new Set(log.segments.map(({ segment }) => segment));
  const missing = [...state.surelyNeeded].filter((segment) => !there.has(segment));
  if (missing.length === 0) return;
  const bytes = missing.reduce((sum, segment) => sum + state.live.of(segment), 0);
  const listed = missing.slice(0, MAX_LISTED).join(", ");
  const more = missing.length > MAX_LISTED ? `, and ${missing.length - MAX_LISTED} more` : "";
  const lost = `${bytes} bytes that files or the tree refer to, besides those of snapshots`;
  throw new SmfsError("DAMAGED", `missing segments: ${listed}${more}; they held ${lost}`);
}
