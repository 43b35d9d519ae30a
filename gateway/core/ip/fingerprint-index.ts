/**
 * The last `capacity` fingerprints in the order they came, found by value: a ring of entries and a
 * hash table of chains over it. An entry's number is its place in the ring; the user keeps what
 * belongs to it under that number. Of equal fingerprints the newest is found.
 */
const NONE = -1;

export class FingerprintIndex {
  private readonly capacity: number;
  private readonly highs: Uint32Array;
  private readonly lows: Uint32Array;
  private readonly heads: Int32Array;
  private readonly next: Int32Array;
  private count = 0;
  private at = 0;

  /** `capacity` is a power of two. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.highs = new Uint32Array(capacity);
    this.lows = new Uint32Array(capacity);
    this.heads = new Int32Array(2 * capacity).fill(NONE);
    this.next = new Int32Array(capacity).fill(NONE);
  }

  /** The new entry's number; the oldest entry is gone when all are taken. */
  add(high: number, low: number): number {
    const entry = this.at;
    this.at = (this.at + 1) & (this.capacity - 1);
    if (this.count === this.capacity) this.unlink(entry);
    else this.count++;
    this.highs[entry] = high;
    this.lows[entry] = low;
    const bucket = this.bucketOf(low);
    this.next[entry] = this.heads[bucket] ?? NONE;
    this.heads[bucket] = entry;
    return entry;
  }

  /** The entry's number; −1 when there is none. */
  find(high: number, low: number): number {
    let entry = this.heads[this.bucketOf(low)] ?? NONE;
    while (entry !== NONE && (this.highs[entry] !== high || this.lows[entry] !== low)) {
      entry = this.next[entry] ?? NONE;
    }
    return entry;
  }

  private unlink(entry: number): void {
    const bucket = this.bucketOf(this.lows[entry] ?? 0);
    const after = this.next[entry] ?? NONE;
    let before = this.heads[bucket] ?? NONE;
    if (before === entry) {
      this.heads[bucket] = after;
      return;
    }
    while (this.next[before] !== entry) before = this.next[before] ?? NONE;
    this.next[before] = after;
  }

  private bucketOf(low: number): number {
    return low & (2 * this.capacity - 1);
  }
}
