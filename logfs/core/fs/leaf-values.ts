/**
 * The values of a leaf's items, by index. Those that were read or written with the leaf stand in its
 * block; those that were put since stand one behind the other in a buffer of the leaf's own. There is
 * no object for a value: a checkpoint's worth of them would be hundreds of thousands, each several
 * times as large as what it holds.
 *
 * Bytes are never changed where they stand, so a view that was handed out stays what it was.
 */
import { EMPTY } from "../../../lib/bytes.ts";

/** Most leaves that change at random get one or two values until they are written. */
const LEAST_FRESH_BYTES = 512;
/** More than the longest value. */
const PLACE_STEP = 8192;

export class LeafValues {
  /** start × PLACE_STEP + length; of a place among the fresh ones, −1 less that. */
  private readonly places: number[] = [];
  private block: Uint8Array = EMPTY;
  private fresh: Uint8Array = EMPTY;
  /** Of `fresh`, in use; what was replaced or removed is still among it. */
  private freshBytes = 0;

  get length(): number {
    return this.places.length;
  }

  at(index: number): Uint8Array {
    const place = this.places[index] as number;
    return place >= 0 ? viewAt(this.block, place) : viewAt(this.fresh, -1 - place);
  }

  /** Length of a value. */
  bytesAt(index: number): number {
    const place = this.places[index] as number;
    return (place >= 0 ? place : -1 - place) % PLACE_STEP;
  }

  /** Where in the block a value starts; null when it is not there. */
  blockStartOf(index: number): number | null {
    const place = this.places[index];
    return place === undefined || place < 0 ? null : Math.floor(place / PLACE_STEP);
  }

  /** Bytes of the block. */
  blockBytes(start: number, end: number): Uint8Array {
    return this.block.subarray(start, end);
  }

  /** `value` is copied. */
  set(index: number, value: Uint8Array): void {
    this.places[index] = this.keep(value);
  }

  /** `value` is copied. */
  insert(index: number, value: Uint8Array): void {
    // First the place: making room for it moves those that are listed.
    const place = this.keep(value);
    this.places.splice(index, 0, place);
  }

  remove(index: number): void {
    this.places.splice(index, 1);
  }

  /** Everything from `from` on goes to the end of `to`. */
  moveTo(from: number, to: LeafValues): void {
    let bytes = 0;
    for (let i = from; i < this.length; i++) bytes += this.bytesAt(i);
    to.makeRoom(bytes);
    for (let i = from; i < this.length; i++) to.places.push(to.keep(this.at(i)));
    this.places.length = Math.min(from, this.length);
  }

  /** From here on all values stand in `block`, where `add` says; there are none yet. */
  standIn(block: Uint8Array): void {
    this.block = block;
    this.fresh = EMPTY;
    this.freshBytes = 0;
    this.places.length = 0;
  }

  /** The next value is in the block. */
  add(start: number, length: number): void {
    this.places.push(start * PLACE_STEP + length);
  }

  private keep(value: Uint8Array): number {
    this.makeRoom(value.length);
    const start = this.freshBytes;
    this.fresh.set(value, start);
    this.freshBytes += value.length;
    return -1 - (start * PLACE_STEP + value.length);
  }

  private makeRoom(bytes: number): void {
    if (this.freshBytes + bytes <= this.fresh.length) return;
    const kept: number[] = [];
    let keptBytes = 0;
    for (let i = 0; i < this.length; i++) {
      if ((this.places[i] as number) >= 0) continue;
      kept.push(i);
      keptBytes += this.bytesAt(i);
    }
    const roomy = Math.ceil(1.5 * (keptBytes + bytes));
    const fresh = new Uint8Array(Math.max(LEAST_FRESH_BYTES, roomy));
    let start = 0;
    for (const i of kept) {
      const value = this.at(i);
      fresh.set(value, start);
      this.places[i] = -1 - (start * PLACE_STEP + value.length);
      start += value.length;
    }
    this.fresh = fresh;
    this.freshBytes = start;
  }
}

function viewAt(bytes: Uint8Array, place: number): Uint8Array {
  const start = Math.floor(place / PLACE_STEP);
  return bytes.subarray(start, start + (place % PLACE_STEP));
}
