/**
 * The newest bytes of the log in memory: what is not written yet, and as much of what is written as
 * the budget allows, so that the mirror and reads of fresh data need no disk.
 *
 * Invariants: chunks are in log order and, within a segment, without gaps; a record never straddles
 * two chunks; only chunks written to the end are dropped, oldest first. Memory that readers have views
 * of is never used again, so what was handed out stays what it was.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";

/** Holds three of the largest writes that FUSE sends (1 MiB) with their headers. */
const CHUNK_BYTES = 3 * 2 ** 20 + 64 * 1024;
const MIN_CHUNK_BYTES = 64 * 1024;
/** Chunks that were dropped and are filled again: fresh memory costs more than the copy into it. */
const MAX_SPARE_CHUNKS = 4;

export interface Chunk {
  readonly segment: number;
  /** Offset in the segment of the first byte of `bytes`. */
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** How far `bytes` is filled, written out, and given to a write. */
  used: number;
  written: number;
  /** Newest record that ends in this chunk; 0 when there is none yet. */
  lastSequence: number;
  /** A reader may hold a view of it. */
  shared: boolean;
}

/** One write: consecutive bytes of one segment. */
export interface Batch {
  readonly segment: number;
  readonly offset: number;
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  /** All records up to here are in the kernel's hands when this write is done. */
  readonly lastSequence: number;
}

export class TailBuffer {
  private chunks: Chunk[] = [];
  private retainedBytes = 0;
  private readonly budgetBytes: number;
  private readonly chunkBytes: number;
  private readonly spare: Uint8Array[] = [];
  /** Bytes appended and not yet written. */
  unwrittenBytes = 0;
  private lastWrittenSequence: number;

  constructor(
    limits: { readonly tailBytes: number; readonly segmentBytes: number },
    headSequence: number,
  ) {
    this.budgetBytes = limits.tailBytes;
    const share = Math.max(MIN_CHUNK_BYTES, Math.floor(limits.tailBytes / 4));
    this.chunkBytes = Math.min(CHUNK_BYTES, share, limits.segmentBytes);
    this.lastWrittenSequence = headSequence;
  }

  /** A chunk with room for `length` bytes at (segment, offset), which is the end of the log. */
  place(segment: number, offset: number, length: number): Chunk {
    const last = this.chunks.at(-1);
    if (last !== undefined && last.segment === segment) {
      assert(last.start + last.used === offset, "the tail has a gap");
      if (last.bytes.length - last.used >= length) return last;
    }
    const bytes = this.memory(length);
    const chunk = {
      segment,
      start: offset,
      bytes,
      view: viewOf(bytes),
      used: 0,
      written: 0,
      lastSequence: 0,
      shared: false,
    };
    this.chunks.push(chunk);
    this.retainedBytes += bytes.length;
    return chunk;
  }

  private memory(length: number): Uint8Array {
    if (length > this.chunkBytes) return new Uint8Array(length);
    return this.spare.pop() ?? new Uint8Array(this.chunkBytes);
  }

  /** The `length` bytes placed last are part of the log; `sequence` 0 for a segment header. */
  commit(chunk: Chunk, length: number, sequence: number): void {
    chunk.used += length;
    if (sequence !== 0) chunk.lastSequence = sequence;
    this.unwrittenBytes += length;
  }

  /** Segment of the oldest byte not yet written; 0 for none. */
  get unwrittenSegment(): number {
    return this.chunks[this.firstUnwritten()]?.segment ?? 0;
  }

  private firstUnwritten(): number {
    if (this.unwrittenBytes === 0) return this.chunks.length;
    return this.chunks.findIndex((chunk) => chunk.written < chunk.used);
  }

  /** The oldest unwritten bytes, of one segment, until `maxBytes` are reached. */
  nextBatch(maxBytes: number): Batch {
    let index = this.firstUnwritten();
    const first = this.chunks[index];
    assert(first !== undefined, "there is nothing to write");
    const parts: Uint8Array[] = [];
    let bytes = 0;
    let lastSequence = this.lastWrittenSequence;
    for (
      let chunk = first as Chunk | undefined;
      chunk !== undefined;
      chunk = this.chunks[++index]
    ) {
      if (chunk.segment !== first.segment || bytes >= maxBytes) break;
      parts.push(chunk.bytes.subarray(chunk.written, chunk.used));
      bytes += chunk.used - chunk.written;
      lastSequence = Math.max(lastSequence, chunk.lastSequence);
    }
    return {
      segment: first.segment,
      offset: first.start + first.written,
      parts,
      bytes,
      lastSequence,
    };
  }

  markWritten(batch: Batch): void {
    let index = this.firstUnwritten();
    for (const part of batch.parts) {
      const chunk = this.chunks[index++];
      assert(chunk !== undefined && chunk.segment === batch.segment, "a written chunk is gone");
      chunk.written += part.length;
    }
    this.unwrittenBytes -= batch.bytes;
    this.lastWrittenSequence = batch.lastSequence;
    this.evict();
  }

  private evict(): void {
    let dropped = 0;
    for (const chunk of this.chunks) {
      if (this.retainedBytes <= this.budgetBytes || chunk.written < chunk.used) break;
      if (dropped === this.chunks.length - 1) break;
      this.retainedBytes -= chunk.bytes.length;
      this.reuse(chunk);
      dropped++;
    }
    if (dropped > 0) this.chunks.splice(0, dropped);
  }

  private reuse(chunk: Chunk): void {
    const fits = chunk.bytes.length === this.chunkBytes && this.spare.length < MAX_SPARE_CHUNKS;
    if (fits && !chunk.shared) this.spare.push(chunk.bytes);
  }

  /** Offset from which all bytes of `segment` are in memory; Infinity when none are. */
  startOf(segment: number): number {
    return this.chunks.find((chunk) => chunk.segment === segment)?.start ?? Infinity;
  }

  /** The rest of the chunk from (segment, offset) on: starts with a record if the address does. */
  chunkFrom(segment: number, offset: number): Uint8Array | null {
    const chunk = this.chunkAt(segment, offset);
    if (chunk === undefined) return null;
    chunk.shared = true;
    return chunk.bytes.subarray(offset - chunk.start, chunk.used);
  }

  /** Pieces of memory that are the bytes from `offset`, which must be in memory to their end. */
  pieces(segment: number, offset: number, length: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    const end = offset + length;
    for (const chunk of this.chunks) {
      if (chunk.segment !== segment) continue;
      const from = Math.max(offset, chunk.start);
      const to = Math.min(end, chunk.start + chunk.used);
      if (from >= to) continue;
      chunk.shared = true;
      pieces.push(chunk.bytes.subarray(from - chunk.start, to - chunk.start));
    }
    return pieces;
  }

  private chunkAt(segment: number, offset: number): Chunk | undefined {
    return this.chunks.findLast(
      (chunk) =>
        chunk.segment === segment && chunk.start <= offset && offset < chunk.start + chunk.used,
    );
  }

  /** Forgets everything; the log must have been written to the end. */
  reset(headSequence: number): void {
    assert(this.unwrittenBytes === 0, "unwritten bytes would be lost");
    this.chunks = [];
    this.retainedBytes = 0;
    this.lastWrittenSequence = headSequence;
  }
}
