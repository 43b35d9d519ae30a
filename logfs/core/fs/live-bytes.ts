/**
 * Tables of live bytes: for one tree, how many bytes of each segment it refers to, and how young
 * the youngest of them are. A checkpoint holds that of the active tree, a snapshot keeps one of its
 * own. The numbers say what may be dropped and what is worth cleaning; fsck recomputes them.
 */
import { type Infer, struct, u32, viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";

export const LiveSegment = struct("LiveSegment", {
  segment: u32("number of the segment"),
  bytes: u32("bytes of it that extents, long attribute values or tree nodes refer to"),
  writtenSeconds: u32("when the youngest data in it was written, seconds since 1970"),
});
export type LiveSegment = Infer<typeof LiveSegment>;

/** As version 1 of the superblock has it: nothing is known of the age. */
export const LiveSegmentV1 = struct("LiveSegmentV1", {
  segment: u32("number of the segment"),
  bytes: u32("bytes of it that extents, long attribute values or tree nodes refer to"),
});

export class LiveBytes {
  private readonly segments: Map<number, LiveSegment>;

  constructor(entries: Iterable<LiveSegment> = []) {
    this.segments = new Map();
    for (const entry of entries) this.segments.set(entry.segment, { ...entry });
  }

  /** Segments with live bytes, ascending. */
  get entries(): Readonly<LiveSegment>[] {
    return [...this.segments.values()].toSorted((a, b) => a.segment - b.segment);
  }

  get count(): number {
    return this.segments.size;
  }

  /** Sum over all segments. */
  get totalBytes(): number {
    let sum = 0;
    for (const { bytes } of this.segments.values()) sum += bytes;
    return sum;
  }

  of(segment: number): number {
    return this.segments.get(segment)?.bytes ?? 0;
  }

  /** When the youngest data of a segment was written, seconds since 1970; 0 when nothing is known. */
  writtenSecondsOf(segment: number): number {
    return this.segments.get(segment)?.writtenSeconds ?? 0;
  }

  /**
   * `deltaBytes` may be negative; what would fall below zero is for fsck to find, not to spread.
   * `writtenSeconds`: when added data was first written, which for cleaned data is long ago.
   */
  add(segment: number, deltaBytes: number, writtenSeconds = 0): void {
    const entry = this.segments.get(segment);
    const bytes = (entry?.bytes ?? 0) + deltaBytes;
    if (bytes <= 0) this.segments.delete(segment);
    else if (entry === undefined) this.segments.set(segment, { segment, bytes, writtenSeconds });
    else {
      entry.bytes = bytes;
      entry.writtenSeconds = Math.max(entry.writtenSeconds, writtenSeconds);
    }
  }

  copy(): LiveBytes {
    return new LiveBytes(this.segments.values());
  }
}

/** Length of the encoded table. */
export function tableBytes(live: LiveBytes): number {
  return live.count * LiveSegment.size;
}

/** Writes the table at `offset`; gives the offset behind it. */
export function encodeTable(view: DataView, offset: number, live: LiveBytes): number {
  let at = offset;
  for (const entry of live.entries) {
    LiveSegment.encode(view, at, entry);
    at += LiveSegment.size;
  }
  return at;
}

/** A table as a block of its own. */
export function tableBlock(live: LiveBytes): Uint8Array {
  const block = new Uint8Array(tableBytes(live));
  encodeTable(viewOf(block), 0, live);
  return block;
}

/** `count` entries from `offset` on. Throws `SmfsError` DAMAGED or SHORT. */
export function decodeTable(view: DataView, offset: number, count: number): LiveBytes {
  return decodeEntries(view, offset, count, LiveSegment.size, (at) => LiveSegment.decode(view, at));
}

export function decodeTableV1(view: DataView, offset: number, count: number): LiveBytes {
  return decodeEntries(view, offset, count, LiveSegmentV1.size, (at) => ({
    ...LiveSegmentV1.decode(view, at),
    writtenSeconds: 0,
  }));
}

function decodeEntries(
  view: DataView,
  offset: number,
  count: number,
  entryBytes: number,
  decode: (at: number) => LiveSegment,
): LiveBytes {
  // Before anything is made: the count is what damaged bytes say.
  if (view.byteLength - offset < count * entryBytes) damaged("is cut off");
  const entries: LiveSegment[] = [];
  for (let i = 0; i < count; i++) {
    const entry = decode(offset + i * entryBytes);
    if (entry.segment <= (entries.at(-1)?.segment ?? 0)) damaged("has segments out of order");
    entries.push(entry);
  }
  return new LiveBytes(entries);
}

function damaged(what: string): never {
  throw new SmfsError("DAMAGED", `a table of live bytes ${what}`);
}
