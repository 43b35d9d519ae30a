/**
 * The answer being built. One buffer serves every answer of a session: it is filled and sent in
 * one step, so nothing of it outlives `parts`. File data is not copied into it but follows it as
 * pieces, which the channel hands to the kernel together (writev).
 */
import { viewOf, type Struct } from "../../../lib/codec.ts";
import { concatBytes } from "../../../lib/bytes.ts";
import { assert } from "../../../lib/assert.ts";
import { OutHeader } from "./abi.ts";

/** Bytes of a structured answer; the largest are directory listings. */
export const REPLY_BYTES = 64 * 1024;
/** Below IOV_MAX (1024, include/uapi/linux/uio.h). */
const MAX_PIECES = 512;

export class Reply {
  private readonly buffer = new Uint8Array(OutHeader.size + REPLY_BYTES);
  private readonly view = viewOf(this.buffer);
  private end = OutHeader.size;
  private pieces: Uint8Array[] = [];

  /** Bytes of the body so far, pieces not counted. */
  get length(): number {
    return this.end - OutHeader.size;
  }

  reset(): void {
    this.end = OutHeader.size;
    this.pieces = [];
  }

  put<T>(layout: Struct<T>, value: T): void {
    assert(this.end + layout.size <= this.buffer.length, "the answer is within its buffer");
    layout.encode(this.view, this.end, value);
    this.end += layout.size;
  }

  /** Copies bytes in, and zeroes up to the next multiple of `alignment` of the body. */
  putBytes(source: Uint8Array, alignment = 1): void {
    const end = this.end + source.length;
    const aligned = Math.ceil(end / alignment) * alignment;
    assert(aligned <= this.buffer.length, "the answer is within its buffer");
    this.buffer.set(source, this.end);
    this.buffer.fill(0, end, aligned);
    this.end = aligned;
  }

  /** Bytes that follow everything put; not copied. */
  append(pieces: Uint8Array[]): void {
    assert(this.pieces.length === 0, "one run of pieces follows the answer");
    this.pieces = pieces.length > MAX_PIECES ? [concatBytes(pieces)] : pieces;
  }

  /** The whole answer; valid until the next `reset`. */
  parts(unique: number, errno: number): Uint8Array[] {
    let length = this.end;
    for (const piece of this.pieces) length += piece.length;
    OutHeader.encode(this.view, 0, { length, error: -errno, unique });
    const head = this.buffer.subarray(0, this.end);
    return this.pieces.length === 0 ? [head] : [head, ...this.pieces];
  }
}
