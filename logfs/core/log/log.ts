/**
 * The log: appends, reads and follows. Pure; the disk is a `SegmentStore`, time comes from a port.
 *
 * An append goes to memory (`writer.ts`, `tail.ts`), from there to the disk (`pipeline.ts`), and is
 * read from wherever it is (`reader.ts`). This file joins them and holds the right to append: the
 * epoch, the state, the failure after which nothing is taken any more.
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
  LogSegment,
  LogSegments,
  LogWriter,
  Position,
  RawRecord,
  ReserveUse,
  SegmentStore,
} from "./api.ts";
import { Cut } from "./cut.ts";
import { checkContinues } from "./follow.ts";
import { EpochStart, KIND, RecordHeader } from "./format.ts";
import {
  ID_BYTES,
  type LogOptions,
  PAGE_BYTES,
  type ResolvedOptions,
  resolveOptions,
} from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { RecordReader } from "./reader.ts";
import { readRecord, recordBytes } from "./record.ts";
import {
  emptyLog,
  forkedLog,
  type FoundLog,
  type Inheritance,
  type RecoveryReport,
} from "./found.ts";
import { type DoomedTail, findLog } from "./recovery.ts";
import { type LogStatistics, newCounters } from "./statistics.ts";
import { type Draft, type Fill, NO_BODY, Writer } from "./writer.ts";

export interface CreateOptions extends LogOptions {
  /** Random, 16 bytes. A mirror's log is created with the primary's. */
  readonly logId: Uint8Array;
}

export interface RecoverOptions extends LogOptions {
  /** The log was written as a mirror's when it was last open (`recovery.ts`). */
  readonly follower?: boolean;
  readonly beforeCut?: (tail: DoomedTail) => void;
  /** Ids of the logs of which this one is a fork. */
  readonly ancestors?: readonly Uint8Array[];
}

export type Recovered =
  | { readonly ok: true; readonly log: Log; readonly report: RecoveryReport }
  | { readonly ok: false; readonly failure: SmfsError };

const NO_OPTIONS: AppendOptions = {};

export class Log implements LogWriter, LogFollower, LogSegments {
  readonly id: Uint8Array;
  vouchedSequence: number;
  private state: "open" | "being cut" | "closed" = "open";
  private fencedBy: string | null = null;
  /** Closing waits for a cut: it writes to the store, which goes to somebody else after the close. */
  private closeAfterCut: (() => void) | null = null;
  private readonly options: ResolvedOptions;
  private readonly store: SegmentStore;
  private readonly counters = newCounters();
  private readonly listeners = new Set<() => void>();
  private readonly writer: Writer;
  private readonly pipeline: Pipeline;
  private readonly reader: RecordReader;
  private readonly cut: Cut;

  /**
   * Starts an empty log in an empty store. Nothing is promised before the first record is durable: a
   * store whose creation was interrupted recovers as NOT_FOUND. Throws `SmfsError` BUSY when there
   * are segments already, NO_SPACE, CONFIG.
   */
  static create(store: SegmentStore, options: CreateOptions, time: Clock & Timers): Log {
    if (options.logId.length !== ID_BYTES) throw new SmfsError("CONFIG", "logId is 16 bytes");
    if (store.list().length > 0) throw new SmfsError("BUSY", "there is a log here already");
    const log = new Log(store, options, time, emptyLog(options.logId));
    log.writer.begin();
    log.pipeline.begin();
    return log;
  }

  /**
   * Starts a log whose first records stand in the segments of another one, sealed; they are in `store`
   * already. What it appends begins the next segment. Throws `SmfsError` CONFIG.
   */
  static fork(
    store: SegmentStore,
    options: CreateOptions,
    time: Clock & Timers,
    inherited: Inheritance,
  ): Log {
    if (options.logId.length !== ID_BYTES) throw new SmfsError("CONFIG", "logId is 16 bytes");
    return new Log(store, options, time, forkedLog(options.logId, inherited));
  }

