/** Sets of keys as ranges of `low` under one `high` each: where in a tree something is to be found. */
import type { Key } from "../relocation.ts";

/** Keys (high, low) with from ≤ low < to. */
export interface KeySpan {
  readonly high: number;
  readonly from: number;
  readonly to: number;
}

/** Keys from `lower` on, below `upper`. */
export interface KeyBounds {
  readonly lower: Key;
  readonly upper: Key;
}

export const ALL_KEYS: KeyBounds = {
  lower: { high: 0, low: 0 },
  upper: { high: Infinity, low: Infinity },
};

export class KeySpans {
  /** Ascending, none touches the next. */
  private readonly spans: readonly KeySpan[];

  constructor(spans: readonly KeySpan[]) {
    const joined: { high: number; from: number; to: number }[] = [];
    for (const span of spans.toSorted((a, b) => a.high - b.high || a.from - b.from)) {
      const last = joined.at(-1);
      if (last === undefined || last.high !== span.high || span.from > last.to) {
        joined.push({ ...span });
      } else last.to = Math.max(last.to, span.to);
    }
    this.spans = joined;
  }

  get isEmpty(): boolean {
    return this.spans.length === 0;
  }

  /** Whether some key is within the bounds. */
  meets({ lower, upper }: KeyBounds): boolean {
    const first = this.spans[this.firstBehind(lower)];
    if (first === undefined) return false;
    return first.high < upper.high || (first.high === upper.high && first.from < upper.low);
  }

  /** Index of the first span with a key at or behind this one. */
  private firstBehind({ high, low }: Key): number {
    let from = 0;
    let to = this.spans.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const span = this.spans[middle] as KeySpan;
      if (span.high < high || (span.high === high && span.to <= low)) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}
