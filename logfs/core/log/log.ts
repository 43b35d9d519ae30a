/**
 * The log: appends, reads and follows. Pure; the disk is a `SegmentStore`, time comes from a port.
 *
 * Invariants:
 * - Everything an append needs (space, limits, right to write) is settled before anything changes.
 * - `end` is where the next record goes; when `sealed`, it goes to the start of the next segment.
 * - Behind every record there is allocated room for the seal of its segment.
 * - A segment's header depends only on the records before it, so a mirror writes the same one.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Clock, Timers } from "../../../lib/ports.ts";
import type {
  Address,
  Appended,
  AppendOptions,
  Done,
  LogFollower,
  LogWriter,
  Position,
  RawRecord,
  SegmentStore,
} from "./api.ts";
import { checkContinues } from "./follow.ts";
import { EpochStart, KIND, RecordHeader, SealSummary } from "./format.ts";
import { LiveTable, type SegmentUsage } from "./live.ts";
import {
  ID_BYTES,
  type LogOptions,
  MAX_SEGMENT_BYTES,
  type ResolvedOptions,
  resolveOptions,
  SEAL_BYTES,
} from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { LogFileReader } from "./reader.ts";
import { blankHeader, readRecord, RECORD_HEADER_BYTES, recordBytes, sealHeader } from "./record.ts";
import { findLog, type FoundLog, type RecoveryReport } from "./recovery.ts";
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";
import { SegmentTable } from "./segments.ts";
import { SpaceAhead } from "./space.ts";
import { type LogStatistics, newCounters } from "./statistics.ts";
import { type Chunk, TailBuffer } from "./tail.ts";

export interface CreateOptions extends LogOptions {
  /** Random, 16 bytes. A mirror's log is created with the primary's. */
  readonly logId: Uint8Array;
}

export interface RecoverOptions extends LogOptions {
  /** The log was written as a mirror's when it was last open (`recovery.ts`). */
  readonly follower?: boolean;
}

export type Recovered =
  | { readonly ok: true; readonly log: Log; readonly report: RecoveryReport }
  | { readonly ok: false; readonly failure: SmfsError };

type Fill = (metadata: Uint8Array, at: Appended) => void;

const NO_BODY: readonly Uint8Array[] = [];
const NO_OPTIONS: AppendOptions = {};

export class Log implements LogWriter, LogFollower {
  readonly id: Uint8Array;
  private position: Position;
  private end: Address;
  private sealed: boolean;
  private newestCheckpoint: Address | null;
  private state: "open" | "cutting" | "closed" = "open";
  private fencedBy: string | null = null;
  private readonly store: SegmentStore;
  private readonly time: Clock & Timers;
  private readonly options: ResolvedOptions;
  private readonly counters = newCounters();
  private readonly segments = new SegmentTable();
  private readonly live = new LiveTable();
  private readonly listeners = new Set<() => void>();
  private readonly header: RecordHeader;
  private readonly tail: TailBuffer;
  private readonly space: SpaceAhead;
  private readonly pipeline: Pipeline;
  private readonly reader: LogFileReader;

  /**
   * Starts an empty log in an empty store. Nothing is durable before the first record is, and a
   * store whose creation was interrupted recovers as NOT_FOUND. Throws `SmfsError` BUSY when there
   * are segments already, NO_SPACE, CONFIG.
   */
  static create(store: SegmentStore, options: CreateOptions, time: Clock & Timers): Log {
    if (options.logId.length !== ID_BYTES) throw new SmfsError("CONFIG", "logId is 16 bytes");
    if (store.list().length > 0) throw new SmfsError("BUSY", "there is a log here already");
    const log = new Log(store, options, time, emptyLog(options.logId));
    log.space.ensure(1, SEGMENT_HEADER_BYTES + SEAL_BYTES, false);
    log.startSegment(1);
    return log;
  }

  /** Opens what `create` started, after a crash or not. Failures are those of `findLog`. */
  static recover(store: SegmentStore, options: RecoverOptions, time: Clock & Timers): Recovered {
    let found: FoundLog;
    try {
      found = findLog(store, { follower: options.follower ?? false });
    } catch (error) {
      if (error instanceof SmfsError) return { ok: false, failure: error };
      throw error;
    }
    const log = new Log(store, options, time, found);
    log.takeOver(found);
    return { ok: true, log, report: found.report };
  }

