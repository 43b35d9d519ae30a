/**
 * `Cleaner`: makes segments dead, so that they can be dropped (ARCHITECTURE, "Cleaning").
 *
 * It works in rounds: choose victims (`policy.ts`), survey them, move what is alive (`evacuation.ts`),
 * write a checkpoint, wait until the dead segments have been dropped. Rounds follow one another while
 * there is a need: with pauses in the background, without any when space is short.
 *
 * - A victim is given up for nothing that the survey says: only tables in which it has no live bytes
 *   any more make it dead. One that keeps some is set aside: it is not tried again while this runs.
 * - Only one round runs at a time; what is asked for meanwhile waits for its end.
 */
import { messageOf, SmfsError } from "../../../../lib/errors.ts";
import type { Clock, Timers } from "../../../../lib/ports.ts";
import type { CleanableVolume, CleanerLog } from "./api.ts";
import { Balance } from "./balance.ts";
import { evacuate } from "./evacuation.ts";
import { Gate } from "./gate.ts";
import { SpaceNeeds } from "./needs.ts";
import {
  chooseVictims,
  emptinessOf,
  gainsMoreThanTables,
  type Goal,
  LEAST_DEAD_SHARE,
  type Need,
  type SegmentUsage,
  worthOf,
  writableBytes,
} from "./policy.ts";
import { SegmentCensus } from "./census.ts";
import { type CleanerCounters, newCounters } from "./statistics.ts";
import { Waits } from "./waits.ts";

export interface CleanerOptions {
  readonly segmentBytes: number;
  readonly maxRecordBytes: number;
  /** Changed nodes at which the volume writes a checkpoint. */
  readonly dirtyBytes: number;
  /** Share of the used bytes that may be garbage before it works in the background. */
  readonly garbageShare: number;
}

export interface CleanerPorts {
  readonly log: CleanerLog;
  readonly volume: CleanableVolume;
  readonly time: Clock & Timers;
  /** Capacity and free bytes below the log (`SegmentStore.space`). */
  readonly space: () => { totalBytes: number; freeBytes: number };
  /** Takes back what was given to those that free space (`SegmentStore.restoreReserve`). */
  readonly restoreReserve: () => void;
  /** Why dead segments cannot be dropped now (a mirror is away); null when nothing is in the way. */
  readonly obstacle: () => string | null;
  /** Something went wrong that cleaning can live with, or that ended it. */
  readonly onTrouble: (message: string) => void;
}

/** What one call of `trim` did. */
export interface TrimResult {
  readonly rounds: number;
  readonly cleanedSegments: number;
  readonly movedBytes: number;
  /** Of the segments that were dropped. */
  readonly droppedBytes: number;
}

/** What a round is to do. */
interface Assignment {
  readonly wantedBytes: number;
  /** The newest segment that may be a victim. */
  readonly upTo: number;
}

/** `nothing`: there was no victim. */
type Outcome = "gained" | "fruitless" | "nothing";

/** Every round empties a segment or sets one aside; a bound all the same. */
const MAX_TRIM_ROUNDS = 100_000;
/** Memory for the bytes that move together, and so the longest stretch that stands together. */
const BATCH_BYTES = 32 * 2 ** 20;
/** Nodes of snapshots' trees in memory while a round looks into them. */
const READER_BYTES = 16 * 2 ** 20;
/** Live bytes that one round moves at most, in batches: a checkpoint follows. */
const ROUND_BYTES = 256 * 2 ** 20;
/** After so many rounds without a gain there is none: nodes that change may cost one what it gains. */
const FRUITLESS_ROUNDS = 3;
/** Who asks for all that can be had waits longer: victims may have no room before others have gone. */
const TRIM_FRUITLESS_ROUNDS = 8;
/** In the background it works half of the time. */
const PAUSE_MICROS = { least: 20_000, most: 5_000_000 } as const;
/** Whoever waits for a drop looks again after this, whatever happened or did not. */
const LOOK_AGAIN_MICROS = 1_000_000;

