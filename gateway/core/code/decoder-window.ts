/**
 * The receiver's window: the last `size` data packets.
 *
 * Ids up to `highest` and above `highest − depth` are inside; each has the slot `id mod size`. A slot
 * is emptied when its next id comes in, so a present slot always holds the packet of the one id
 * inside the window that maps to it. The window grows when a sender's code spans more, never beyond
 * `MAX_WINDOW_PACKETS`, and does not shrink: codes change back.
 */
import type { Blocks } from "./blocks.ts";
import { MAX_SPAN } from "./parameters.ts";

/** Room for the widest group, and for the delay of its repair, which is as wide at most. */
export const MAX_WINDOW_PACKETS = 2 * MAX_SPAN;

export class DecoderWindow {
  readonly blocks: Blocks;
  private slots: number;
  /** Ids inside. After growing, the window gets longer as it moves: what left it stays outside. */
  private depth: number;
  private present: Uint8Array;
  /** Slot → index of its block; the window grows by blocks that are anywhere. */
  private blockOfSlot: Int32Array;
  private highest = 0;
  /** No id above it, up to the highest, is missing. */
  private newestMissing = 0;
  private started = false;

  /** `size` is a power of two. */
  constructor(blocks: Blocks, size: number) {
    this.blocks = blocks;
    this.slots = size;
    this.depth = size;
    this.present = new Uint8Array(size);
    this.blockOfSlot = sequence(blocks.reserve(size), size);
  }

  get size(): number {
    return this.slots;
  }

  get isStarted(): boolean {
    return this.started;
  }

  /** How far `id` lies ahead of the highest seen (32-bit serial arithmetic, RFC 1982). */
  ahead(id: number): number {
    return this.started ? (id - this.highest) | 0 : 0;
  }

  isBehind(id: number): boolean {
    return this.ahead(id) <= -this.depth;
  }

  slotOf(id: number): number {
    return id & (this.slots - 1);
  }

  /** Block of an id inside the window. */
  blockOf(id: number): number {
    return this.blockOfSlot[id & (this.slots - 1)] as number;
  }

  has(id: number): boolean {
    return this.ahead(id) <= 0 && !this.isBehind(id) && this.present[this.slotOf(id)] === 1;
  }

  /** Whether every id from `first` to the highest is there; an answer for most repairs. */
  isCompleteFrom(first: number): boolean {
    return this.started && ((first - this.newestMissing) | 0) > 0;
  }

  /** Moves the window so that `id` is its highest; `onEmptied` hears each id that leaves it. */
  advanceTo(id: number, onEmptied: (id: number) => void): void {
    const ahead = this.started ? this.ahead(id) : 0;
    const steps = Math.min(ahead, this.slots);
    for (let i = steps - 1; i >= 0; i--) {
      const leaving = (id - i - this.slots) >>> 0;
      this.present[this.slotOf(leaving)] = 0;
      onEmptied(leaving);
    }
    this.highest = id >>> 0;
    this.depth = Math.min(this.slots, this.depth + steps);
    // Its own slot is empty too, but whoever calls is about to fill it, or `noteMissing` says so.
    if (ahead > 1 || !this.started) this.newestMissing = (id - 1) >>> 0;
    this.started = true;
    if (this.isBehind(this.newestMissing)) this.newestMissing = (id - this.depth) >>> 0;
  }

  /** The highest id is known by a repair alone. */
  noteHighestMissing(): void {
    this.newestMissing = this.highest;
  }

  /** Stores the packet of an id inside the window. */
  put(id: number, packet: Uint8Array): void {
    this.blocks.storePacket(this.blockOf(id), packet);
    this.mark(id);
  }

  /** The block of `id` already holds its symbol. */
  mark(id: number): void {
    this.present[this.slotOf(id)] = 1;
    while (this.has(this.newestMissing)) this.newestMissing = (this.newestMissing - 1) >>> 0;
  }

  /** More slots; packets stay. `size` is a power of two. */
  grow(size: number): void {
    const before = this.slots;
    const isPresent = this.present;
    this.present = new Uint8Array(size);
    const added = sequence(this.blocks.reserve(size - before), size - before);
    this.blockOfSlot = Int32Array.from([...this.blockOfSlot, ...added]);
    this.slots = size;
    for (let i = 0; this.started && i < before; i++) {
      const id = (this.highest - i) >>> 0;
      if (isPresent[id & (before - 1)] === 1) this.moveIn(id, id & (before - 1));
    }
  }

  /** Its slot is the one that it had or a new one; either way nobody else's. */
  private moveIn(id: number, slotBefore: number): void {
    const slot = this.slotOf(id);
    const from = this.blockOfSlot[slotBefore] as number;
    this.blockOfSlot[slotBefore] = this.blockOfSlot[slot] as number;
    this.blockOfSlot[slot] = from;
    this.present[slot] = 1;
  }
}

function sequence(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, n) => first + n);
}
