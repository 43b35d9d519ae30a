/**
 * A file system for tests: the real volume and log on the simulated disk, in virtual time. `run`
 * gives the value of an answer that may come later, letting time pass until it has come.
 */
import { checkVolume } from "../logfs/core/fs/check.ts";
import type { Finding } from "../logfs/core/fs/check-findings.ts";
import type { Committer, SyncOptions } from "../logfs/core/fs/api.ts";
import { FileSystem } from "../logfs/core/fs/filesystem.ts";
import { initialise } from "../logfs/core/fs/inodes.ts";
import type { TreeVolume, VolumeEnvironment } from "../logfs/core/fs/volume.ts";
import { type ReachedCheckpoint, Reaper } from "../logfs/core/fs/reaper.ts";
import { formatVolume, openVolume } from "../logfs/core/fs/volume-open.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { LogOptions } from "../logfs/core/log/options.ts";
import type { Caller, MaybePromise, SyncLevel } from "../logfs/core/vfs.ts";
import { expect } from "vitest";
import { latin1, toHex } from "../lib/bytes.ts";
import { ERRNO, type ErrnoName } from "../lib/errno.ts";
import { toErrno } from "../lib/errors.ts";
import { Prng } from "../lib/prng.ts";
import { VirtualClock } from "./sim/clock.ts";
import { type DiskOptions, SimulatedDisk } from "./sim/disk.ts";

export interface WorldOptions {
  readonly log?: LogOptions;
  readonly disk?: Partial<DiskOptions>;
  readonly limits?: VolumeEnvironment["limits"];
  readonly nodeBytes?: number;
  readonly sync?: SyncOptions;
}

const LOG: LogOptions = { segmentBytes: 16 * 2 ** 20, allocationBytes: 2 ** 20 };
/** More than the log's commit interval and a sync. */
const SETTLED_MICROS = 3_000_000;
const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const VOLUME_ID = Uint8Array.from({ length: 16 }, (_, i) => 200 + i);

export const ROOT: Caller = { uid: 0, gid: 0, groups: () => [] };

export function user(uid: number, gid = uid, ...groups: number[]): Caller {
  return { uid, gid, groups: () => groups };
}

/** Notes what the file system waits for, and answers at once. */
class NotingCommitter implements Committer {
  readonly waits: { sequence: number; level: SyncLevel }[] = [];
  wait(sequence: number, level: SyncLevel): undefined {
    this.waits.push({ sequence, level });
  }
}

export class FsWorld {
  readonly clock = new VirtualClock();
  disk: SimulatedDisk;
  readonly committer = new NotingCommitter();
  log: Log;
  volume: TreeVolume;
  fs: FileSystem;
  /** Segments go as soon as nothing needs them. */
  reaper: Reaper;
  private readonly options: WorldOptions;

  constructor(options: WorldOptions = {}) {
    this.options = options;
    this.disk = new SimulatedDisk(this.clock.schedule, options.disk);
    this.log = Log.create(this.disk, { ...LOG, ...options.log, logId: LOG_ID }, this.clock);
    this.reaper = this.newReaper();
    this.log.startEpoch(1, 1);
    const nodeBytes = options.nodeBytes;
    const format = { volumeId: VOLUME_ID, ...(nodeBytes === undefined ? {} : { nodeBytes }) };
    this.volume = formatVolume(this.log, this.environment(), format, (transaction) =>
      initialise(transaction, {
        uid: 0,
        gid: 0,
        mode: 0o755,
        nowMicros: this.clock.wallMicros(),
        nameSeed: 7,
      }),
    );
    this.fs = new FileSystem(this.volume, this.committer, options.sync);
  }

  /** Time for everything written to become durable. */
  settle(): void {
    this.clock.advance(SETTLED_MICROS);
  }

  /** The process is killed after everything was written; another one mounts. */
  async remount(): Promise<void> {
    this.settle();
    this.disk.killProcess(new Prng(1));
    this.disk = this.disk.successor();
    await this.mount();
  }

  /** The power goes now, whatever is under way; another one mounts. */
  async crash(seed: number): Promise<void> {
    this.losePower(seed);
    await this.mount();
  }

  /** What was at work on the disk goes on in this process, and keeps the old one to itself. */
  losePower(seed: number): void {
    this.disk.crash(new Prng(seed));
    this.disk = this.disk.successor();
  }

  private async mount(): Promise<void> {
    const recovered = Log.recover(this.disk, { ...LOG, ...this.options.log }, this.clock);
    if (!recovered.ok) throw recovered.failure;
    this.log = recovered.log;
    this.reaper = this.newReaper();
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new Error("the log has no checkpoint");
    this.log.startEpoch(this.log.epoch + 1, 2);
    this.volume = await this.run(openVolume(this.log, checkpoint, this.environment()));
    this.fs = new FileSystem(this.volume, this.committer, this.options.sync);
    await this.run(this.fs.finishPending());
  }

  /** What fsck finds in this log, every stored block read. */
  async findings(): Promise<readonly Finding[]> {
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new Error("the log has no checkpoint");
    const options = { segments: this.disk.list(), depth: "data" } as const;
    return (await this.run(checkVolume(this.log, checkpoint, options))).findings;
  }

  /** Lets virtual time pass until the answer is there. */
  async run<T>(answer: MaybePromise<T>): Promise<T> {
    if (!(answer instanceof Promise)) return answer;
    const progress = { ended: false };
    const end = (): void => {
      progress.ended = true;
    };
    answer.then(end, end);
    for (let turns = 0; !progress.ended; turns++) {
      await Promise.resolve();
      if (turns % 8 === 7) this.clock.step();
      if (turns > 10_000_000) throw new Error("no answer");
    }
    return answer;
  }

  /** The errno an answer fails with, by name; "ok" when it does not fail. */
  async errno(answer: () => MaybePromise<unknown>): Promise<ErrnoName | "ok"> {
    try {
      await this.run(answer());
      return "ok";
    } catch (error) {
      const number = toErrno(error);
      const name = (Object.keys(ERRNO) as ErrnoName[]).find((key) => ERRNO[key] === number);
      if (name === undefined || !(error instanceof Error) || !("code" in error)) throw error;
      return name;
    }
  }

  private newReaper(): Reaper {
    const { log } = this;
    const reaper = new Reaper(log, () => log.durableSequence);
    log.subscribe(() => {
      while (reaper.isDue) reaper.step();
    });
    return reaper;
  }

  private environment(): VolumeEnvironment {
    const { limits = {} } = this.options;
    const space = () => this.disk.space();
    const { reaper } = this;
    const onCheckpoint = (reached: ReachedCheckpoint): void => reaper.handleCheckpoint(reached);
    return { clock: this.clock, space, limits, onCheckpoint };
  }
}

export const name = latin1;

export function bytesOf(length: number, seed = length): Uint8Array {
  return new Prng(seed).fill(new Uint8Array(length));
}

/** Says where they differ; the general comparison takes seconds for a megabyte. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) {
    const around = (bytes: Uint8Array) => toHex(bytes.subarray(at, at + 16));
    expect(`${at}: ${around(actual)}`).toBe(`${at}: ${around(expected)}`);
  }
}

export const READ = { read: true, write: false, append: false, truncate: false };
export const WRITE = { read: false, write: true, append: false, truncate: false };
export const READ_WRITE = { read: true, write: true, append: false, truncate: false };
export const APPEND = { read: false, write: true, append: true, truncate: false };
