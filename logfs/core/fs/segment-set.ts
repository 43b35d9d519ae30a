/**
 * A set of segment numbers, kept as ranges: what is alive of a log is long runs of neighbours, and
 * there is such a set for each of hundreds of snapshots.
 */
export class SegmentSet {
  static readonly EMPTY = new SegmentSet(new Float64Array(0), "exact");
  /** from, to, from, to, …: ascending, `to` exclusive, no range touches the next. */
  private readonly bounds: Float64Array;
  /** `guess`: some of them may not exist; there may be billions, so nobody goes through them. */
  readonly kind: "exact" | "guess";

  private constructor(bounds: Float64Array, kind: "exact" | "guess") {
    this.bounds = bounds;
    this.kind = kind;
  }

  static of(segments: Iterable<number>): SegmentSet {
    const ranges: Range[] = [];
    for (const segment of segments) ranges.push([segment, segment + 1]);
    return SegmentSet.joined(ranges, "exact");
  }

  /** Every segment up to `last`. */
  static upTo(last: number): SegmentSet {
    return new SegmentSet(Float64Array.of(1, last + 1), "guess");
  }

  static union(sets: Iterable<SegmentSet>): SegmentSet {
    const ranges: Range[] = [];
    let kind: "exact" | "guess" = "exact";
    for (const set of sets) {
      for (const range of set.ranges()) ranges.push(range);
      if (set.kind === "guess") kind = "guess";
    }
    return SegmentSet.joined(ranges, kind);
  }

  has(segment: number): boolean {
    // The number of bounds at or before it is odd inside a range.
    let from = 0;
    let to = this.bounds.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.bounds[middle] as number) <= segment) from = middle + 1;
      else to = middle;
    }
    return from % 2 === 1;
  }

  /** Ascending. Of an exact set. */
  *[Symbol.iterator](): Generator<number> {
    for (const [from, to] of this.ranges()) {
      for (let segment = from; segment < to; segment++) yield segment;
    }
  }

  private static joined(ranges: readonly Range[], kind: "exact" | "guess"): SegmentSet {
    const bounds: number[] = [];
    for (const [from, to] of ranges.toSorted((a, b) => a[0] - b[0])) {
      const end = bounds.at(-1);
      if (end === undefined || from > end) bounds.push(from, to);
      else bounds[bounds.length - 1] = Math.max(end, to);
    }
    return new SegmentSet(Float64Array.from(bounds), kind);
  }

  private *ranges(): Generator<Range> {
    for (let i = 0; i < this.bounds.length; i += 2) {
      yield [this.bounds[i] as number, this.bounds[i + 1] as number];
    }
  }
}

type Range = readonly [from: number, to: number];
