/**
 * One layer of an encoder: its bins, and finished groups waiting for their delay.
 *
 * Packets go round the bins, one each. A bin closes when the round (`row`) is its closing round;
 * closing rounds are staggered, so a layer of i bins closes one about every r packets instead of i
 * at once. A closed group then waits for i more packets: a burst of up to i packets cannot take a
 * group's last member and its repair together.
 */
import { assert } from "../../lib/assert.ts";
import type { Groups } from "./encoder-groups.ts";
import type { BlockStore } from "./xor.ts";

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

  push(id: number, source: BlockStore, length: number): void {
    const { bin, groups } = this;
    const group = this.bins[bin] as number;
    if (group === EMPTY) this.bins[bin] = groups.open(id, source, length);
    else groups.add(group, source, length);
    this.pushes = (this.pushes + 1) | 0;
    if (this.row === this.r - 1 - (bin % this.r)) this.closeBin(bin);
    this.advance();
  }

  /** The next group that is due, or −1. The caller releases it. */
  take(): number {
    if (!this.isDue()) return EMPTY;
    const group = this.queue[this.head] as number;
    this.head = (this.head + 1) % this.queue.length;
    this.size--;
    if (this.forced > 0) this.forced--;
    return group;
  }

  isDue(): boolean {
    if (this.size === 0) return false;
    return this.forced > 0 || ((this.pushes - (this.dueAt[this.head] as number)) | 0) >= 0;
  }

  /** Closes every bin with a member up to `id`, and ends the delay of all that cover such ids. */
  flushThrough(id: number): void {
    for (let i = 0; i < this.interleave; i++) {
      // The bin that the next packet joins holds the oldest members.
      const bin = (this.bin + i) % this.interleave;
      const group = this.bins[bin] as number;
      if (group !== EMPTY && this.startsBy(group, id)) this.closeBin(bin);
    }
    let covering = this.size;
    while (covering > this.forced && !this.startsBy(this.queued(covering - 1), id)) covering--;
    this.forced = covering;
  }

  private startsBy(group: number, id: number): boolean {
    return ((id - (this.groups.first[group] as number)) | 0) >= 0;
  }

  private queued(index: number): number {
    return this.queue[(this.head + index) % this.queue.length] as number;
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
