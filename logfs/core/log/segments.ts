/**
 * Which segments there are and where records start in them: the first sequence of each segment, and
 * within the segments used lately one mark per `MARK_BYTES`, from which a reader hops header to
 * header. Segments are in ascending order of number and of sequence.
 *
 * Where segments were dropped there are gaps. Records are found by sequence only in the last run of
 * consecutive segments: before it nobody can say what stood in a gap.
 */
import { assert } from "../../../lib/assert.ts";
import type { Address } from "./api.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";

export const MARK_BYTES = 1 << 20;
/** Segments that keep their marks: 64 × 100 MB is more than a mirror lags in normal operation. */
const MARKED_SEGMENTS = 64;

export interface Mark {
  readonly sequence: number;
  readonly offset: number;
}

interface Entry {
  readonly segment: number;
  readonly firstSequence: number;
  /** Offset behind the last record; file size for a sealed segment found at recovery. */
  usedBytes: number;
  marks: Mark[];
}

export class SegmentTable {
  private readonly entries: Entry[] = [];
  /** Index of the first entry of the last run without a gap. */
  private runStart = 0;

  get count(): number {
    return this.entries.length;
  }

  get firstSequence(): number {
    return this.entries[this.runStart]?.firstSequence ?? 1;
  }

  get all(): readonly Readonly<Entry>[] {
    return this.entries;
  }

  numbers(): number[] {
    return this.entries.map((entry) => entry.segment);
  }

  add(segment: number, firstSequence: number, usedBytes: number, marks: Mark[] = []): void {
    const last = this.entries.at(-1);
    assert(last === undefined || last.segment < segment, "segments are added in order");
    if (last !== undefined && last.segment + 1 < segment) this.runStart = this.entries.length;
    this.entries.push({ segment, firstSequence, usedBytes, marks });
    const unmarked = this.entries.at(-1 - MARKED_SEGMENTS);
    if (unmarked !== undefined) unmarked.marks = [];
  }

  /** A record of `length` bytes stands at the address. */
  note(address: Address, length: number, sequence: number): void {
    const entry = this.find(address.segment);
    assert(entry !== undefined, "a record outside every segment");
    entry.usedBytes = address.offset + length;
    this.mark(entry, address.offset, sequence);
  }

  private mark(entry: Entry, offset: number, sequence: number): void {
    const last = entry.marks.at(-1);
    const from = last?.offset ?? SEGMENT_HEADER_BYTES;
    if (offset - from >= MARK_BYTES && sequence > (last?.sequence ?? 0)) {
      entry.marks.push({ sequence, offset });
    }
  }

  usedBytes(segment: number): number | undefined {
    return this.find(segment)?.usedBytes;
  }

  firstSequenceOf(segment: number): number {
    const entry = this.find(segment);
    assert(entry !== undefined, "no such segment");
    return entry.firstSequence;
  }

  /** A place at or before the record from which to hop; undefined when it may be gone. */
  locate(sequence: number): (Address & Mark) | undefined {
    if (sequence < this.firstSequence) return undefined;
    const entry = lastUpTo(this.entries, sequence, (one) => one.firstSequence);
    if (entry === undefined) return undefined;
    const { segment, firstSequence } = entry;
    const mark = lastUpTo(entry.marks, sequence, (one) => one.sequence);
    return { segment, sequence: firstSequence, offset: SEGMENT_HEADER_BYTES, ...mark };
  }

  /** Forgets what stands at `end` and behind. */
  truncate(end: Address): void {
    while ((this.entries.at(-1)?.segment ?? 0) > end.segment) this.entries.pop();
    this.findRun();
    const last = this.entries.at(-1);
    assert(last !== undefined && last.segment === end.segment, "the new end is in no segment");
    last.usedBytes = end.offset;
    last.marks = last.marks.filter((mark) => mark.offset < end.offset);
  }

  /** The segment was dropped; false when it was not there. */
  remove(segment: number): boolean {
    const index = this.entries.findIndex((entry) => entry.segment === segment);
    if (index < 0) return false;
    this.entries.splice(index, 1);
    this.findRun();
    return true;
  }

  private findRun(): void {
    let start = Math.max(0, this.entries.length - 1);
    while (start > 0 && this.numberAt(start - 1) + 1 === this.numberAt(start)) start--;
    this.runStart = start;
  }

  private numberAt(index: number): number {
    return this.entries[index]?.segment ?? 0;
  }

  private find(segment: number): Entry | undefined {
    const last = this.entries.at(-1);
    if (last?.segment === segment) return last;
    const entry = lastUpTo(this.entries, segment, (one) => one.segment);
    return entry?.segment === segment ? entry : undefined;
  }
}

/** The last of the ascending `items` whose key is at most `limit`. */
function lastUpTo<T>(items: readonly T[], limit: number, key: (item: T) => number): T | undefined {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (key(items[middle] as T) <= limit) low = middle + 1;
    else high = middle;
  }
  return items[low - 1];
}