export class Cleaner {
  readonly gate: Gate;
  readonly counters: CleanerCounters = newCounters();
  /** What went wrong last; null: nothing. */
  trouble: string | null = null;
  private readonly ports: CleanerPorts;
  private readonly options: CleanerOptions;
  private readonly census: SegmentCensus;
  private readonly needs: SpaceNeeds;
  private readonly waits: Waits;
  private state: "idle" | "running" | "stopped" = "idle";
  private need: Need = "none";
  private ended: Promise<void> = Promise.resolve();
  private readonly unsubscribe: () => void;
  /** Calls of `trim` that are not over: they come before what is done unasked. */
  private trims = 0;
  /** Appended bytes at which the need is looked at again. */
  private nextLookBytes = 0;
  /** Garbage when cleaning was last found to be of no use. */
  private uselessGarbageBytes = 0;
  /** It was of no use because something was in the way. */
  private wasObstructed = false;
  private readonly balance = new Balance();
  /** Rounds, one after the other, that gained nothing. */
  private fruitlessRounds = 0;
  /** Of free space: what the round under way is going to move. */
  private reservedBytes = 0;
  /** What the round under way has written. */
  private costBytes = 0;

  constructor(ports: CleanerPorts, options: CleanerOptions) {
    this.ports = ports;
    this.options = options;
    const { log, time } = ports;
    this.census = new SegmentCensus(ports);
    this.needs = new SpaceNeeds(ports, options, this.census);
    this.waits = new Waits(time);
    this.gate = new Gate({
      clock: time,
      roomBytes: () => ports.space().freeBytes - this.needs.ownBytes - this.reservedBytes,
      appendedBytes: () => log.statistics.bytesAppended,
      operationBytes: Math.min(2 ** 20, options.segmentBytes / 8),
      isWorthARound: () => this.garbageHasGrown(),
      onShortage: () => this.wake(),
    });
    this.unsubscribe = log.subscribe(() => this.handleProgress());
  }

  /** What applications can write before they get ENOSPC, bytes, about. */
  get writableBytes(): number {
    return writableBytes(this.census.spaceUse(), this.needs.ownBytes);
  }

  /** Live bytes and bytes of all segments: how full the log is of what is needed. */
  get usage(): { readonly liveBytes: number; readonly usedBytes: number } {
    return this.census.usage();
  }

  /** Segments that could not be emptied: damaged, or unreadable. */
  get setAside(): readonly number[] {
    return this.census.setAside;
  }

  /** Something was appended, became durable here or at a mirror, or was dropped. */
  handleProgress(): void {
    this.waits.look();
    const { bytesAppended } = this.ports.log.statistics;
    if (this.state !== "idle" || bytesAppended < this.nextLookBytes) return;
    this.nextLookBytes = bytesAppended + this.options.segmentBytes / 8;
    this.wake();
  }

  /** Cleans everything that is worth it. Rejects with what ended a round. */
  async trim(onProgress: (result: TrimResult) => void): Promise<TrimResult> {
    this.trims++;
    try {
      while (this.state === "running") await this.ended;
      return await this.trimNow(onProgress);
    } finally {
      this.trims--;
      if (this.isAwaited) this.wake();
    }
  }

