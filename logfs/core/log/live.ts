/**
 * Live bytes per segment: what was appended less what was freed. The numbers choose segments to
 * clean; they are a hint that fsck can recompute, never a reason to call a byte dead.
 */
import type { Address } from "./api.ts";

export interface SegmentUsage {
  readonly segment: number;
  /** Bytes of records, header of the segment included. */
  readonly usedBytes: number;
  readonly freedBytes: number;
}

export class LiveTable {
  private readonly used = new Map<number, number>();
  private readonly freed = new Map<number, number>();

  setUsed(segment: number, usedBytes: number): void {
    this.used.set(segment, usedBytes);
  }

  free(address: Address, length: number): void {
    this.freed.set(address.segment, (this.freed.get(address.segment) ?? 0) + length);
  }

  liveBytes(segment: number): number {
    return Math.max(0, (this.used.get(segment) ?? 0) - (this.freed.get(segment) ?? 0));
  }

  forget(segment: number): void {
    this.used.delete(segment);
    this.freed.delete(segment);
  }

  /** One row per segment, ascending, to be kept with a checkpoint. */
  snapshot(): SegmentUsage[] {
    const rows = [...this.used].map(([segment, usedBytes]) => ({
      segment,
      usedBytes,
      freedBytes: this.freed.get(segment) ?? 0,
    }));
    return rows.toSorted((a, b) => a.segment - b.segment);
  }

  /** Takes a snapshot back; segments that are gone since are skipped, used bytes only grow. */
  restore(rows: readonly SegmentUsage[]): void {
    for (const { segment, usedBytes, freedBytes } of rows) {
      const now = this.used.get(segment);
      if (now === undefined) continue;
      this.used.set(segment, Math.max(now, usedBytes));
      this.freed.set(segment, freedBytes);
    }
  }
}