  /** Opens what `create` started, after a crash or not. Failures are those of `findLog`. */
  static recover(store: SegmentStore, options: RecoverOptions, time: Clock & Timers): Recovered {
    try {
      const { follower = false, beforeCut = () => {}, ancestors = [] } = options;
      const settings = { ...resolveOptions(options), follower, beforeCut, ancestors };
      const found = findLog(store, settings);
      return { ok: true, log: new Log(store, options, time, found), report: found.report };
    } catch (error) {
      if (error instanceof SmfsError) return { ok: false, failure: error };
      throw error;
    }
  }

  private constructor(
    store: SegmentStore,
    options: LogOptions,
    time: Clock & Timers,
    found: FoundLog,
  ) {
    this.options = resolveOptions(options);
    this.store = store;
    this.id = found.logId.slice();
    this.vouchedSequence = found.vouchedSequence;
    this.writer = new Writer(store, this.options, time, this.counters, found);
    const { tail, segments } = this.writer;
    const state = {
      segment: found.end.segment,
      writtenSequence: found.head.sequence,
      durableSequence: found.head.sequence,
    };
    const { counters } = this;
    this.pipeline = new Pipeline(store, tail, time, counters, this.options, state, {
      onProgress: () => this.notify(),
      onSegmentDone: (segment) => this.trim(segment),
    });
    this.reader = new RecordReader(store, tail, segments, this.counters);
    this.cut = new Cut(store, this.writer, this.reader);
    if (found.report.cutAt !== null) this.counters.tornTailsCut++;
  }

  get head(): Position {
    return this.writer.position;
  }

  get epoch(): number {
    return this.writer.position.epoch;
  }

  get endAddress(): Address {
    return this.writer.end;
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
    return this.writer.checkpoint;
  }

  get firstSequence(): number {
    return this.writer.segments.firstSequence;
  }

  get segments(): LogSegment[] {
    const { end, sealed, segments } = this.writer;
    return segments.all.map(({ segment, firstSequence, usedBytes }) => ({
      segment,
      firstSequence,
      usedBytes,
      sealed: sealed || segment !== end.segment,
    }));
  }

  get segmentCount(): number {
    return this.writer.segments.count;
  }

  /** Appended and not yet in the kernel's hands: what a burst of writers holds in memory. */
  get unwrittenBytes(): number {
    return this.writer.tail.unwrittenBytes;
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
    let bodyBytes = 0;
    for (const part of body) bodyBytes += part.length;
    const { bodyChecksum } = options;
    const draft = { epoch: this.epoch, kind, metadataBytes, body, bodyBytes, fill, bodyChecksum };
    return this.appendDraft(draft, options.privileged === true ? "freeing" : null);
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
    const metadataBytes = EpochStart.size;
    const draft = { epoch, kind: KIND.epoch, metadataBytes, body: NO_BODY, bodyBytes: 0, fill };
    return this.appendDraft(draft, "epoch");
  }

  private appendDraft(draft: Draft, reserve: ReserveUse | null): Appended {
    this.refuseUnlessOpen();
    const length = recordBytes(draft.metadataBytes, draft.bodyBytes);
    if (length > this.options.maxRecordBytes) {
      const message = `a record of ${length} bytes; the limit is ${this.options.maxRecordBytes}`;
      throw new SmfsError("TOO_LARGE", message);
    }
    const { durableSequence } = this;
    this.writer.makeRoom(length, { reserve, durableSequence });
    const at = this.writer.emit(draft, durableSequence);
    this.pipeline.pump();
    this.notify();
    return at;
  }

  sealSegment(): void {
    this.refuseUnlessOpen();
    if (!this.writer.sealEarly(this.durableSequence)) return;
    this.pipeline.pump();
    this.notify();
  }

  drop(segments: readonly number[]): void {
    assert(this.state !== "closed", "segments of a closed log");
    const { checkpoint } = this;
    for (const segment of segments) {
      const isBehind = checkpoint !== null && segment < checkpoint.segment;
      assert(isBehind, `segment ${segment} is not before the newest checkpoint's`);
      this.dropOne(segment);
    }
  }

  private dropOne(segment: number): void {
    const usedBytes = this.writer.forget(segment);
    if (usedBytes === undefined) return;
    this.reader.forgetPlace();
    this.store.remove(segment);
    this.counters.segmentsDropped++;
    this.counters.bytesDropped += usedBytes;
  }

