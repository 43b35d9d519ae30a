/** Where the space of a log goes, by its tables of live bytes: what `smfs df` shows. */
import type { SegmentInfo } from "../log/api.ts";
import type { VolumeState } from "./state.ts";

export interface SpaceUse {
  readonly segments: number;
  /** Of the segments' files. */
  readonly usedBytes: number;
  /** That files and the tree refer to now. */
  readonly liveBytes: number;
  /** That snapshots refer to, beyond what is live now: not to be had while they exist. */
  readonly pinnedBytes: number;
  /** That cleaning would give back: what nothing refers to in segments that are sealed, about. */
  readonly reclaimableBytes: number;
}

/** The last segment is being written: what of it is not live is room, not waste. */
export function measureSpace(
  { live, kept }: Pick<VolumeState, "live" | "kept">,
  segments: readonly SegmentInfo[],
): SpaceUse {
  const last = segments.at(-1)?.segment;
  let usedBytes = 0;
  let pinnedBytes = 0;
  let reclaimableBytes = 0;
  for (const { segment, bytes } of segments) {
    usedBytes += bytes;
    const liveBytes = live.of(segment);
    const needed = kept.unknown.has(segment) ? bytes : Math.max(liveBytes, kept.mostOf(segment));
    pinnedBytes += needed - liveBytes;
    if (segment !== last) reclaimableBytes += Math.max(0, bytes - needed);
  }
  const liveBytes = live.totalBytes;
  return { segments: segments.length, usedBytes, liveBytes, pinnedBytes, reclaimableBytes };
}
