/** Where the space of a log goes, by its tables of live bytes: what `smfs df` shows. */
import type { SegmentInfo } from "../log/api.ts";
import type { VolumeState } from "./state.ts";

export interface SpaceUse {
  readonly segments: number;
  /** Of the segments' files. */
  readonly usedBytes: number;
  /** That files and the tree refer to now. */
  readonly liveBytes: number;
  /** In segments that snapshots need, beyond what is live now: not to be had while they exist. */
  readonly pinnedBytes: number;
  /** That cleaning would give back: in segments that no snapshot needs, without what is live. */
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
    const dead = Math.max(0, bytes - live.of(segment));
    if (kept.pinned.has(segment)) pinnedBytes += dead;
    else if (segment !== last) reclaimableBytes += dead;
  }
  const liveBytes = live.totalBytes;
  return { segments: segments.length, usedBytes, liveBytes, pinnedBytes, reclaimableBytes };
}
