/**
 * Damage at rest in the two-site world: bits that flip and sectors that cannot be read any more, at
 * one site, in what both have. Whoever meets it gets an error that names the place, never other data;
 * a scrub takes what is damaged from the other site, and then all is as before.
 */
import type { Prng } from "../../lib/prng.ts";
import { SEGMENT_HEADER_BYTES } from "../../logfs/core/log/segment.ts";
import type { SegmentStore } from "../../logfs/core/log/api.ts";
import type { ScrubProgress } from "../../logfs/core/log/scrub.ts";
import type { SimulatedDisk } from "./disk.ts";
import { SECTOR_BYTES } from "./disk-image.ts";

const MOST_PLACES = 4;

/** Damages records that end before `end`. Headers of segments stay: no other copy replaces them. */
export function rot(
  disk: SimulatedDisk,
  end: { readonly segment: number; readonly offset: number },
  prng: Prng,
): void {
  const places = 1 + prng.below(MOST_PLACES);
  const segments = disk.list().filter(({ segment }) => segment <= end.segment);
  for (let i = 0; i < places; i++) {
    const { segment, bytes } = prng.pick(segments);
    const usedBytes = segment === end.segment ? end.offset : bytes;
    if (usedBytes < 2 * SECTOR_BYTES) continue;
    if (prng.chance(0.5)) {
      const offset = SEGMENT_HEADER_BYTES + prng.below(usedBytes - SEGMENT_HEADER_BYTES);
      disk.flipBit(segment, offset, prng.below(8));
    } else {
      disk.makeUnreadable(segment, SECTOR_BYTES + prng.below(usedBytes - SECTOR_BYTES));
    }
  }
}

/**
 * What a scrub left that had the other site to ask; null: it could not have done better. What is dead
 * may be gone there already.
 */
export function objectionTo(
  { state, reason, findings }: ScrubProgress,
  other: SimulatedDisk,
): string | null {
  if (state !== "finished") return `the scrub ${state}: ${reason}`;
  const there = new Set(other.list().map(({ segment }) => segment));
  const left = findings.filter(({ outcome, segment }) => outcome === "left" && there.has(segment));
  if (left.length === 0) return null;
  const places = left.map(({ segment, offset, problem }) => `${segment}:${offset} ${problem}`);
  return `the scrub left ${places.join("; ")}`;
}

/** Allocation as far as the segments go, so that nothing more can be had. */
export function fill(disk: SimulatedDisk, roomBytes: number): void {
  const { totalBytes, freeBytes }: ReturnType<SegmentStore["space"]> = disk.space();
  disk.resize(totalBytes - freeBytes + roomBytes);
}
