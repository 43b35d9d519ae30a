/**
 * A snapshot's table of live bytes as it is kept in memory while the snapshot is: there may be
 * hundreds, so twelve bytes a segment and no objects.
 */
import type { LiveBytes, LiveSegment } from "./live-bytes.ts";
import { SegmentSet } from "./segment-set.ts";

export class SegmentTable {
  readonly segments: SegmentSet;
  /** Ascending. */
  private readonly numbers: Uint32Array;
  private readonly bytes: Uint32Array;
  private readonly seconds: Uint32Array;

  private constructor(segments: SegmentSet, entries: readonly Readonly<LiveSegment>[]) {
    this.segments = segments;
    this.numbers = Uint32Array.from(entries, ({ segment }) => segment);
    this.bytes = Uint32Array.from(entries, ({ bytes }) => bytes);
    this.seconds = Uint32Array.from(entries, ({ writtenSeconds }) => writtenSeconds);
  }

  static of({ entries }: LiveBytes): SegmentTable {
    return new SegmentTable(SegmentSet.of(entries.map(({ segment }) => segment)), entries);
  }

  /** Nothing is known but that no segment behind `last` is needed. */
  static unknown(last: number): SegmentTable {
    return new SegmentTable(SegmentSet.upTo(last), []);
  }

  *[Symbol.iterator](): Generator<LiveSegment> {
    for (let i = 0; i < this.numbers.length; i++) {
      const [segment, bytes] = [this.numbers[i] as number, this.bytes[i] as number];
      yield { segment, bytes, writtenSeconds: this.seconds[i] as number };
    }
  }
}
