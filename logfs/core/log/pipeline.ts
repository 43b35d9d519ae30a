/**
 * From memory to stable storage: group commit.
 *
 * 1. One write is in flight at a time; what is appended meanwhile goes out together in the next.
 * 2. One sync is in flight at a time, beside the writes. It covers what was written when it began,
 *    and begins when those who will wait for it have come (`gathering.ts`).
 * 3. A segment is not written to before everything in the segments before it is durable. So only
 *    the last segment can be torn, and recovery need scan no other.
 * 4. After the first failed write or sync nothing is acknowledged any more: a sync that is tried
 *    again can succeed without the pages that were dropped (Rebello et al., USENIX ATC 2020).
 */
import { SmfsError, messageOf } from "../../../lib/errors.ts";
import { Heap } from "../../../lib/heap.ts";
import type { Clock, Timers } from "../../../lib/ports.ts";
import type { Done, SegmentStore } from "./api.ts";
import { Gathering } from "./gathering.ts";
import type { LogCounters } from "./statistics.ts";
import type { Batch, TailBuffer } from "./tail.ts";

/** A larger write gains nothing and makes the records behind it wait. */
const MAX_WRITE_BYTES = 16 * 2 ** 20;

export interface PipelineState {
  readonly segment: number;
  readonly writtenSequence: number;
  readonly durableSequence: number;
}

export interface CommitLimits {
  readonly commitIntervalMicros: number;
  readonly commitBytes: number;
}

export interface PipelineEvents {
  /** `writtenSequence` or `durableSequence` advanced, or `failure` was set. */
  readonly onProgress: () => void;
  /** Everything in the segment is durable, and nothing is written to it any more. */
  readonly onSegmentDone: (segment: number) => void;
}

export class Pipeline {
  writtenSequence: number;
  durableSequence: number;
  failure: SmfsError | null = null;
  private segment: number;
  private writing = false;
  private syncing = false;
  private readonly writtenWaiters = new Heap<Done>();
  private readonly durableWaiters = new Heap<Done>();
  private readonly idleWaiters: (() => void)[] = [];
  private cancelTimer: (() => void) | null = null;
  private cancelGathering: (() => void) | null = null;
  private readonly gathering = new Gathering();
  /** Written since the last sync began. */
  private unsyncedBytes = 0;
  private readonly limits: CommitLimits;
  private readonly store: SegmentStore;
  private readonly tail: TailBuffer;
  private readonly time: Clock & Timers;
  private readonly counters: LogCounters;
  private readonly onProgress: () => void;
  private readonly onSegmentDone: (segment: number) => void;

  constructor(
    store: SegmentStore,
    tail: TailBuffer,
    time: Clock & Timers,
    counters: LogCounters,
    limits: CommitLimits,
    state: PipelineState,
    events: PipelineEvents,
  ) {
    this.store = store;
    this.tail = tail;
    this.time = time;
    this.counters = counters;
    this.segment = state.segment;
    this.writtenSequence = state.writtenSequence;
    this.durableSequence = state.durableSequence;
    this.limits = limits;
    this.onProgress = events.onProgress;
    this.onSegmentDone = events.onSegmentDone;
    this.armTimer();
  }

  /**
   * A new log: what stands in the tail, its first header, is made durable before any record is
   * written. So a log without a header never had a record.
   */
  begin(): void {
    const batch = this.tail.nextBatch(MAX_WRITE_BYTES);
    this.writing = true;
    this.counters.writes++;
    this.store.write(batch.segment, batch.offset, batch.parts, (error) => {
      if (error !== null) return this.handleWritten(batch, error);
      this.counters.syncs++;
      this.store.sync(batch.segment, (failure) => this.handleWritten(batch, failure));
    });
  }

  whenWritten(sequence: number, done: Done): void {
    if (sequence <= this.writtenSequence) done(null);
    else if (this.failure !== null) done(this.failure);
    else this.writtenWaiters.push(sequence, done);
  }

  whenDurable(sequence: number, done: Done): void {
    if (sequence <= this.durableSequence) return done(null);
    if (this.failure !== null) return done(this.failure);
    this.durableWaiters.push(sequence, done);
    this.pump();
  }

  /** `done` is called once nothing is in flight and everything appended is written, or failed. */
  whenIdle(done: () => void): void {
    if (this.idle) done();
    else this.idleWaiters.push(done);
  }

  private get idle(): boolean {
    const still = !this.writing && !this.syncing;
    return still && (this.tail.unwrittenBytes === 0 || this.failure !== null);
  }

