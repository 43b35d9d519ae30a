/** Segments that the tables name and that are missing here, taken from a mirror that has them. */
import type { SegmentStore } from "../log/api.ts";
import { copySegment, summarizeLog } from "../log/mend.ts";
import { NodeCache } from "./cache.ts";
import { KeptSnapshots } from "./kept.ts";
import { RepairReport } from "./repair-report.ts";
import { newestCheckpoint, readerOf } from "./repair-tree.ts";
import { VolumeState } from "./state.ts";

/** Throws `SmfsError` NO_SPACE, IO. A log without a checkpoint names none. */
export async function fetchMissing(
  store: SegmentStore,
  mirror: SegmentStore,
  logId: Uint8Array,
  report: RepairReport,
): Promise<void> {
  const here = new Set(store.list().map(({ segment }) => segment));
  const missing = mirror.list().filter(({ segment }) => !here.has(segment));
  const summary = summarizeLog(store, logId);
  if (missing.length === 0 || summary.checkpoints.length === 0) return;
  // What it has to say about damage, the repair of the tree says later.
  const { at, checkpoint } = newestCheckpoint(store, summary, new RepairReport(() => {}));
  const kept = await KeptSnapshots.load(readerOf(store), checkpoint, KeptSnapshots.NONE);
  const { needed } = VolumeState.at(checkpoint, kept, new NodeCache(0));
  const last = summary.last?.segment ?? 0;
  for (const { segment, bytes } of missing) {
    const isBehind = segment > at.segment && segment < last;
    if (!needed.has(segment) && !isBehind) continue;
    await copySegment(store, mirror, segment, bytes);
    const what = `segment ${segment} was missing: ${bytes} bytes taken from the mirror`;
    report.done("segment-missing", what, { segment, offset: 0 });
  }
}
