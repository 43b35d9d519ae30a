/**
 * Blocks: the memory of a code, and the arithmetic on it.
 *
 * A block holds one symbol. A *symbol* is what the codes compute with: a packet with its length
 * before it (two bytes), taken as followed by zeros. So a rebuilt symbol tells its own length, and
 * combinations of packets of different lengths need no further rule (RFC 8681 §3.1 calls it ADUI).
 * Before each block there is room for a repair's header, so that whole repairs go in and out.
 *
 * Invariant: what was stored is followed by zeros to the end of its unit (`UNIT_BYTES`); behind that
 * a block holds leftovers that nobody reads.
 */
import { assert } from "../../../lib/assert.ts";
import { struct, type Struct, u16, viewOf } from "../../../lib/codec.ts";
import { MAX_PACKET_BYTES } from "./code.ts";
import { instantiate, PAGE_BYTES, TABLE_BYTES, tablesOf, UNIT_BYTES } from "./gf256-kernel.ts";

export const symbolHeader = struct("symbol header", {
  length: u16("bytes of the packet that follows; zeros after it"),
});
export const MAX_SYMBOL_BYTES = symbolHeader.size + MAX_PACKET_BYTES;
const BLOCK_BYTES = roundUp(MAX_SYMBOL_BYTES);
/** Before each block; longer than every repair's header. */
const MARGIN_BYTES = UNIT_BYTES;

export class Blocks {
  private readonly instance = instantiate();
  private memory = new Uint8Array(this.instance.memory.buffer);
  private view = viewOf(this.memory);
  private count = 0;
  /** The last view given out of each block: packets often have one length, and views are garbage. */
  private views: (Uint8Array | undefined)[] = [];

  constructor(blocks: number) {
    this.reserve(blocks);
  }

  /** Adds blocks; the index of the first. They start out as zeros. */
  reserve(blocks: number): number {
    const first = this.count;
    this.count += blocks;
    const missing = TABLE_BYTES + this.count * (MARGIN_BYTES + BLOCK_BYTES) - this.memory.length;
    if (missing > 0) this.instance.memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.memory = new Uint8Array(this.instance.memory.buffer);
    this.view = viewOf(this.memory);
    this.views = Array.from({ length: this.count });
    return first;
  }

  /** Block `index` becomes the symbol of `packet`. */
  storePacket(index: number, packet: Uint8Array): void {
    assert(packet.length <= MAX_PACKET_BYTES, "packet longer than the code takes");
    const start = addressOf(index);
    this.view.setUint16(start, packet.length, true);
    this.memory.set(packet, start + symbolHeader.size);
    this.clearUnit(index, symbolHeader.size + packet.length);
  }

  /** Block `index` becomes what stands behind a repair's header, which goes before it. */
  storeRepair(index: number, repair: Uint8Array, headerBytes: number): void {
    this.memory.set(repair, addressOf(index) - headerBytes);
    this.clearUnit(index, repair.length - headerBytes);
  }

  /** Writes the header before a block; with the first `bytes` of the block, that is the repair. */
  makeRepair<T>(index: number, layout: Struct<T>, header: T, bytes: number): Uint8Array {
    layout.encode(this.view, addressOf(index) - layout.size, header);
    return this.viewAt(index, addressOf(index) - layout.size, layout.size + bytes);
  }

  /** All of a block becomes zeros. */
  clear(index: number): void {
    this.memory.fill(0, addressOf(index), addressOf(index) + BLOCK_BYTES);
  }

  /** What follows `bytes` becomes zeros as far as `longer`, if that is more. */
  extend(index: number, bytes: number, longer: number): void {
    const start = addressOf(index);
    if (longer > bytes) this.memory.fill(0, start + bytes, start + roundUp(longer));
  }

  copy(target: number, source: number, bytes: number): void {
    const start = addressOf(source);
    this.memory.copyWithin(addressOf(target), start, start + roundUp(bytes));
  }

  /** Adds `bytes` of one block to another. */
  xor(target: number, source: number, bytes: number): void {
    this.instance.kernel.xor(addressOf(target), addressOf(source), roundUp(bytes));
  }

  /** Adds `constant` times `bytes` of one block to another, in GF(256). */
  addScaled(target: number, source: number, bytes: number, constant: number): void {
    const { kernel } = this.instance;
    const to = addressOf(target);
    const from = addressOf(source);
    if (constant === 1) kernel.xor(to, from, roundUp(bytes));
    else kernel.addScaled(to, from, roundUp(bytes), tablesOf(constant));
  }

  /** Multiplies `bytes` of a block by `constant`. */
  scale(index: number, bytes: number, constant: number): void {
    this.instance.kernel.scale(addressOf(index), roundUp(bytes), tablesOf(constant));
  }

  /** The first byte of a block in [from, to) that is not zero; `to` for none. */
  firstNonZero(index: number, from: number, to: number): number {
    const start = addressOf(index);
    return this.instance.kernel.firstNonZero(start + from, start + to) - start;
  }

  byteAt(index: number, at: number): number {
    return this.memory[addressOf(index) + at] as number;
  }

  setByte(index: number, at: number, value: number): void {
    this.memory[addressOf(index) + at] = value;
  }

  /** Length of the symbol in a block, its two bytes of length included. */
  symbolBytes(index: number): number {
    return symbolHeader.size + this.view.getUint16(addressOf(index), true);
  }

  /** Whether the first `bytes` of a block are a symbol and nothing else. */
  holdsSymbol(index: number, bytes: number): boolean {
    const length = this.symbolBytes(index);
    return length <= bytes && this.firstNonZero(index, length, bytes) === bytes;
  }

  /** The packet of the symbol in a block: a view, good until the block changes. */
  packetView(index: number): Uint8Array {
    const length = this.symbolBytes(index) - symbolHeader.size;
    return this.viewAt(index, addressOf(index) + symbolHeader.size, length);
  }

  private viewAt(index: number, start: number, length: number): Uint8Array {
    const last = this.views[index];
    if (last?.byteOffset === start && last.length === length) return last;
    const view = this.memory.subarray(start, start + length);
    this.views[index] = view;
    return view;
  }

  private clearUnit(index: number, from: number): void {
    const end = addressOf(index) + roundUp(from);
    for (let at = addressOf(index) + from; at < end; at++) this.memory[at] = 0;
  }
}

function addressOf(index: number): number {
  return TABLE_BYTES + MARGIN_BYTES + index * (MARGIN_BYTES + BLOCK_BYTES);
}

function roundUp(bytes: number): number {
  return (bytes + UNIT_BYTES - 1) & -UNIT_BYTES;
}
