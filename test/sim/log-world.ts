/** One log on one simulated disk in virtual time, with what tests of the log do all the time. */
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import { type CreateOptions, Log, type RecoverOptions } from "../../logfs/core/log/log.ts";
import type { LogOptions } from "../../logfs/core/log/options.ts";
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "./clock.ts";
import { type DiskOptions, SimulatedDisk } from "./disk.ts";
import { Life } from "./life.ts";

export const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
/** Four pages a segment: a handful of records rolls it. */
export const SMALL: LogOptions = {
  segmentBytes: 16384,
  allocationBytes: 4096,
  maxRecordBytes: 8192,
};

export class LogWorld {
  readonly clock: VirtualClock;
  readonly disk: SimulatedDisk;
  readonly options: CreateOptions;
  log: Log;
  /** The process that has the log open: its timers end with it. */
  private life: Life;

  constructor(options: Partial<CreateOptions> = {}, disk: Partial<DiskOptions> = {}) {
    this.clock = new VirtualClock();
    this.disk = new SimulatedDisk(this.clock.schedule, disk);
    this.options = { logId: LOG_ID, ...SMALL, ...options };
    this.life = new Life(this.clock);
    this.log = Log.create(this.disk, this.options, this.life);
    this.clock.drain();
  }

  /** An `update` record whose body is made from its length. */
  append(bodyBytes: number, options: { privileged?: boolean; kind?: number } = {}) {
    const body = bodyOf(bodyBytes);
    const { kind = KIND.update, privileged = false } = options;
    return this.log.append(kind, 8, [body], (metadata) => metadata.fill(7), { privileged });
  }

  /** Runs until everything appended is durable. Gives the log's failure when it is not. */
  settle(): Error | null {
    let outcome: Error | null | undefined;
    this.log.whenDurable(this.log.head.sequence, (error) => {
      outcome = error;
    });
    this.clock.drain();
    if (outcome === undefined) throw new Error("whenDurable never answered");
    return outcome;
  }

  recover(options: Partial<RecoverOptions> = {}) {
    this.life.alive = false;
    this.life = new Life(this.clock);
    return Log.recover(this.disk, { ...SMALL, ...this.options, ...options }, this.life);
  }

  /** Recovers, or throws why not. */
  reopen(options: Partial<RecoverOptions> = {}): Log {
    const recovered = this.recover(options);
    if (!recovered.ok) throw recovered.failure;
    this.log = recovered.log;
    return recovered.log;
  }

  /** As a mirror does, whose log may have died before its first record was durable. */
  reopenOrCreate(options: Partial<RecoverOptions>): void {
    const recovered = this.recover(options);
    if (recovered.ok) this.log = recovered.log;
    else if (recovered.failure.code !== "NOT_FOUND") throw recovered.failure;
    else this.log = Log.create(this.disk, this.options, this.life);
  }

  kill(seed = 1): void {
    this.disk.killProcess(new Prng(seed));
  }

  /** Every record from `from` on. */
  records(log = this.log, from = log.firstSequence): RawRecord[] {
    const all: RawRecord[] = [];
    for (let next = from; next <= log.head.sequence; ) {
      const batch = this.readRecords(next, 4096, log);
      all.push(...batch);
      next = (batch.at(-1)?.sequence ?? Infinity) + 1;
    }
    return all;
  }

  readRecords(sequence: number, maxBytes: number, log = this.log): RawRecord[] {
    return this.await((done) => log.readRecords(sequence, maxBytes, done));
  }

  /** The answer of a call with a callback, run to its end in virtual time. */
  await<T>(call: (done: (error: Error | null, value: T) => void) => void): T {
    const answers: { error: Error | null; value: T }[] = [];
    call((error, value) => answers.push({ error, value }));
    while (answers.length === 0) {
      if (!this.clock.step()) throw new Error("the call never answered");
    }
    const [{ error, value }] = answers as [{ error: Error | null; value: T }];
    if (error !== null) throw error;
    return value;
  }
}

export function bodyOf(length: number): Uint8Array {
  return new Prng(length).fill(new Uint8Array(length));
}

/** `code` of what a call throws; undefined when it does not. */
export function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}
