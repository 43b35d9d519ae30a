/**
 * One machine of the crash explorer: log, volume and file system on a simulated disk, from opening
 * (or mkfs) to the moment somebody pulls the plug. Segments, nodes and limits are small, so that a
 * short life seals segments, splits nodes, writes checkpoints and reads from the disk.
 */
import type { Committer, SyncOptions } from "../../logfs/core/fs/api.ts";
import { checkVolume } from "../../logfs/core/fs/check.ts";
import { Cleaner } from "../../logfs/core/fs/cleaner/cleaner.ts";
import { GatedVolume } from "../../logfs/core/fs/cleaner/gated-volume.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { initialise } from "../../logfs/core/fs/inodes.ts";
import { Reaper } from "../../logfs/core/fs/reaper.ts";
import type { Quota } from "../../logfs/core/fs/superblock.ts";
import type { TreeVolume, VolumeEnvironment } from "../../logfs/core/fs/volume.ts";
import { formatVolume, openVolume } from "../../logfs/core/fs/volume-open.ts";
import { EPOCH_REASON } from "../../logfs/core/log/epoch.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { LogOptions } from "../../logfs/core/log/options.ts";
import type { MaybePromise, SyncLevel } from "../../logfs/core/vfs.ts";
import type { Clock, Timers } from "../../lib/ports.ts";
import { VirtualClock } from "./clock.ts";
import type { Machine } from "./crash-operations.ts";
import { type DiskOptions, type Schedule, SimulatedDisk } from "./disk.ts";
import type { DiskImage } from "./disk-image.ts";
import { Life } from "./life.ts";

const STEP_BYTES = 8192;
const LOG = {
  segmentBytes: 32_768,
  allocationBytes: STEP_BYTES,
  maxRecordBytes: 24_576,
  tailBytes: 4096,
  commitIntervalMicros: 20_000,
  commitBytes: 24_000,
} satisfies LogOptions;
const LIMITS = { cacheBytes: 6000, dirtyBytes: 6000, replayBytes: 60_000 };
const NODE_BYTES = 1024;
const SYNC: SyncOptions = { floor: "written", dataSync: "local", fsync: "local", osync: "local" };
const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const VOLUME_ID = new Uint8Array(16).fill(3);
const MAX_TURNS = 1_000_000;
/** What fsck may take for its tables: these file systems are small, and there are thousands. */
const CHECK_BYTES = 2 ** 18;

/** There is no file system yet: mkfs was interrupted. */
export class NotFormatted extends Error {
  override name = "NotFormatted";
}

/** `written` is not waited for: the next operation may come while the write is under way. */
function committerOf(log: Log): Committer {
  return {
    wait: (sequence: number, level: SyncLevel) =>
      level === "written" || log.durableSequence >= sequence
        ? undefined
        : new Promise<void>((resolve, reject) => {
            log.whenDurable(sequence, (error) => (error === null ? resolve() : reject(error)));
          }),
  };
}

export class CrashMachine implements Machine {
  readonly disk: SimulatedDisk;
  readonly log: Log;
  readonly volume: TreeVolume;
  fs: FileSystem;
  /** The newest record that the last life left. */
  readonly foundSequence: number;
  private readonly clock: VirtualClock | null;
  /** null on a machine without a clock. */
  private readonly cleaner: Cleaner | null;

  private constructor(
    disk: SimulatedDisk,
    log: Log,
    volume: TreeVolume,
    foundSequence: number,
    clock: VirtualClock | null,
  ) {
    this.disk = disk;
    this.log = log;
    this.volume = volume;
    this.foundSequence = foundSequence;
    this.clock = clock;
    this.cleaner = clock === null ? null : cleanerOf(disk, log, volume, new Life(clock));
    this.fs = this.newFileSystem();
  }

  private newFileSystem(): FileSystem {
    const { volume, cleaner } = this;
    const gated = cleaner === null ? volume : new GatedVolume(volume, cleaner);
    return new FileSystem(gated, committerOf(this.log), SYNC);
  }

  static async format(disk: SimulatedDisk, clock: VirtualClock): Promise<CrashMachine> {
    const life = new Life(clock);
    const log = Log.create(disk, { ...LOG, logId: LOG_ID }, life);
    log.startEpoch(1, EPOCH_REASON.created);
    const format = { volumeId: VOLUME_ID, nodeBytes: NODE_BYTES };
    const root = { uid: 0, gid: 0, mode: 0o755, nowMicros: life.wallMicros(), nameSeed: 7 };
    const volume = formatVolume(log, environmentOf(disk, log, life), format, (transaction) =>
      initialise(transaction, root),
    );
    return new CrashMachine(disk, log, volume, log.head.sequence, clock);
  }

  /** Throws what opening throws, and `NotFormatted`. Without a clock nothing takes any time. */
  static async open(disk: SimulatedDisk, clock: VirtualClock | null): Promise<CrashMachine> {
    const life = clock === null ? TIMELESS : new Life(clock);
    const recovered = Log.recover(disk, LOG, life);
    if (!recovered.ok) {
      if (recovered.failure.code === "NOT_FOUND") throw new NotFormatted();
      throw recovered.failure;
    }
    const { log } = recovered;
    const foundSequence = log.head.sequence;
    if (log.checkpoint === null) throw new NotFormatted();
    log.startEpoch(log.epoch + 1, EPOCH_REASON.opened);
    const opened = openVolume(log, log.checkpoint, environmentOf(disk, log, life));
    const volume = await waitFor(clock, opened);
    const machine = new CrashMachine(disk, log, volume, foundSequence, clock);
    await machine.wait(machine.fs.finishPending());
    return machine;
  }