  private async trimNow(onProgress: (result: TrimResult) => void): Promise<TrimResult> {
    const before = { ...this.counters };
    const droppedBefore = this.ports.log.statistics.bytesDropped;
    const result = (): TrimResult => ({
      rounds: this.counters.rounds - before.rounds,
      cleanedSegments: this.counters.cleanedSegments - before.cleanedSegments,
      movedBytes: this.counters.movedBytes - before.movedBytes,
      droppedBytes: this.ports.log.statistics.bytesDropped - droppedBefore,
    });
    await this.exclusively(async () => {
      this.offerHead();
      await this.writeAhead();
      this.ports.volume.checkpoint();
      // What others write meanwhile is for the next time, or this would not end.
      const upTo = this.ports.log.endAddress.segment;
      let fruitless = 0;
      let goesOn = true;
      while (this.isRunning && goesOn) {
        const outcome = await this.round({ wantedBytes: Infinity, upTo });
        this.gate.pump();
        fruitless = outcome === "gained" ? 0 : fruitless + 1;
        const isWorthIt = outcome !== "nothing" && fruitless < TRIM_FRUITLESS_ROUNDS;
        goesOn = isWorthIt && this.counters.rounds - before.rounds < MAX_TRIM_ROUNDS;
        if (!goesOn) await this.dropDead("always");
        onProgress(result());
      }
    });
    return result();
  }

  /** Resolves when a round has gained something; rejects with `refusal` when it has not. */
  nextRound(refusal: Error): Promise<void> {
    const turn = this.waits.forRound(refusal);
    this.wake();
    return turn;
  }

  /** Resolves when nothing is under way any more. Whoever waits is refused. */
  async stop(): Promise<void> {
    if (this.state === "stopped") return;
    const wasRunning = this.state === "running";
    this.state = "stopped";
    this.unsubscribe();
    this.waits.endAll();
    this.gate.close("this site stops");
    if (wasRunning) await this.ended;
  }

  private get isAwaited(): boolean {
    return this.gate.waiting > 0 || this.waits.rounds > 0;
  }

  private get isRunning(): boolean {
    return this.state === "running";
  }

  private wake(): void {
    if (this.state !== "idle" || this.trims > 0) return;
    if (!this.isAwaited && this.needs.goal(this.need).need === "none") return;
    // It reports its own failures.
    void this.exclusively(() => this.work());
  }

  private async exclusively(work: () => Promise<void>): Promise<void> {
    if (this.state !== "idle") return;
    this.state = "running";
    // Not in this step: it may be one in which the log has taken a record and the tree has not.
    this.balance.begin();
    const run = Promise.resolve().then(work);
    this.ended = run.then(
      () => {},
      () => {},
    );
    try {
      await run;
    } finally {
      this.need = "none";
      if (this.isRunning) this.state = "idle";
      // Whoever came in the last moment would be forgotten: waiting makes no progress to hear of.
      if (this.isAwaited) this.wake();
    }
  }

  private async work(): Promise<void> {
    this.fruitlessRounds = 0;
    for (;;) {
      const goal = this.nextGoal();
      if (!this.isRunning || goal.need === "none" || this.trims > 0) break;
      const startMicros = this.ports.time.nowMicros();
      const gained = await this.tryRound(goal);
      if (gained) this.ports.restoreReserve();
      this.gate.pump();
      this.fruitlessRounds = gained ? 0 : this.fruitlessRounds + 1;
      if (this.fruitlessRounds === FRUITLESS_ROUNDS) {
        this.giveUp();
        break;
      }
      if (gained) this.waits.endRound(true);
      if (this.need === "background") await this.pause(startMicros);
    }
    this.waits.endRound(this.fruitlessRounds === 0);
  }

  /** Whoever waits makes a need of what would be none. */
  private nextGoal(): Goal {
    const goal = this.needs.goal(this.need);
    const { segmentBytes } = this.options;
    const next =
      this.isAwaited && goal.need !== "pressure"
        ? { need: "pressure" as const, wantedBytes: segmentBytes }
        : goal;
    this.need = next.need;
    return next;
  }

  private async tryRound(goal: Goal): Promise<boolean> {
    try {
      return (await this.round({ ...goal, upTo: Infinity })) === "gained";
    } catch (error) {
      if (this.isRunning) this.report(`a round of cleaning failed: ${messageOf(error)}`);
      this.counters.failedRounds++;
      if (error instanceof SmfsError) return false;
      throw error;
    }
  }

