/**
 * Which ids the receiver has: a ring of bits, the base below which nothing is waited for, and the
 * counts that go into the loss report.
 *
 * The base moves over ids that are had, and over ids that the sender has settled (it says so in
 * every data packet): those that are not had by then were beyond repair.
 */
import { ID_WINDOW, MAX_BITMAP_BYTES } from "./packets.ts";

const MASK = ID_WINDOW - 1;

/** `late`: never had, and the sender does not wait for it any more; a message is still welcome. */
export type Arrival = "new" | "late" | "duplicate" | "outside";

export class Arrivals {
  private readonly bits = new Uint8Array(ID_WINDOW / 8);
  private settledId = 0;
  baseId = 0;
  /** 1 + highest id had. */
  endId = 0;
  /** Ids that were settled by the sender and never had here. */
  unrecoverable = 0;

  get hasHoles(): boolean {
    return this.baseId < this.endId;
  }

  /** Can `id` be taken in, as `new` or `late`? Only then may `mark` be called. */
  check(id: number): Arrival {
    if (id >= this.settledId + ID_WINDOW) return "outside";
    if (id >= this.endId) return "new";
    const isForgotten = id < this.endId - ID_WINDOW;
    if (isForgotten || this.has(id)) return "duplicate";
    return id < this.baseId ? "late" : "new";
  }

  mark(id: number): void {
    for (; this.endId <= id; this.endId++) this.setBit(this.endId, 0);
    this.setBit(id, 1);
    this.advance();
  }

  /** The sender waits for nothing below `settledId`. */
  settle(settledId: number): void {
    if (settledId <= this.settledId) return;
    for (let id = this.baseId; id < settledId; id++) {
      if (id >= this.endId || !this.has(id)) this.unrecoverable++;
    }
    for (; this.endId < settledId; this.endId++) this.setBit(this.endId, 0);
    this.settledId = settledId;
    this.baseId = Math.max(this.baseId, settledId);
    this.advance();
  }

  private advance(): void {
    while (this.baseId < this.endId && this.has(this.baseId)) this.baseId++;
  }

  /** Writes which ids from the base's byte on are had; the length in bytes. */
  writeBitmap(out: Uint8Array): number {
    if (!this.hasHoles) return 0;
    const start = this.baseId >> 3;
    const length = Math.min(((this.endId + 7) >> 3) - start, MAX_BITMAP_BYTES, out.length);
    for (let i = 0; i < length; i++) out[i] = this.bits[(start + i) & (MASK >> 3)] ?? 0;
    const last = start + length - 1;
    if (last === this.endId >> 3)
      out[length - 1] = (out[length - 1] ?? 0) & lowBits(this.endId & 7);
    return length;
  }

  private has(id: number): boolean {
    return (((this.bits[(id & MASK) >> 3] ?? 0) >> (id & 7)) & 1) === 1;
  }

  private setBit(id: number, bit: 0 | 1): void {
    const byte = (id & MASK) >> 3;
    const others = (this.bits[byte] ?? 0) & ~(1 << (id & 7));
    this.bits[byte] = others | (bit << (id & 7));
  }
}

function lowBits(count: number): number {
  return (1 << count) - 1;
}