  readonly headSequence = (): number => this.log.head.sequence;

  readonly checkpoint = (): void => {
    this.volume.checkpoint();
  };

  get cleanedSegments(): number {
    return this.cleaner?.counters.cleanedSegments ?? 0;
  }

  readonly clean = async (): Promise<void> => {
    if (this.cleaner !== null) await this.wait(this.cleaner.trim(() => {}));
  };

  readonly takeSnapshot = (name: string): void => {
    this.volume.snapshots.take(name);
  };

  readonly removeSnapshot = (name: string): void => {
    this.volume.snapshots.remove(name);
  };

  get quota(): Quota {
    return this.volume.statistics.quota;
  }

  readonly used = (): Quota => {
    const { dataBytes, inodes } = this.volume.statistics;
    return { bytes: dataBytes, inodes };
  };

  readonly setQuota = (quota: Quota): void => {
    this.volume.setQuota(quota);
  };

  /** Nobody may go on with handles of before: a new file system takes over. */
  readonly rollBack = async (name: string): Promise<void> => {
    await this.wait(this.volume.snapshots.rollBack(name));
    this.fs = this.newFileSystem();
    await this.wait(this.fs.finishPending());
  };

  /** Every snapshot that is kept, by name, as a file system. */
  snapshots(): [name: string, fs: FileSystem][] {
    return this.volume.keptSnapshots.map((snapshot) => {
      const volume = this.volume.openSnapshot(snapshot);
      return [snapshot.name, new FileSystem(volume, { wait: () => undefined }, SYNC)];
    });
  }

  readonly wait = <T>(answer: MaybePromise<T>): Promise<T> => waitFor(this.clock, answer);

  readonly whenWritten = (sequence: number, done: () => void): void => {
    this.log.whenWritten(sequence, (error) => {
      if (error === null) done();
    });
  };

  readonly breathe = (): void => {
    this.clock?.step();
  };

  whenDurable(): Promise<void> {
    const { log } = this;
    return this.wait(
      new Promise<void>((resolve, reject) => {
        log.whenDurable(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
      }),
    );
  }

  /** What fsck says; errors and warnings, since the accounts must be exact, too. */
  async findings(): Promise<string[]> {
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new NotFormatted();
    const segments = this.disk.list();
    const options = { segments, depth: "data", memoryBytes: CHECK_BYTES } as const;
    const report = await this.wait(checkVolume(this.log, checkpoint, options));
    const found = report.findings.map(({ inode, what }) => `inode ${inode}: ${what}`);
    return report.complete ? found : [...found, "incomplete"];
  }
}

export function diskOf(
  clock: VirtualClock | null,
  image: DiskImage,
  options: Partial<DiskOptions> = {},
): SimulatedDisk {
  const all = { reserveBytes: STEP_BYTES, looseGrowthBytes: STEP_BYTES, ...options };
  return new SimulatedDisk(clock?.schedule ?? soon, all, image);
}

/** For looking at what a crash left: everything happens at once, in order. */
const soon: Schedule = (_, callback) => queueMicrotask(callback);

const TIMELESS: Clock & Timers = {
  wallMicros: () => 1_700_000_000_000_000,
  nowMicros: () => 0,
  at: () => () => {},
};

function environmentOf(disk: SimulatedDisk, log: Log, time: Clock & Timers): VolumeEnvironment {
  const reaper = new Reaper(log, () => log.durableSequence);
  const reap = (): void => {
    while (reaper.isDue) reaper.step();
  };
  // Later, as a site does: never in the midst of an operation.
  const reapSoon = (): void => {
    if (reaper.isDue) time.at(time.nowMicros() + 10, reap);
  };
  log.subscribe(reapSoon);
  return {
    clock: time,
    space: () => disk.space(),
    limits: LIMITS,
    onCheckpoint: (reached) => {
      reaper.handleCheckpoint(reached);
      reapSoon();
    },
  };
}

function cleanerOf(disk: SimulatedDisk, log: Log, volume: TreeVolume, time: Life): Cleaner {
  const ports = {
    log,
    volume,
    time,
    space: () => disk.space(),
    restoreReserve: () => disk.restoreReserve(),
    obstacle: () => null,
    onTrouble: () => {},
  };
  const { segmentBytes, maxRecordBytes } = LOG;
  const { dirtyBytes } = LIMITS;
  return new Cleaner(ports, { segmentBytes, maxRecordBytes, dirtyBytes, garbageShare: 0.25 });
}

async function waitFor<T>(clock: VirtualClock | null, answer: MaybePromise<T>): Promise<T> {
  if (clock === null || !(answer instanceof Promise)) return answer;
  const progress = { ended: false };
  const end = (): void => {
    progress.ended = true;
  };
  answer.then(end, end);
  for (let turns = 0; !progress.ended; turns++) {
    await Promise.resolve();
    if (turns % 8 === 7) clock.step();
    if (turns > MAX_TURNS) throw new Error("no answer: something waits for ever");
  }
  return answer;
}
