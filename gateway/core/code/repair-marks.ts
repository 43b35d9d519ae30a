/**
 * How far each of the latest repairs of a sliding window reached: exact, and O(1).
 *
 * A repair covers the window up to the packet that was the last when it left. So the n-th latest
 * repair's end is where n repairs cover everything.
 */
const CAPACITY = 256;

export class RepairMarks {
  private readonly ends = new Uint32Array(CAPACITY).fill(0xffffffff);
  private pushed = 0;
  private released = 0xffffffff;
  private started = false;

  /** Nothing up to `id` was ever there. Does nothing the second time. */
  start(id: number): void {
    if (this.started) return;
    this.started = true;
    this.ends.fill(id);
    this.released = id;
  }

  /** A repair left whose last member is `id`. */
  push(id: number): void {
    this.ends[this.pushed++ % CAPACITY] = id;
  }

  /** Ids through `id` no longer hold any mark. */
  release(id: number): void {
    if (this.started && ((id - this.released) | 0) > 0) this.released = id;
  }

  /** Id through which everything is covered by `repairs` repairs, at most `CAPACITY`. */
  endOf(repairs: number): number {
    const end = this.ends[(this.pushed - repairs + CAPACITY) % CAPACITY] as number;
    return ((end - this.released) | 0) > 0 ? end : this.released;
  }
}
