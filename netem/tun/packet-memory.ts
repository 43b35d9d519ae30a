/**
 * Packets of one greatest length in native memory, named by small numbers: what the emulated links
 * carry, and what the kernel reads and writes in place.
 *
 * Invariant: a number is either free or held by one owner. Memory grows by a slab to the most
 * packets that were ever under way at once, at most `MOST_BYTES`, and stays.
 */
import { assert } from "../../lib/assert.ts";
import { type NativeMemory, nativeMemory } from "../../sys/libc.ts";

const SLAB_SHIFT = 10;
const SLAB_PACKETS = 1 << SLAB_SHIFT;
/** More than both links hold of Ethernet packets; of longer ones it is reached first. */
const MOST_BYTES = 2 ** 30;
/** Packets begin on cache lines of their own. */
const ALIGNMENT_BYTES = 64;

export class PacketMemory {
  /** Room for each packet. */
  readonly slotBytes: number;
  private readonly slabs: NativeMemory[] = [];
  private readonly lengths: Uint32Array[] = [];
  private readonly free: number[] = [];

  private readonly mostSlabs: number;

  /** `maxBytes` of a packet; `mostBytes` of all. */
  constructor(maxBytes: number, mostBytes = MOST_BYTES) {
    this.slotBytes = Math.ceil(maxBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    this.mostSlabs = Math.max(1, Math.floor(mostBytes / (this.slotBytes * SLAB_PACKETS)));
  }

  hasRoomFor(packets: number): boolean {
    const unused = (this.mostSlabs - this.slabs.length) * SLAB_PACKETS;
    return this.free.length + unused >= packets;
  }

  /** A packet to be filled. Not without room. */
  take(): number {
    if (this.free.length === 0) this.grow();
    return this.free.pop() as number;
  }

  release(packet: number): void {
    this.free.push(packet);
  }

  /** For duplicates: each copy goes back by itself. */
  copy(packet: number): number {
    const second = this.take();
    const length = this.length(packet);
    const from = this.offset(packet);
    const source = this.memory(packet).bytes.subarray(from, from + length);
    this.memory(second).bytes.set(source, this.offset(second));
    this.setLength(second, length);
    return second;
  }

  /** Where the packet is, with `offset`. */
  memory(packet: number): NativeMemory {
    return this.slabs[packet >>> SLAB_SHIFT] as NativeMemory;
  }

  offset(packet: number): number {
    return (packet & (SLAB_PACKETS - 1)) * this.slotBytes;
  }

  length(packet: number): number {
    return (this.lengths[packet >>> SLAB_SHIFT] as Uint32Array)[
      packet & (SLAB_PACKETS - 1)
    ] as number;
  }

  setLength(packet: number, bytes: number): void {
    (this.lengths[packet >>> SLAB_SHIFT] as Uint32Array)[packet & (SLAB_PACKETS - 1)] = bytes;
  }

  private grow(): void {
    assert(this.slabs.length < this.mostSlabs, "whoever takes a packet asks for room first");
    const first = this.slabs.length * SLAB_PACKETS;
    this.slabs.push(nativeMemory(SLAB_PACKETS * this.slotBytes));
    this.lengths.push(new Uint32Array(SLAB_PACKETS));
    for (let i = SLAB_PACKETS - 1; i >= 0; i--) this.free.push(first + i);
  }
}
