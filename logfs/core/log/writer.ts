/**
 * The end of the log: where the next record goes, and putting it there in memory.
 *
 * Invariants:
 * - Everything a record needs (space, limits) is settled before anything changes.
 * - `end` is where the next record goes; when `sealed`, it goes to the start of the next segment.
 * - Behind every record there is allocated room for the seal of its segment.
 * - A segment's header depends only on the records before it, so a mirror writes the same one.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Clock } from "../../../lib/ports.ts";
import type { Address, Appended, Position, ReserveUse, SegmentStore } from "./api.ts";
import { KIND, type RecordHeader, SealSummary } from "./format.ts";
import { MAX_SEGMENT_BYTES, type ResolvedOptions, SEAL_BYTES } from "./options.ts";
import { blankHeader, RECORD_HEADER_BYTES, recordBytes, sealHeader } from "./record.ts";
import type { FoundLog, FoundSegment } from "./found.ts";
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";
import { SegmentTable } from "./segments.ts";
import { SpaceAhead } from "./space.ts";
import type { LogCounters } from "./statistics.ts";
import { type Chunk, TailBuffer } from "./tail.ts";

export type Fill = (metadata: Uint8Array, at: Appended) => void;

/** One record to be written. */
export interface Draft {
  readonly epoch: number;
  readonly kind: number;
  readonly metadataBytes: number;
  readonly body: readonly Uint8Array[];
  readonly bodyBytes: number;
  readonly fill: Fill;
  /** Where the caller knows it. */
  readonly bodyChecksum?: number | undefined;
}

export const NO_BODY: readonly Uint8Array[] = [];

export class Writer {
  position: Position;
  end: Address;
  sealed: boolean;
  checkpoint: Address | null;
  readonly tail: TailBuffer;
  readonly segments = new SegmentTable();
  private readonly space: SpaceAhead;
  private readonly logId: Uint8Array;
  private readonly header: RecordHeader;
  private readonly options: ResolvedOptions;
  private readonly time: Clock;
  private readonly counters: LogCounters;

  constructor(
    store: SegmentStore,
    options: ResolvedOptions,
    time: Clock,
    counters: LogCounters,
    found: FoundLog,
  ) {
    const { sequence, epoch, checksum } = found.head;
    this.options = options;
    this.time = time;
    this.counters = counters;
    this.logId = found.logId.slice();
    this.position = { sequence, epoch, checksum };
    this.end = found.end;
    this.sealed = found.sealed;
    this.checkpoint = found.checkpoint;
    this.header = blankHeader(this.logId);
    this.tail = new TailBuffer(options, sequence);
    this.space = new SpaceAhead(store, options, counters);
    for (const one of found.segments) this.know(one, found);
  }

  private know({ segment, firstSequence, bytes }: FoundSegment, { end, marks }: FoundLog): void {
    const isLast = segment === end.segment;
    const usedBytes = isLast ? end.offset : bytes;
    this.segments.add(segment, firstSequence, usedBytes, isLast ? [...marks] : []);
    this.space.note(segment, bytes);
  }

  /** The first segment of a new log. Throws `SmfsError` NO_SPACE. */
  begin(): void {
    this.space.ensure(1, SEGMENT_HEADER_BYTES + SEAL_BYTES, { reserve: null });
    this.startSegment(1);
  }

  /**
   * Allocates for a record of `length` bytes, and seals the segment when it does not fit. Throws
   * `SmfsError` NO_SPACE, having changed nothing.
   */
  makeRoom(
    length: number,
    right: { readonly reserve: ReserveUse | null; readonly durableSequence: number },
  ): void {
    const { segment, offset } = this.end;
    const needed = length + SEAL_BYTES;
    if (!this.sealed && offset + needed <= this.options.segmentBytes) {
      return this.space.ensure(segment, offset + needed, right);
    }
    if (!this.sealed) this.space.ensure(segment, offset + SEAL_BYTES, right);
    this.space.ensure(segment + 1, SEGMENT_HEADER_BYTES + needed, right);
    if (!this.sealed) this.seal(right.durableSequence);
    this.startSegment(segment + 1);
  }

  /** Ends the segment before it is full. false: there was nothing to seal. Throws NO_SPACE. */
  sealEarly(durableSequence: number): boolean {
    const { segment, offset } = this.end;
    if (this.sealed || offset === SEGMENT_HEADER_BYTES) return false;
    this.space.ensure(segment, offset + SEAL_BYTES, { reserve: "freeing" });
    this.seal(durableSequence);
    return true;
  }

  private seal(durableSequence: number): void {
    const { segment, offset } = this.end;
    const firstSequence = this.segments.firstSequenceOf(segment);
    const records = this.position.sequence + 2 - firstSequence;
    const fill: Fill = (metadata) =>
      SealSummary.encode(viewOf(metadata), 0, { firstSequence, records, usedBytes: offset });
    const { epoch } = this.position;
    const metadataBytes = SealSummary.size;
    const draft = { epoch, kind: KIND.seal, metadataBytes, body: NO_BODY, bodyBytes: 0, fill };
    this.emit(draft, durableSequence);
  }