  /** Rejects with what reading and appending reject. */
  private async round({ wantedBytes, upTo }: Assignment): Promise<Outcome> {
    const beforeBytes = this.goneBytes;
    this.costBytes = 0;
    // Before nothing is found to be of use, everything is tried.
    await this.dropDead(this.fruitlessRounds > 0 ? "always" : "whenItGains");
    const victims = await this.victims(wantedBytes - (this.goneBytes - beforeBytes), upTo);
    if (victims.length > 0) {
      this.counters.rounds++;
      const evacuated = await this.evacuate(victims);
      await this.dropDead("whenItGains");
      this.judge(evacuated);
    }
    if (this.balance.note(this.goneBytes - beforeBytes, this.costBytes)) return "gained";
    return victims.length === 0 ? "nothing" : "fruitless";
  }

  /** What was dropped so far, and what a checkpoint would let go. */
  private get goneBytes(): number {
    return this.ports.log.statistics.bytesDropped + this.census.dead().waitingBytes;
  }

  private async victims(wantedBytes: number, upTo: number): Promise<number[]> {
    if (wantedBytes <= 0) return [];
    const found = this.victimsNow(wantedBytes, upTo);
    if (found.length > 0 || !this.census.awaitsCheckpoint) return found;
    // Only what stands before the newest checkpoint can be dropped one day.
    await this.checkpoint();
    return this.victimsNow(wantedBytes, upTo);
  }

  private victimsNow(wantedBytes: number, upTo: number): number[] {
    const { kept, pinned } = this.ports.volume;
    const nowSeconds = Math.floor(this.ports.volume.nowMicros() / 1_000_000);
    const budgetBytes = Math.min(ROUND_BYTES, this.needs.availableBytes / (1 + LEAST_DEAD_SHARE));
    const candidates = this.census.candidates().filter(({ segment }) => segment <= upTo);
    const worth = this.fruitlessRounds > 0 ? emptinessOf : worthOf;
    const choose = (some: readonly SegmentUsage[]): SegmentUsage[] =>
      chooseVictims(some, nowSeconds, { budgetBytes, wantedBytes }, worth);
    const victims = choose(candidates);
    const isKept = ({ segment }: SegmentUsage): boolean => pinned.has(segment);
    const tables = { tableBytes: kept.tableBytes, batchBytes: this.batchBytes };
    const isWorthIt = gainsMoreThanTables(victims.filter(isKept), tables);
    const chosen = isWorthIt ? victims : choose(candidates.filter((one) => !isKept(one)));
    return chosen.map(({ segment }) => segment);
  }

  private get batchBytes(): number {
    return Math.min(this.options.segmentBytes, BATCH_BYTES);
  }

  private async evacuate(victims: readonly number[]): Promise<readonly number[]> {
    const { gate, counters, ports, options } = this;
    const settings = {
      ...options,
      batchBytes: this.batchBytes,
      cacheBytes: Math.min(options.dirtyBytes, READER_BYTES),
      isWanted: () => this.isRunning,
      reserve: (bytes: number) => this.reserve(bytes),
      onMoved: (bytes: number) => {
        this.reservedBytes = Math.max(0, this.reservedBytes - bytes);
      },
      onWritten: (bytes: number) => {
        this.costBytes += bytes;
      },
      onFull: (segment: number, liveBytes: number) => this.census.noteFull(segment, liveBytes),
    };
    // What is dirty already is no part of the step that moves what snapshots have.
    if (victims.some((segment) => ports.volume.pinned.has(segment))) await this.writeAhead();
    try {
      return (await evacuate({ ...ports, gate, counters }, victims, settings)).segments;
    } finally {
      this.reservedBytes = 0;
    }
  }

  /** Keeps space for moving so many bytes in all; false when there is not enough. */
  private reserve(bytes: number): boolean {
    const neededBytes = bytes * (1 + LEAST_DEAD_SHARE);
    if (neededBytes > this.needs.availableBytes) return false;
    this.reservedBytes = neededBytes;
    this.gate.narrow();
    return true;
  }

