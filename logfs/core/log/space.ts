/**
 * Space is allocated before a record is built: a full device refuses the append before anything
 * changed, and no write inside the allocated range can run out of space.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { ReserveUse, SegmentStore } from "./api.ts";
import { PAGE_BYTES } from "./options.ts";
import type { LogCounters } from "./statistics.ts";

export class SpaceAhead {
  private readonly allocated = new Map<number, number>();
  private readonly store: SegmentStore;
  private readonly stepBytes: number;
  private readonly segmentBytes: number;
  private readonly counters: LogCounters;

  constructor(
    store: SegmentStore,
    limits: { allocationBytes: number; segmentBytes: number },
    counters: LogCounters,
  ) {
    this.store = store;
    this.stepBytes = limits.allocationBytes;
    this.segmentBytes = limits.segmentBytes;
    this.counters = counters;
  }

  /** `segment` is `bytes` long already. Only the newest two segments are remembered. */
  note(segment: number, bytes: number): void {
    this.allocated.set(segment, bytes);
    for (const old of this.allocated.keys()) if (old < segment - 1) this.allocated.delete(old);
  }

  /** Segments from `segment` on are not what they were. */
  forgetFrom(segment: number): void {
    for (const known of this.allocated.keys()) if (known >= segment) this.allocated.delete(known);
  }

  /** Makes `segment` at least `bytes` long. Throws `SmfsError` NO_SPACE, having changed nothing. */
  ensure(segment: number, bytes: number, right: { readonly reserve: ReserveUse | null }): void {
    const had = this.allocated.get(segment) ?? 0;
    if (bytes <= had) return;
    const step = Math.min(roundUp(bytes, this.stepBytes), Math.max(bytes, this.segmentBytes));
    const least = roundUp(bytes, PAGE_BYTES);
    if (this.tryAllocate(segment, step) || this.tryAllocate(segment, least)) return;
    if (right.reserve !== null && this.allocateFromReserve(segment, had, least, right.reserve)) {
      return;
    }
    this.counters.refusedForSpace++;
    throw new SmfsError("NO_SPACE", `no space for segment ${segment} to grow to ${least} bytes`);
  }

  /** A device may need more than the file grows by: then twice as much is given back, and so on. */
  private allocateFromReserve(
    segment: number,
    had: number,
    least: number,
    use: ReserveUse,
  ): boolean {
    const missing = roundUp(least - had, PAGE_BYTES);
    for (let bytes = missing; this.store.releaseReserve(bytes, use); bytes *= 2) {
      this.counters.reserveReleases++;
      if (this.tryAllocate(segment, least)) return true;
    }
    return false;
  }

  private tryAllocate(segment: number, bytes: number): boolean {
    try {
      this.store.allocate(segment, bytes);
    } catch (error) {
      if (error instanceof SmfsError && error.code === "NO_SPACE") return false;
      throw error;
    }
    this.note(segment, bytes);
    return true;
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