  private constructor(
    store: SegmentStore,
    options: LogOptions,
    time: Clock & Timers,
    found: FoundLog,
  ) {
    const { head } = found;
    this.store = store;
    this.time = time;
    this.options = resolveOptions(options);
    this.id = found.logId.slice();
    this.position = { sequence: head.sequence, epoch: head.epoch, checksum: head.checksum };
    this.end = found.end;
    this.sealed = found.sealed;
    this.newestCheckpoint = found.checkpoint;
    this.header = blankHeader(this.id);
    this.tail = new TailBuffer(this.options.tailBytes, head.sequence);
    this.space = new SpaceAhead(store, this.options, this.counters);
    const state = {
      segment: found.end.segment,
      writtenSequence: head.sequence,
      durableSequence: found.durableSequence,
      commitIntervalMicros: this.options.commitIntervalMicros,
    };
    this.pipeline = new Pipeline(store, this.tail, time, this.counters, state, () => this.notify());
    this.reader = new LogFileReader(store, this.tail, this.segments, this.counters);
  }

  private takeOver(found: FoundLog): void {
    for (const { segment, firstSequence, bytes } of found.segments) {
      this.segments.add(segment, firstSequence, bytes);
      this.live.setUsed(segment, bytes);
      this.space.note(segment, bytes);
    }
    for (const record of found.records) this.segments.note(record, record.bytes, record.sequence);
    this.live.setUsed(found.end.segment, found.end.offset);
    if (found.report.cutAt !== null) this.counters.tornTailsCut++;
  }

  get head(): Position {
    return this.position;
  }

  /** Where the next record will stand, unless it starts a segment. */
  get endAddress(): Address {
    return this.end;
  }

  get epoch(): number {
    return this.position.epoch;
  }

  get writtenSequence(): number {
    return this.pipeline.writtenSequence;
  }

  get durableSequence(): number {
    return this.pipeline.durableSequence;
  }

  get failure(): Error | null {
    return this.pipeline.failure;
  }

  /** Where the newest checkpoint record stands; null when there is none. */
  get checkpoint(): Address | null {
    return this.newestCheckpoint;
  }

  /** Oldest record that is still there. */
  get firstSequence(): number {
    return this.segments.firstSequence;
  }

  /** Appended and not yet in the kernel's hands: what a burst of writers holds in memory. */
  get unwrittenBytes(): number {
    return this.tail.unwrittenBytes;
  }

  get segmentCount(): number {
    return this.segments.count;
  }

  get statistics(): LogStatistics {
    return this.counters;
  }

  append(
    kind: number,
    metadataBytes: number,
    body: readonly Uint8Array[],
    fill: Fill,
    options: AppendOptions = NO_OPTIONS,
  ): Appended {
    assert(kind !== KIND.seal && kind !== KIND.epoch, "seals and epochs are the log's own records");
    return this.appendAs(this.epoch, kind, metadataBytes, body, fill, options);
  }

  startEpoch(epoch: number, reason: number): Appended {
    const previousEpoch = this.epoch;
    if (epoch <= previousEpoch) {
      const message = `epoch ${epoch} is not above ${previousEpoch}, which this log has seen`;
      throw new SmfsError("FENCED", message);
    }
    const { writerId } = this.options;
    const fill: Fill = (metadata) =>
      EpochStart.encode(viewOf(metadata), 0, { previousEpoch, writerId, reason });
    const privileged = { privileged: true };
    return this.appendAs(epoch, KIND.epoch, EpochStart.size, NO_BODY, fill, privileged);
  }

  /** A later term exists somewhere: from here on every append is refused as FENCED. */
  fence(reason: string): void {
    this.fencedBy = reason;
  }

  private appendAs(
    epoch: number,
    kind: number,
    metadataBytes: number,
    body: readonly Uint8Array[],
    fill: Fill,
    options: AppendOptions,
  ): Appended {
    this.refuseUnlessOpen();
    let bodyBytes = 0;
    for (const part of body) bodyBytes += part.length;
    const length = recordBytes(metadataBytes, bodyBytes);
    this.refuseTooLarge(length);
    this.makeRoom(length, options.privileged === true);
    const at = this.emit(epoch, kind, metadataBytes, bodyBytes, body, fill);
    this.pipeline.pump();
    this.notify();
    return at;
  }