  /** Starts whatever can be started now; called after every change. */
  pump(): void {
    this.pumpWrite();
    this.pumpSync();
    if (this.idle) for (const done of this.idleWaiters.splice(0)) done();
  }

  private pumpWrite(): void {
    if (this.writing || this.failure !== null || this.tail.unwrittenBytes === 0) return;
    if (!this.mayWriteTo(this.tail.unwrittenSegment)) return;
    const batch = this.tail.nextBatch(MAX_WRITE_BYTES);
    this.writing = true;
    this.counters.writes++;
    this.store.write(batch.segment, batch.offset, batch.parts, (error) =>
      this.handleWritten(batch, error),
    );
  }

  private mayWriteTo(segment: number): boolean {
    if (segment === this.segment) return true;
    if (this.durableSequence < this.writtenSequence) {
      if (!this.syncing) this.startSync();
      return false;
    }
    this.onSegmentDone(this.segment);
    this.segment = segment;
    return true;
  }

  private handleWritten(batch: Batch, error: Error | null): void {
    this.writing = false;
    if (this.failure !== null) return this.pump();
    if (error !== null) {
      return this.fail(
        `write of ${batch.bytes} bytes at segment ${batch.segment} offset ${batch.offset}`,
        error,
      );
    }
    this.tail.markWritten(batch);
    this.counters.bytesWritten += batch.bytes;
    this.unsyncedBytes += batch.bytes;
    this.writtenSequence = batch.lastSequence;
    this.pump();
    this.armTimer();
    wake(this.writtenWaiters, this.writtenSequence);
    this.onProgress();
  }

  private pumpSync(): void {
    if (this.syncing || this.failure !== null) return;
    if (this.unsyncedBytes >= this.limits.commitBytes) return this.startSync();
    if (this.durableWaiters.minKey > this.writtenSequence) return;
    const due = this.gathering.due(this.durableWaiters.size, this.tail.unwrittenBytes === 0);
    if (due <= this.time.nowMicros()) return this.startSync();
    this.cancelGathering ??= this.time.at(due, () => {
      this.cancelGathering = null;
      this.pump();
    });
  }

  private startSync(): void {
    const { segment, writtenSequence } = this;
    this.syncing = true;
    this.unsyncedBytes = 0;
    this.disarmTimer();
    this.gathering.syncStarted(this.time.nowMicros());
    this.counters.syncs++;
    this.store.sync(segment, (error) => this.handleSynced(segment, writtenSequence, error));
  }

  private handleSynced(segment: number, covered: number, error: Error | null): void {
    this.syncing = false;
    if (this.failure !== null) return this.pump();
    if (error !== null) return this.fail(`sync of segment ${segment}`, error);
    this.counters.recordsSynced += covered - this.durableSequence;
    this.durableSequence = covered;
    this.gathering.syncEnded(this.time.nowMicros(), this.durableWaiters.size);
    wake(this.durableWaiters, covered);
    this.pump();
    this.armTimer();
    this.onProgress();
  }

  private armTimer(): void {
    if (this.cancelTimer !== null || this.syncing || this.failure !== null) return;
    if (this.durableSequence === this.writtenSequence) return;
    const due = this.time.nowMicros() + this.limits.commitIntervalMicros;
    this.cancelTimer = this.time.at(due, () => {
      this.cancelTimer = null;
      if (!this.syncing && this.failure === null) this.startSync();
    });
  }

  disarmTimer(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
    this.cancelGathering?.();
    this.cancelGathering = null;
  }

  private fail(what: string, cause: Error): void {
    this.stop(new SmfsError("IO", `${what} failed: ${messageOf(cause)}`, cause));
  }

  /** Nothing is written, synced or acknowledged from here on; waiters get `failure`. */
  stop(failure: SmfsError): void {
    if (this.failure !== null) return;
    this.failure = failure;
    this.disarmTimer();
    for (const waiters of [this.writtenWaiters, this.durableWaiters]) {
      for (let done = waiters.pop(); done !== undefined; done = waiters.pop()) done(failure);
    }
    this.pump();
    this.onProgress();
  }

  /** After the log was cut: everything up to `sequence`, in `segment`, was written before. */
  rewind(segment: number, sequence: number): void {
    this.segment = segment;
    this.writtenSequence = sequence;
    this.durableSequence = Math.min(this.durableSequence, sequence);
  }
}

function wake(waiters: Heap<Done>, upTo: number): void {
  while (waiters.minKey <= upTo) waiters.pop()?.(null);
}