  private startSegment(segment: number): void {
    const firstSequence = this.position.sequence + 1;
    const chunk = this.tail.place(segment, 0, SEGMENT_HEADER_BYTES);
    encodeSegmentHeader(chunk.bytes, {
      logId: this.logId,
      segment,
      firstSequence,
      previousChecksum: this.position.checksum,
      checkpoint: this.checkpoint,
    });
    this.tail.commit(chunk, SEGMENT_HEADER_BYTES, 0);
    this.segments.add(segment, firstSequence, SEGMENT_HEADER_BYTES);
    this.end = { segment, offset: SEGMENT_HEADER_BYTES };
    this.sealed = false;
  }

  /** Writes the record at the end of the log, in the tail buffer. There is room for it. */
  emit(draft: Draft, durableSequence: number): Appended {
    const { segment, offset } = this.end;
    const { metadataBytes, bodyBytes } = draft;
    const length = recordBytes(metadataBytes, bodyBytes);
    const chunk = this.tail.place(segment, offset, length);
    const bodyOffset = offset + RECORD_HEADER_BYTES + metadataBytes;
    const at = { segment, offset, bodyOffset, sequence: this.position.sequence + 1 };
    const from = offset - chunk.start;
    const metadataFrom = from + RECORD_HEADER_BYTES;
    const metadata = chunk.bytes.subarray(metadataFrom, metadataFrom + metadataBytes);
    draft.fill(metadata.fill(0), at);
    copyParts(chunk.bytes, bodyOffset - chunk.start, draft.body);
    const header = this.nextHeader(at, draft, durableSequence);
    const checksum = sealHeader(chunk.bytes, chunk.view, from, header, draft.bodyChecksum);
    const position = { sequence: at.sequence, epoch: draft.epoch, checksum };
    this.commit(chunk, length, at, position, draft.kind);
    return at;
  }

  private nextHeader(at: Appended, draft: Draft, durableSequence: number): RecordHeader {
    const { header } = this;
    header.kind = draft.kind;
    header.epoch = draft.epoch;
    header.sequence = at.sequence;
    header.timeMicros = this.time.wallMicros();
    header.durableSequence = durableSequence;
    header.segment = at.segment;
    header.offset = at.offset;
    header.metadataBytes = draft.metadataBytes;
    header.bodyBytes = draft.bodyBytes;
    header.previousChecksum = this.position.checksum;
    return header;
  }

  /** Where a record from a peer must stand. */
  get expected(): Address {
    const { segment, offset } = this.end;
    return this.sealed
      ? { segment: segment + 1, offset: SEGMENT_HEADER_BYTES }
      : { segment, offset };
  }

  /** Takes a verified record that stands at `expected`. Throws NO_SPACE or DAMAGED (too far out). */
  take(record: Uint8Array, header: RecordHeader): Appended {
    const { segment, offset, sequence, epoch, kind } = header;
    if (offset + record.length + SEAL_BYTES > MAX_SEGMENT_BYTES) {
      throw new SmfsError("DAMAGED", `record ${sequence} ends past the longest segment`);
    }
    const room = kind === KIND.seal ? 0 : SEAL_BYTES;
    const reserve = kind === KIND.epoch ? "epoch" : "freeing";
    this.space.ensure(segment, offset + record.length + room, { reserve });
    if (this.sealed) this.startSegment(segment);
    const chunk = this.tail.place(segment, offset, record.length);
    chunk.bytes.set(record, offset - chunk.start);
    const position = { sequence, epoch, checksum: header.headerChecksum };
    this.commit(chunk, record.length, { segment, offset }, position, kind);
    const bodyOffset = offset + RECORD_HEADER_BYTES + header.metadataBytes;
    return { segment, offset, sequence, bodyOffset };
  }

  private commit(
    chunk: Chunk,
    length: number,
    { segment, offset }: Address,
    position: Position,
    kind: number,
  ): void {
    this.tail.commit(chunk, length, position.sequence);
    this.segments.note({ segment, offset }, length, position.sequence);
    this.position = position;
    this.end = { segment, offset: offset + length };
    if (kind === KIND.checkpoint) this.checkpoint = { segment, offset };
    this.sealed = kind === KIND.seal;
    if (this.sealed) this.counters.segmentsSealed++;
    this.counters.recordsAppended++;
    this.counters.bytesAppended += length;
  }

  /** A segment that is about to go. Gives its bytes; undefined when it was not there. */
  forget(segment: number): number | undefined {
    const usedBytes = this.segments.usedBytes(segment);
    assert(segment !== this.end.segment, "the segment that is written to stays");
    this.segments.remove(segment);
    return usedBytes;
  }

  /** After the log was cut behind a record (`null`: behind none) that ends at `end`. */
  rewind(end: Address, last: RecordHeader | null, checkpoint: Address | null): void {
    this.position = {
      sequence: last?.sequence ?? 0,
      epoch: last?.epoch ?? 0,
      checksum: last?.headerChecksum ?? 0,
    };
    this.end = end;
    this.sealed = last?.kind === KIND.seal;
    this.checkpoint = checkpoint;
    this.segments.truncate(end);
    this.space.forgetFrom(end.segment);
    this.tail.reset(this.position.sequence);
  }
}

function copyParts(target: Uint8Array, at: number, parts: readonly Uint8Array[]): void {
  let to = at;
  for (const part of parts) {
    target.set(part, to);
    to += part.length;
  }
}