  private refuseUnlessOpen(): void {
    if (this.pipeline.failure !== null) throw this.pipeline.failure;
    if (this.fencedBy !== null) throw new SmfsError("FENCED", this.fencedBy);
    if (this.state !== "open") throw new SmfsError("BUSY", `the log is ${this.state}`);
  }

  private refuseTooLarge(length: number): void {
    if (length <= this.options.maxRecordBytes) return;
    const message = `a record of ${length} bytes; the limit is ${this.options.maxRecordBytes}`;
    throw new SmfsError("TOO_LARGE", message);
  }

  /** Allocates, and seals the segment when the record does not fit. Throws having changed nothing. */
  private makeRoom(length: number, privileged: boolean): void {
    const { segment, offset } = this.end;
    const needed = length + SEAL_BYTES;
    if (!this.sealed && offset + needed <= this.options.segmentBytes) {
      return this.space.ensure(segment, offset + needed, privileged);
    }
    if (!this.sealed) this.space.ensure(segment, offset + SEAL_BYTES, privileged);
    this.space.ensure(segment + 1, SEGMENT_HEADER_BYTES + needed, privileged);
    if (!this.sealed) this.seal();
    this.startSegment(segment + 1);
  }

  private seal(): void {
    const { segment, offset } = this.end;
    const firstSequence = this.segments.firstSequenceOf(segment);
    const records = this.position.sequence + 2 - firstSequence;
    const fill: Fill = (metadata) =>
      SealSummary.encode(viewOf(metadata), 0, { firstSequence, records, usedBytes: offset });
    this.emit(this.epoch, KIND.seal, SealSummary.size, 0, NO_BODY, fill);
  }

  private startSegment(segment: number): void {
    const firstSequence = this.position.sequence + 1;
    const chunk = this.tail.place(segment, 0, SEGMENT_HEADER_BYTES);
    encodeSegmentHeader(chunk.bytes, {
      logId: this.id,
      segment,
      firstSequence,
      previousChecksum: this.position.checksum,
      checkpoint: this.newestCheckpoint,
    });
    this.tail.commit(chunk, SEGMENT_HEADER_BYTES, 0);
    this.segments.add(segment, firstSequence, SEGMENT_HEADER_BYTES);
    this.live.setUsed(segment, SEGMENT_HEADER_BYTES);
    this.end = { segment, offset: SEGMENT_HEADER_BYTES };
    this.sealed = false;
  }

  /** Writes the record at the end of the log, in the tail buffer. There is room for it. */
  private emit(
    epoch: number,
    kind: number,
    metadataBytes: number,
    bodyBytes: number,
    body: readonly Uint8Array[],
    fill: Fill,
  ): Appended {
    const { segment, offset } = this.end;
    const length = recordBytes(metadataBytes, bodyBytes);
    const chunk = this.tail.place(segment, offset, length);
    const from = offset - chunk.start;
    const bodyOffset = offset + RECORD_HEADER_BYTES + metadataBytes;
    const at = { segment, offset, bodyOffset, sequence: this.position.sequence + 1 };
    copyParts(chunk.bytes, bodyOffset - chunk.start, body);
    const metadataFrom = from + RECORD_HEADER_BYTES;
    fill(chunk.bytes.subarray(metadataFrom, metadataFrom + metadataBytes), at);
    const header = this.nextHeader(at, epoch, kind);
    header.metadataBytes = metadataBytes;
    header.bodyBytes = bodyBytes;
    const checksum = sealHeader(chunk.bytes, chunk.view, from, header);
    this.commit(chunk, length, at, { sequence: at.sequence, epoch, checksum }, kind);
    return at;
  }

  private nextHeader(at: Appended, epoch: number, kind: number): RecordHeader {
    const { header } = this;
    header.kind = kind;
    header.epoch = epoch;
    header.sequence = at.sequence;
    header.timeMicros = this.time.wallMicros();
    header.durableSequence = this.durableSequence;
    header.segment = at.segment;
    header.offset = at.offset;
    header.previousChecksum = this.position.checksum;
    return header;
  }

