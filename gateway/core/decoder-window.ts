/**
 * The receiver's window: the last `size` data packets, in one allocation.
 *
 * Ids up to `highest` and above `highest − size` are inside; each has the slot `id mod size`. A slot
 * is emptied when its next id comes in, so a present slot always holds the packet of the one id
 * inside the window that maps to it.
 */
import { BlockStore } from "./xor.ts";

export class DecoderWindow {
  readonly size: number;
  readonly blocks: BlockStore;
  private readonly present: Uint8Array;
  private readonly lengths: Uint16Array;
  private highest = 0;
  private started = false;

  /** `size` is a power of two. */
  constructor(size: number) {
    this.size = size;
    this.blocks = new BlockStore(size);
    this.present = new Uint8Array(size);
    this.lengths = new Uint16Array(size);
  }

  get isStarted(): boolean {
    return this.started;
  }

  /** How far `id` lies ahead of the highest seen (32-bit serial arithmetic, RFC 1982). */
  ahead(id: number): number {
    return this.started ? (id - this.highest) | 0 : 0;
  }

  isBehind(id: number): boolean {
    return this.ahead(id) <= -this.size;
  }

  slotOf(id: number): number {
    return id & (this.size - 1);
  }

  has(id: number): boolean {
    return this.ahead(id) <= 0 && !this.isBehind(id) && this.present[this.slotOf(id)] === 1;
  }

  lengthOf(slot: number): number {
    return this.lengths[slot] as number;
  }

  /** The packet in a slot, a view that later packets overwrite. */
  view(slot: number): Uint8Array {
    const start = this.blocks.offsetOf(slot);
    return this.blocks.bytes.subarray(start, start + this.lengthOf(slot));
  }

  /** Moves the window so that `id` is its highest; `onEmptied` hears each slot that is reused. */
  advanceTo(id: number, onEmptied: (slot: number) => void): void {
    const steps = this.started ? Math.min(this.ahead(id), this.size) : 0;
    for (let i = steps - 1; i >= 0; i--) {
      const slot = this.slotOf(id - i);
      this.present[slot] = 0;
      onEmptied(slot);
    }
    this.highest = id >>> 0;
    this.started = true;
  }

  /** Stores the packet of an id inside the window. */
  put(id: number, packet: Uint8Array): void {
    const slot = this.slotOf(id);
    this.blocks.store(slot, packet);
    this.mark(slot, packet.length);
  }

  /** The slot's block already holds a packet of `length` bytes. */
  mark(slot: number, length: number): void {
    this.lengths[slot] = length;
    this.present[slot] = 1;
  }
}
