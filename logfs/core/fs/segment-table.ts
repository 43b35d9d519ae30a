/**
 * A snapshot's table of live bytes as it is kept in memory while the snapshot is: there may be
 * hundreds, so eight bytes a segment and no objects.
 */
import type { LiveBytes } from "./live-bytes.ts";
import { SegmentSet } from "./segment-set.ts";

export class SegmentTable {
  readonly segments: SegmentSet;
  /** Ascending. */
  private readonly numbers: Uint32Array;
  private readonly bytes: Uint32Array;

  private constructor(segments: SegmentSet, numbers: Uint32Array, bytes: Uint32Array) {
    this.segments = segments;
    this.numbers = numbers;
    this.bytes = bytes;
  }

  static of(live: LiveBytes): SegmentTable {
    const { entries } = live;
    const numbers = Uint32Array.from(entries, ({ segment }) => segment);
    const bytes = Uint32Array.from(entries, ({ bytes: count }) => count);
    return new SegmentTable(SegmentSet.of(numbers), numbers, bytes);
  }

  /** Nothing is known but that no segment behind `last` is needed. */
  static unknown(last: number): SegmentTable {
    return new SegmentTable(SegmentSet.upTo(last), new Uint32Array(0), new Uint32Array(0));
  }

  /** Length on disk and in memory goes with it. */
  get count(): number {
    return this.numbers.length;
  }

  *[Symbol.iterator](): Generator<readonly [segment: number, bytes: number]> {
    for (let i = 0; i < this.numbers.length; i++) {
      yield [this.numbers[i] as number, this.bytes[i] as number];
    }
  }
}