  private commit(
    chunk: Chunk,
    length: number,
    at: Address,
    position: Position,
    kind: number,
  ): void {
    this.tail.commit(chunk, length, position.sequence);
    this.segments.note(at, length, position.sequence);
    this.position = position;
    this.end = { segment: at.segment, offset: at.offset + length };
    this.live.setUsed(at.segment, this.end.offset);
    if (kind === KIND.checkpoint) this.newestCheckpoint = { ...at };
    this.sealed = kind === KIND.seal;
    if (this.sealed) this.counters.segmentsSealed++;
    this.counters.recordsAppended++;
    this.counters.bytesAppended += length;
  }

  appendRaw(record: Uint8Array): Appended {
    this.refuseUnlessOpen();
    const header = readRecord(record);
    const { segment, offset } = this.end;
    const expected = this.sealed
      ? { segment: segment + 1, offset: SEGMENT_HEADER_BYTES }
      : { segment, offset };
    checkContinues(header, this.id, this.position, expected);
    if (header.offset + record.length + SEAL_BYTES > MAX_SEGMENT_BYTES) {
      throw new SmfsError("DAMAGED", `record ${header.sequence} ends past the longest segment`);
    }
    const room = header.kind === KIND.seal ? 0 : SEAL_BYTES;
    this.space.ensure(header.segment, header.offset + record.length + room, true);
    if (this.sealed) this.startSegment(header.segment);
    const at = this.take(record, header);
    this.pipeline.pump();
    this.notify();
    return at;
  }

  private take(record: Uint8Array, header: RecordHeader): Appended {
    const { segment, offset, sequence, epoch, kind } = header;
    const chunk = this.tail.place(segment, offset, record.length);
    chunk.bytes.set(record, offset - chunk.start);
    const position = { sequence, epoch, checksum: header.headerChecksum };
    this.commit(chunk, record.length, { segment, offset }, position, kind);
    const bodyOffset = offset + RECORD_HEADER_BYTES + header.metadataBytes;
    return { segment, offset, sequence, bodyOffset };
  }

  noteCheckpoint(at: Appended): void {
    const known = this.newestCheckpoint;
    assert(known !== null && !isBefore(known, at), "a checkpoint that was never appended");
  }