  /**
   * Waits until segments without live bytes are gone, or will not go for now. Some need a checkpoint:
   * one is written, `whenItGains`: when they are more than it takes.
   */
  private async dropDead(checkpoint: "whenItGains" | "always"): Promise<void> {
    const { log, volume, obstacle } = this.ports;
    const { free, waitingBytes } = this.census.dead();
    const { dirtyBytes } = volume.statistics;
    const isDue =
      checkpoint === "always" ? waitingBytes + dirtyBytes > 0 : waitingBytes > dirtyBytes;
    if (isDue) await this.checkpoint();
    const going = new Set(isDue ? this.census.dead().free : free);
    // Nobody else may wait for it to be durable.
    log.whenDurable(log.head.sequence, () => this.handleProgress());
    const isOver = (): boolean => {
      if (!this.isRunning || log.failure !== null || obstacle() !== null) return true;
      return !log.segments.some(({ segment }) => going.has(segment) && !volume.pinned.has(segment));
    };
    await this.waits.until(isOver, LOOK_AGAIN_MICROS);
  }

  private async checkpoint(): Promise<void> {
    await this.writeAhead();
    this.atCost(() => this.ports.volume.checkpoint("always"));
  }

  /** Operations get their turn between the steps. */
  private async writeAhead(): Promise<void> {
    const { volume } = this.ports;
    while (this.isRunning && this.atCost(() => volume.writeAhead())) {
      await this.waits.pause(() => !this.isRunning, 0);
    }
  }

  private atCost<T>(append: () => T): T {
    const { log } = this.ports;
    const before = log.statistics.bytesAppended;
    const outcome = append();
    this.costBytes += log.statistics.bytesAppended - before;
    return outcome;
  }

  private judge(victims: readonly number[]): void {
    const { live, pinned, replaced } = this.ports.volume;
    for (const segment of victims) {
      const isEmpty = live.of(segment) <= (replaced.get(segment) ?? 0) && !pinned.has(segment);
      if (isEmpty) this.counters.cleanedSegments++;
      else if (this.isRunning && this.census.failed(segment)) {
        this.report(`segment ${segment} cannot be emptied: it is kept as it is`);
      }
    }
  }

  private async pause(startMicros: number): Promise<void> {
    const took = this.ports.time.nowMicros() - startMicros;
    const micros = Math.min(PAUSE_MICROS.most, Math.max(PAUSE_MICROS.least, took));
    const isOver = (): boolean => !this.isRunning || this.needs.goal(this.need).need === "pressure";
    await this.waits.pause(isOver, micros);
  }

  /** The head is no victim before it is sealed; a segment with next to nothing in it stays. */
  private offerHead(): void {
    const { log, volume } = this.ports;
    const { segment, offset } = log.endAddress;
    if (offset - volume.live.of(segment) < LEAST_HEAD_BYTES) return;
    log.sealSegment();
    volume.checkpoint("always");
  }

  private giveUp(): void {
    const { obstacle } = this.ports;
    const { garbageBytes, freeBytes } = this.census.spaceUse();
    if (freeBytes > this.needs.ownBytes && this.gate.waiting === 0) return;
    this.uselessGarbageBytes = garbageBytes;
    const why = obstacle();
    this.wasObstructed = why !== null;
    const reason = why === null ? "the store is full" : `the store is full: ${why}`;
    this.gate.close(reason);
    this.report(reason);
  }

  private report(message: string): void {
    this.trouble = message;
    this.ports.onTrouble(message);
  }

  private garbageHasGrown(): boolean {
    if (this.ports.obstacle() !== null) return false;
    if (this.wasObstructed) return true;
    const { garbageBytes } = this.census.spaceUse();
    return garbageBytes >= this.uselessGarbageBytes + this.options.segmentBytes / 32;
  }
}

/** What a checkpoint of an almost empty file system and its epochs take, generously. */
const LEAST_HEAD_BYTES = 64 * 1024;