  /** What a seal left of the last allocation goes back to the device. */
  private trim(segment: number): void {
    const usedBytes = this.writer.segments.usedBytes(segment);
    if (usedBytes === undefined) return;
    try {
      this.store.trim(segment, Math.ceil(usedBytes / PAGE_BYTES) * PAGE_BYTES);
    } catch (error) {
      // The space is lost to us until the segment is dropped; nothing else is.
      if (!(error instanceof SmfsError)) throw error;
      this.counters.trimsRefused++;
    }
  }

  /** A later term exists somewhere: from here on every append is refused as FENCED. */
  fence(reason: string): void {
    this.fencedBy = reason;
  }

  private refuseUnlessOpen(): void {
    if (this.pipeline.failure !== null) throw this.pipeline.failure;
    if (this.fencedBy !== null) throw new SmfsError("FENCED", this.fencedBy);
    if (this.state !== "open") throw new SmfsError("BUSY", `the log is ${this.state}`);
  }

  appendRaw(record: Uint8Array): Appended {
    this.refuseUnlessOpen();
    const header = readRecord(record);
    checkContinues(header, this.id, this.head, this.writer.expected);
    const at = this.writer.take(record, header);
    this.vouchedSequence = Math.max(this.vouchedSequence, header.durableSequence);
    this.pipeline.pump();
    this.notify();
    return at;
  }

  /** Checkpoints are known by their kind already; this only catches a caller that is mistaken. */
  noteCheckpoint(at: Appended): void {
    const known = this.checkpoint;
    assert(known !== null && !isBefore(known, at), "a checkpoint that was never appended");
  }

  read(
    address: Address,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
    into?: Uint8Array,
  ): void {
    this.reader.read(address, length, done, into);
  }

  readRecords(
    sequence: number,
    maxBytes: number,
    done: (error: Error | null, records: RawRecord[]) => void,
  ): void {
    if (sequence > this.head.sequence) done(null, []);
    else this.reader.readRecords(sequence, maxBytes, done);
  }

  readRecordsAt(
    address: Address,
    maxBytes: number,
    done: (error: Error | null, records: RawRecord[]) => void,
  ): void {
    this.reader.readRecordsAt(address, maxBytes, done);
  }

  positionOf(
    sequence: number,
    done: (error: Error | null, position: Position | null) => void,
  ): void {
    const { head } = this;
    if (sequence === head.sequence) return done(null, head);
    if (sequence === 0) return done(null, { sequence: 0, epoch: 0, checksum: 0 });
    if (sequence > head.sequence || sequence < this.firstSequence) return done(null, null);
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

  /**
   * Cuts every record behind `sequence`: a mirror whose tail did not become history. `setAside` gets
   * the records first, in order and in pieces; when it throws, nothing was cut. Appends are refused
   * meanwhile. Fails with the log's failure, or NOT_FOUND when `sequence` is before `firstSequence`.
   */
  truncateTo(sequence: number, setAside: (records: RawRecord[]) => void, done: Done): void {
    assert(this.state === "open", `the log is ${this.state}`);
    assert(sequence <= this.head.sequence, "the new end is behind the head");
    this.state = "being cut";
    const finish: Done = (error) => {
      this.state = "open";
      if (error === null) this.handleCut();
      else if (error instanceof SmfsError && error.code === "IO") this.pipeline.stop(error);
      done(error);
      this.closeAfterCut?.();
    };
    this.pipeline.whenIdle(() => {
      if (this.pipeline.failure !== null) return finish(this.pipeline.failure);
      this.cut.handOver(sequence + 1, setAside, (error) => {
        if (error === null) this.cut.behind(sequence, finish);
        else finish(error);
      });
    });
  }

  private handleCut(): void {
    const { end, position } = this.writer;
    this.pipeline.rewind(end.segment, position.sequence);
    this.counters.truncations++;
    this.notify();
  }

  /** Makes everything durable, then refuses appends. The store is the caller's to close. */
  close(done: Done): void {
    if (this.state === "being cut") {
      this.closeAfterCut = () => this.close(done);
      return;
    }
    this.state = "closed";
    this.whenDurable(this.head.sequence, (error) => {
      this.pipeline.disarmTimer();
      this.pipeline.whenIdle(() => done(error));
    });
  }
}

function isBefore(a: Address, b: Address): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}
