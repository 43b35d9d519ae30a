/**
 * One layer of an encoder: its bins, and finished groups waiting for their delay.
 *
 * Packets go round the bins, one each. A bin closes when the round (`row`) is its closing round;
 * closing rounds are staggered, so a layer of i bins closes one about every r packets instead of i
 * at once. A closed group then waits for i more packets: a burst of up to i packets cannot take a
 * group's last member and its repair together.
 */
import { assert } from "../../../lib/assert.ts";
import type { Groups } from "./encoder-groups.ts";

const EMPTY = -1;

export class EncoderLayer {
  readonly interleave: number;
  private readonly r: number;
  private readonly groups: Groups;
  private readonly bins: Int32Array;
  private bin = 0;
  private row = 0;
  /** Packets pushed, wrapping; delays are counted in them. */
  private pushes = 0;
  /** Ring of closed groups, oldest first, with the push count at which each is due. */
  private readonly queue: Int32Array;
  private readonly dueAt: Int32Array;
  private head = 0;
  private size = 0;
  /** So many at the head are due whatever their delay. */
  private forced = 0;

  /** Groups a layer can hold: its bins, and a flush of them all behind those that are delayed. */
  static capacity(r: number, interleave: number): number {
    return interleave + queueCapacity(r, interleave);
  }

  constructor(r: number, interleave: number, groups: Groups) {
    this.r = r;
    this.interleave = interleave;
    this.groups = groups;
    this.bins = new Int32Array(interleave).fill(EMPTY);
    this.queue = new Int32Array(queueCapacity(r, interleave));
    this.dueAt = new Int32Array(this.queue.length);
  }

  /** Packet `id` is in the groups' hand. */
  push(id: number): void {
    const { bin, groups } = this;
    const group = this.bins[bin] as number;
    if (group === EMPTY) this.bins[bin] = groups.open(id);
    else groups.add(group);
    this.pushes = (this.pushes + 1) | 0;
    if (this.row === this.r - 1 - (bin % this.r)) this.closeBin(bin);
    this.advance();
  }

  /** The next group, which is due. The caller releases it. */
  take(): number {
    const group = this.queue[this.head] as number;
    this.head = (this.head + 1) % this.queue.length;
    this.size--;
    if (this.forced > 0) this.forced--;
    return group;
  }

  isDue(): boolean {
    if (this.size === 0) return false;
    return this.forced > 0 || this.isHeadSpread;
  }

  /** Whether the group at the head of the queue has served its delay. */
  get isHeadSpread(): boolean {
    return ((this.pushes - (this.dueAt[this.head] as number)) | 0) >= 0;
  }

  /** Whether some group that has not left has a member up to `id`. */
  covers(id: number): boolean {
    for (let i = 0; i < this.size; i++) {
      const group = this.queue[(this.head + i) % this.queue.length] as number;
      if (this.startsBy(group, id)) return true;
    }
    return this.bins.some((group) => group !== EMPTY && this.startsBy(group, id));
  }

  /** Closes all bins and makes everything due, oldest first. */
  flush(): void {
    for (let i = 0; i < this.interleave; i++) {
      // The bin that the next packet joins holds the oldest members.
      const bin = (this.bin + i) % this.interleave;
      if (this.bins[bin] !== EMPTY) this.closeBin(bin);
    }
    this.forced = this.size;
  }

  private startsBy(group: number, id: number): boolean {
    return ((id - (this.groups.first[group] as number)) | 0) >= 0;
  }

  private closeBin(bin: number): void {
    assert(this.size < this.queue.length, "too many repairs wait: poll() was not drained");
    const at = (this.head + this.size++) % this.queue.length;
    this.queue[at] = this.bins[bin] as number;
    this.dueAt[at] = (this.pushes + this.interleave) | 0;
    this.bins[bin] = EMPTY;
  }

  private advance(): void {
    if (++this.bin < this.interleave) return;
    this.bin = 0;
    this.row = (this.row + 1) % this.r;
  }
}

/** Delayed ones, one flush of all bins, and as many again for a caller that polls a little late. */
function queueCapacity(r: number, interleave: number): number {
  return 2 * interleave + Math.ceil(interleave / r) + 2;
}