  read(
    address: Address,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void {
    this.reader.read(address, length, done);
  }

  readRecords(
    sequence: number,
    maxBytes: number,
    done: (error: Error | null, records: RawRecord[]) => void,
  ): void {
    if (sequence > this.position.sequence) done(null, []);
    else this.reader.readRecords(sequence, maxBytes, done);
  }

  positionOf(
    sequence: number,
    done: (error: Error | null, position: Position | null) => void,
  ): void {
    if (sequence === this.position.sequence) return done(null, this.position);
    if (sequence === 0) return done(null, { sequence: 0, epoch: 0, checksum: 0 });
    if (sequence > this.position.sequence || sequence < this.firstSequence) return done(null, null);
    this.reader.readRecords(sequence, 1, (error, records) => {
      const [record] = records;
      if (error !== null || record === undefined) return done(error, null);
      const { epoch, headerChecksum } = RecordHeader.decode(viewOf(record.bytes), 0);
      done(null, { sequence, epoch, checksum: headerChecksum });
    });
  }

  whenWritten(sequence: number, done: Done): void {
    this.pipeline.whenWritten(sequence, done);
  }

  whenDurable(sequence: number, done: Done): void {
    this.pipeline.whenDurable(sequence, done);
  }

  subscribe(listener: () => void): () => void {
    // A wrapper of its own for each call: the same function may be subscribed twice.
    const entry = (): void => listener();
    this.listeners.add(entry);
    return () => this.listeners.delete(entry);
  }

  private notify(): void {
    for (const listener of this.listeners) listener();
  }

  free(address: Address, length: number): void {
    this.live.free(address, length);
  }

  liveBytes(segment: number): number {
    return this.live.liveBytes(segment);
  }

  /** Live bytes of every segment, to be kept with a checkpoint. */
  liveTable(): SegmentUsage[] {
    return this.live.snapshot();
  }

  restoreLive(table: readonly SegmentUsage[]): void {
    this.live.restore(table);
  }

  /**
   * Cuts every record behind `sequence`: a mirror whose tail did not become history. `setAside` gets
   * the records first, in order and in pieces; when it throws, nothing was cut. Appends are refused
   * meanwhile. Fails with the log's failure, or NOT_FOUND when `sequence` was cleaned away.
   */
  truncateTo(sequence: number, setAside: (records: RawRecord[]) => void, done: Done): void {
    assert(this.state === "open", `the log is ${this.state}`);
    assert(sequence <= this.position.sequence, "the new end is behind the head");
    this.state = "cutting";
    const finish: Done = (error) => {
      this.state = "open";
      done(error);
    };
    this.pipeline.whenIdle(() => {
      if (this.pipeline.failure !== null) return finish(this.pipeline.failure);
      this.handOver(sequence + 1, setAside, (error) => {
        if (error !== null) return finish(error);
        this.cutBehind(sequence, finish);
      });
    });
  }

  private handOver(from: number, setAside: (records: RawRecord[]) => void, done: Done): void {
    if (from > this.position.sequence) return done(null);
    this.readRecords(from, 2 ** 20, (error, records) => {
      if (error !== null) return done(error);
      try {
        setAside(records);
      } catch (refusal) {
        return done(refusal instanceof Error ? refusal : new Error(String(refusal)));
      }
      this.handOver((records.at(-1)?.sequence ?? from) + 1, setAside, done);
    });
  }

  private cutBehind(sequence: number, done: Done): void {
    if (sequence === this.position.sequence) return done(null);
    if (sequence === 0) return this.cutAt({ segment: 1, offset: SEGMENT_HEADER_BYTES }, null, done);
    this.readRecords(sequence, 1, (error, [record]) => {
      if (error !== null || record === undefined) return done(error);
      const header = RecordHeader.decode(viewOf(record.bytes), 0);
      const end = { segment: header.segment, offset: header.offset + record.bytes.length };
      this.cutAt(end, header, done);
    });
  }

  /** Segments go newest first: a crash in between leaves a shorter log, never a gap. */
  private cutAt(end: Address, last: RecordHeader | null, done: Done): void {
    for (const segment of this.segments.numbers().toReversed()) {
      if (segment <= end.segment) break;
      this.store.remove(segment);
      this.live.forget(segment);
    }
    this.store.clear(end.segment, end.offset);
    const { sequence, epoch, headerChecksum: checksum } = last ?? EMPTY_HEAD;
    this.position = { sequence, epoch, checksum };
    this.end = end;
    this.sealed = last?.kind === KIND.seal;
    this.segments.truncate(end);
    this.space.forgetFrom(end.segment);
    this.tail.reset(sequence);
    this.pipeline.rewind(end.segment, sequence);
    this.reader.forgetPlace();
    this.live.setUsed(end.segment, end.offset);
    this.counters.truncations++;
    this.notify();
    done(null);
  }

  /** Makes everything durable, then refuses appends. The store is the caller's to close. */
  close(done: Done): void {
    if (this.state === "open") this.state = "closed";
    this.whenDurable(this.position.sequence, (error) => {
      this.pipeline.disarmTimer();
      this.pipeline.whenIdle(() => done(error));
    });
  }
}

const EMPTY_HEAD = { sequence: 0, epoch: 0, headerChecksum: 0 };

function emptyLog(logId: Uint8Array): FoundLog {
  return {
    logId,
    segments: [],
    records: [],
    head: { sequence: 0, checksum: 0, epoch: 0 },
    end: { segment: 1, offset: 0 },
    sealed: false,
    durableSequence: 0,
    checkpoint: null,
    report: {
      segments: 0,
      scannedRecords: 0,
      cutAt: null,
      cutWasVouched: false,
      removedSegments: 0,
    },
  };
}

function isBefore(a: Address, b: Address): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

function copyParts(target: Uint8Array, at: number, parts: readonly Uint8Array[]): void {
  let to = at;
  for (const part of parts) {
    target.set(part, to);
    to += part.length;
  }
}
