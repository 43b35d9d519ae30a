/**
 * Puts the stream together: bytes that arrive in any order, with any overlap, leave in order.
 *
 * In-order bytes are handed on without a copy; others wait in a ring of the window's size, with a
 * sorted list of the runs that are there (touching runs are merged, so behind one hole there is
 * one run). What would need more than MAX_RUNS is refused: the sender sends it again.
 */
import { ByteRing } from "./byte-ring.ts";

/** Holes in the window at once; one hole a millisecond for a second. */
const MAX_RUNS = 1024;

export class Reassembly {
  private readonly ring: ByteRing;
  private readonly deliver: (bytes: Uint8Array) => void;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private delivered = 0;

  /** `deliver` gets the bytes in order, valid during the call only. */
  constructor(windowBytes: number, deliver: (bytes: Uint8Array) => void) {
    this.ring = new ByteRing(windowBytes);
    this.deliver = deliver;
  }

  get deliveredOffset(): number {
    return this.delivered;
  }

  /** The sender may send bytes below this. */
  get limitOffset(): number {
    return this.delivered + this.ring.capacityBytes;
  }

  /** False when the bytes cannot be kept: past the window, or too many holes. */
  insert(offset: number, bytes: Uint8Array): boolean {
    const end = offset + bytes.length;
    if (end > this.limitOffset) return false;
    if (end <= this.delivered) return true;
    if (offset > this.delivered) return this.keep(offset, end, bytes);
    const fresh = bytes.subarray(this.delivered - offset);
    this.delivered = end;
    this.deliver(fresh);
    this.drain();
    return true;
  }

  private keep(offset: number, end: number, bytes: Uint8Array): boolean {
    const at = this.firstTouching(offset);
    const last = this.starts.length - 1;
    if (at > last || (this.starts[at] ?? 0) > end) {
      if (this.starts.length >= MAX_RUNS) return false;
      this.starts.splice(at, 0, offset);
      this.ends.splice(at, 0, end);
    } else {
      this.merge(at, offset, end);
    }
    this.ring.write(offset, bytes);
    return true;
  }

  /** Index of the first run that ends at or after `offset`; mostly the last. */
  private firstTouching(offset: number): number {
    let at = this.starts.length;
    while (at > 0 && (this.ends[at - 1] ?? 0) >= offset) at--;
    return at;
  }

  private merge(at: number, offset: number, end: number): void {
    this.starts[at] = Math.min(offset, this.starts[at] ?? 0);
    let merged = Math.max(end, this.ends[at] ?? 0);
    let next = at + 1;
    for (; next < this.starts.length && (this.starts[next] ?? 0) <= merged; next++) {
      merged = Math.max(merged, this.ends[next] ?? 0);
    }
    this.ends[at] = merged;
    this.starts.splice(at + 1, next - at - 1);
    this.ends.splice(at + 1, next - at - 1);
  }

  private drain(): void {
    while (this.starts.length > 0 && (this.starts[0] ?? 0) <= this.delivered) {
      const end = this.ends[0] ?? 0;
      this.starts.shift();
      this.ends.shift();
      while (this.delivered < end) {
        const run = this.ring.view(this.delivered, end - this.delivered);
        this.delivered += run.length;
        this.deliver(run);
      }
    }
  }
}
