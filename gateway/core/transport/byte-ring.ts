/** A window of a byte stream, addressed by stream offset. The caller keeps within the window. */
export class ByteRing {
  readonly capacityBytes: number;
  private readonly bytes: Uint8Array;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
    this.bytes = new Uint8Array(capacityBytes);
  }

  write(offset: number, source: Uint8Array): void {
    const at = offset % this.capacityBytes;
    const first = Math.min(source.length, this.capacityBytes - at);
    this.bytes.set(first === source.length ? source : source.subarray(0, first), at);
    if (first < source.length) this.bytes.set(source.subarray(first), 0);
  }

  /** Copies `length` bytes from `offset` to the place `at` in `target`. */
  read(offset: number, length: number, target: Uint8Array, at: number): void {
    const from = offset % this.capacityBytes;
    const first = Math.min(length, this.capacityBytes - from);
    target.set(this.bytes.subarray(from, from + first), at);
    if (first < length) target.set(this.bytes.subarray(0, length - first), at + first);
  }

  /** The longest run at `offset` that lies in one piece, at most `length` bytes; not a copy. */
  view(offset: number, length: number): Uint8Array {
    const from = offset % this.capacityBytes;
    return this.bytes.subarray(from, Math.min(from + length, this.capacityBytes));
  }
}
