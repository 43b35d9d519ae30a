/**
 * Packets as blocks of words, and XOR over them.
 *
 * A block store is one allocation cut into blocks of `BLOCK_BYTES`. Whatever is stored is copied in,
 * so packets may start at any address, and XOR runs over 32-bit words, eight a turn.
 * Invariant: a stored packet is zero from its end to the next multiple of `UNIT_BYTES`; beyond that
 * a block holds leftovers that nobody reads.
 */
import { assert } from "../../lib/assert.ts";
import { MAX_PACKET_BYTES } from "./code.ts";

const UNIT_WORDS = 8;
const UNIT_BYTES = UNIT_WORDS * 4;
const BLOCK_BYTES = Math.ceil(MAX_PACKET_BYTES / UNIT_BYTES) * UNIT_BYTES;
const BLOCK_WORDS = BLOCK_BYTES / 4;

export class BlockStore {
  readonly bytes: Uint8Array;
  private readonly words: Int32Array;

  constructor(blocks: number) {
    const memory = new ArrayBuffer(blocks * BLOCK_BYTES);
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
  }

  /** Where block `index` starts in `bytes`. */
  offsetOf(index: number): number {
    return index * BLOCK_BYTES;
  }

  /** Block `index` becomes `packet`, at most `MAX_PACKET_BYTES` long. */
  store(index: number, packet: Uint8Array): void {
    assert(packet.length <= MAX_PACKET_BYTES, "packet longer than the code takes");
    const start = index * BLOCK_BYTES;
    this.bytes.set(packet, start);
    const end = start + roundUp(packet.length);
    for (let i = start + packet.length; i < end; i++) this.bytes[i] = 0;
  }

  /** Block `index` becomes the first `length` bytes of another store's block. */
  copy(index: number, source: BlockStore, sourceIndex: number, length: number): void {
    this.copyUnits(index, source, sourceIndex, 0, roundUp(length));
  }

  /**
   * XORs `length` bytes of a source block into block `index`, which holds `ownLength` bytes so far
   * and holds the longer of the two afterwards.
   */
  xor(
    index: number,
    ownLength: number,
    source: BlockStore,
    sourceIndex: number,
    length: number,
  ): void {
    const own = roundUp(ownLength);
    const other = roundUp(length);
    const shared = Math.min(own, other);
    xorWords(this.words, index * BLOCK_WORDS, source.words, sourceIndex * BLOCK_WORDS, shared / 4);
    if (other > own) this.copyUnits(index, source, sourceIndex, own, other);
  }

  /** Whether the bytes of block `index` from `from` to `to` are all zero. */
  isZero(index: number, from: number, to: number): boolean {
    const start = index * BLOCK_BYTES;
    for (let i = start + from; i < start + to; i++) if (this.bytes[i] !== 0) return false;
    return true;
  }

  private copyUnits(index: number, source: BlockStore, from: number, start: number, end: number) {
    const target = index * BLOCK_WORDS;
    const origin = from * BLOCK_WORDS;
    for (let i = start / 4; i < end / 4; i++) {
      this.words[target + i] = source.words[origin + i] as number;
    }
  }
}

function roundUp(bytes: number): number {
  return (bytes + UNIT_BYTES - 1) & -UNIT_BYTES;
}

/** `words` is a multiple of `UNIT_WORDS`. Unrolled: a plain loop reaches half of this speed. */
function xorWords(
  target: Int32Array,
  targetAt: number,
  source: Int32Array,
  sourceAt: number,
  words: number,
): void {
  for (let i = 0; i < words; i += UNIT_WORDS) {
    const t = targetAt + i;
    const s = sourceAt + i;
    target[t] = (target[t] as number) ^ (source[s] as number);
    target[t + 1] = (target[t + 1] as number) ^ (source[s + 1] as number);
    target[t + 2] = (target[t + 2] as number) ^ (source[s + 2] as number);
    target[t + 3] = (target[t + 3] as number) ^ (source[s + 3] as number);
    target[t + 4] = (target[t + 4] as number) ^ (source[s + 4] as number);
    target[t + 5] = (target[t + 5] as number) ^ (source[s + 5] as number);
    target[t + 6] = (target[t + 6] as number) ^ (source[s + 6] as number);
    target[t + 7] = (target[t + 7] as number) ^ (source[s + 7] as number);
  }
}
