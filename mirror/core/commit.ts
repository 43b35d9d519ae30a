/**
 * Decides when a record is as safe as an operation asked for (DESIGN, "Sync modes"; SMFS §3.1).
 *
 *   written   in this machine's kernel
 *   local     durable here
 *   network   durable here, and safe on the wire: the link says that the record's bytes and enough
 *             repair packets have left; or already at the mirror
 *   remote    durable here, and durable at the mirror
 *
 * Every level above `written` includes local durability, so that a crash of this machine never takes
 * back what was acknowledged. A level that cannot be reached follows `onUnreachable`.
 */
import { Heap } from "../../lib/heap.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Clock, Timers } from "../../lib/ports.ts";
import type { Committer } from "../../logfs/core/fs/api.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";
import type { LogReader } from "../../logfs/core/log/api.ts";

/** `degraded`: answered at `local`, because the level could not be reached. */
export type CommitOutcome = "ok" | "failed" | "degraded";

export type OnUnreachable = "block" | "eio" | "degrade";

/** What the committer needs of a mirror: `PrimarySession`, or nothing when there is no mirror. */
interface MirrorProgress {
  readonly state: string;
  readonly reason: string;
  readonly safeSequence: number;
  readonly durableSequence: number;
  hurry(sequence: number): void;
}

export interface CommitOptions {
  readonly log: LogReader;
  readonly mirror: MirrorProgress | null;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly onUnreachable: OnUnreachable;
  /** How long `block` waits before the operation fails with EIO. */
  readonly timeoutMicros: number;
  /** A wait for `level` ended after this many microseconds. */
  readonly onSettled: (level: SyncLevel, outcome: CommitOutcome, micros: number) => void;
}

interface Waiter {
  readonly sequence: number;
  readonly level: "network" | "remote";
  settled: boolean;
  readonly finish: Finish;
}

type Finish = (error: Error | null, outcome?: "ok" | "degraded") => void;

export class MirrorCommitter implements Committer {
  readonly statistics = { degraded: 0, failed: 0 };

  private readonly options: CommitOptions;
  private readonly waiters = { network: new Heap<Waiter>(), remote: new Heap<Waiter>() };

  constructor(options: CommitOptions) {
    this.options = options;
  }

  /** Operations that wait for the mirror. */
  get waiting(): number {
    return this.waiters.network.size + this.waiters.remote.size;
  }

  wait(sequence: number, level: SyncLevel): Promise<void> | undefined {
    if (this.reached(sequence, level)) return undefined;
    const { clock, log } = this.options;
    const started = clock.nowMicros();
    return new Promise((resolve, reject) => {
      const finish: Finish = (error, outcome = "ok") => {
        this.count(level, error === null ? outcome : "failed", clock.nowMicros() - started);
        if (error === null) resolve();
        else reject(error);
      };
      if (level === "written") log.whenWritten(sequence, (error) => finish(error));
      else if (level === "local") log.whenDurable(sequence, (error) => finish(error));
      else this.waitForMirror(sequence, level, finish);
    });
  }

  private count(level: SyncLevel, outcome: CommitOutcome, micros: number): void {
    if (outcome !== "ok") this.statistics[outcome]++;
    this.options.onSettled(level, outcome, micros);
  }

  /** The mirror's state or one of its sequences changed. */
  handleProgress(): void {
    for (const level of ["network", "remote"] as const) {
      const heap = this.waiters[level];
      const reached = this.mirrorSequence(level);
      while (heap.minKey <= reached) heap.pop()?.finish(null);
    }
    if (!this.reachable()) this.giveUp();
  }

  private reached(sequence: number, level: SyncLevel): boolean {
    const { log } = this.options;
    if (log.failure !== null) return false;
    if (level === "written") return log.writtenSequence >= sequence;
    if (log.durableSequence < sequence) return false;
    return level === "local" || this.mirrorSequence(level) >= sequence;
  }

  private mirrorSequence(level: "network" | "remote"): number {
    const { mirror } = this.options;
    if (mirror === null) return 0;
    const { safeSequence, durableSequence } = mirror;
    return level === "remote" ? durableSequence : Math.max(safeSequence, durableSequence);
  }

  private reachable(): boolean {
    const { mirror } = this.options;
    return mirror !== null && (mirror.state === "streaming" || mirror.state === "comparing");
  }

  /** The wire and the disk work at the same time; the operation waits for both. */
  private waitForMirror(sequence: number, level: "network" | "remote", finish: Finish): void {
    const { clock, timers, log, mirror, timeoutMicros } = this.options;
    if (level === "network") mirror?.hurry(sequence);
    let cancelTimer = (): void => {};
    const waiter: Waiter = {
      sequence,
      level,
      settled: false,
      finish: (error, outcome) => {
        if (waiter.settled) return;
        waiter.settled = true;
        cancelTimer();
        finish(error, outcome);
      },
    };
    cancelTimer = timers.at(clock.nowMicros() + timeoutMicros, () => this.timeOut(waiter));
    log.whenDurable(sequence, (error) => {
      if (error !== null) waiter.finish(error);
      else this.admit(waiter);
    });
  }

  private admit(waiter: Waiter): void {
    if (waiter.settled) return;
    if (this.mirrorSequence(waiter.level) >= waiter.sequence) waiter.finish(null);
    else if (this.reachable() || this.options.onUnreachable === "block") {
      this.waiters[waiter.level].push(waiter.sequence, waiter);
    } else this.settleUnreachable(waiter);
  }

  private giveUp(): void {
    if (this.options.onUnreachable === "block") return;
    for (const heap of [this.waiters.network, this.waiters.remote]) {
      for (let waiter = heap.pop(); waiter !== undefined; waiter = heap.pop()) {
        if (!waiter.settled) this.settleUnreachable(waiter);
      }
    }
  }

  /** `degrade` falls back to `local`, never below: a slow disk is waited for. */
  private settleUnreachable(waiter: Waiter): void {
    const { log, onUnreachable } = this.options;
    if (onUnreachable === "degrade") {
      log.whenDurable(waiter.sequence, (error) => waiter.finish(error, "degraded"));
    } else waiter.finish(this.unreachable(waiter));
  }

  private timeOut(waiter: Waiter): void {
    if (waiter.settled) return;
    this.settleUnreachable(waiter);
    this.forgetSettled();
  }

  /** However long the mirror stays away, what timed out does not pile up. */
  private forgetSettled(): void {
    for (const heap of [this.waiters.network, this.waiters.remote]) {
      while (heap.min?.settled === true) heap.pop();
    }
  }

  private unreachable({ sequence, level }: Waiter): SmfsError {
    const { mirror } = this.options;
    const state = mirror === null ? "no mirror is configured" : `mirror ${mirror.state}`;
    const reason = mirror?.reason ? `: ${mirror.reason}` : "";
    return new SmfsError(
      "UNREACHABLE",
      `record ${sequence} did not reach ${level} (${state}${reason})`,
    );
  }
}
