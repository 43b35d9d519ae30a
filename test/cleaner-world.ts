/**
 * A file system with its cleaner on a small simulated disk, in virtual time: small segments, small
 * nodes, a reaper, and a copy that may be away.
 */
import { Cleaner } from "../logfs/core/fs/cleaner/cleaner.ts";
import { GatedVolume } from "../logfs/core/fs/cleaner/gated-volume.ts";
import { checkVolume } from "../logfs/core/fs/check.ts";
import { visitExtents } from "../logfs/core/fs/extents.ts";
import { FileSystem } from "../logfs/core/fs/filesystem.ts";
import { initialise } from "../logfs/core/fs/inodes.ts";
import { Reaper } from "../logfs/core/fs/reaper.ts";
import type { TreeVolume, VolumeEnvironment } from "../logfs/core/fs/volume.ts";
import { formatVolume, openVolume } from "../logfs/core/fs/volume-open.ts";
import type { RawRecord } from "../logfs/core/log/api.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { MaybePromise } from "../logfs/core/vfs.ts";
import { toErrno } from "../lib/errors.ts";
import { ERRNO } from "../lib/errno.ts";
import { concatBytes } from "../lib/bytes.ts";
import { Prng } from "../lib/prng.ts";
import { name, READ_WRITE, ROOT } from "./fs-world.ts";
import { VirtualClock } from "./sim/clock.ts";
import { SimulatedDisk } from "./sim/disk.ts";
import { Life } from "./sim/life.ts";

export interface CleanerWorldOptions {
  readonly segmentBytes?: number;
  readonly capacityBytes?: number;
  readonly garbageShare?: number;
  readonly nodeBytes?: number;
  /** Changed nodes at which a checkpoint is written. */
  readonly dirtyBytes?: number;
}

export const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const VOLUME_ID = new Uint8Array(16).fill(9);
const DIRTY_BYTES = 256 * 1024;

export class CleanerWorld {
  readonly clock = new VirtualClock();
  readonly disk: SimulatedDisk;
  /** Why the copy cannot be reached; null: it has everything as soon as it is durable here. */
  away: string | null = null;
  /** A real copy, when there is one. */
  mirror: { readonly durableSequence: number } | null = null;
  readonly troubles: string[] = [];
  log: Log;
  volume: TreeVolume;
  cleaner: Cleaner;
  fs: FileSystem;
  private agreedSequence = 0;
  private life: Life;
  private reaper: Reaper;
  private readonly options: Required<CleanerWorldOptions>;

  constructor(options: CleanerWorldOptions = {}) {
    this.options = {
      segmentBytes: 128 * 1024,
      capacityBytes: 8 * 2 ** 20,
      garbageShare: 0.25,
      nodeBytes: 1024,
      dirtyBytes: DIRTY_BYTES,
      ...options,
    };
    const { capacityBytes, nodeBytes } = this.options;
    this.disk = new SimulatedDisk(this.clock.schedule, { capacityBytes, reserveBytes: 32 * 1024 });
    this.life = new Life(this.clock);
    this.log = Log.create(this.disk, { ...this.logOptions, logId: LOG_ID }, this.life);
    this.reaper = this.newReaper();
    this.log.startEpoch(1, 1);
    this.volume = formatVolume(
      this.log,
      this.environment,
      { volumeId: VOLUME_ID, nodeBytes },
      (transaction) =>
        initialise(transaction, {
          uid: 0,
          gid: 0,
          mode: 0o755,
          nowMicros: this.clock.wallMicros(),
          nameSeed: 7,
        }),
    );
    this.cleaner = this.newCleaner();
    this.fs = this.newFileSystem();
  }

  get logOptions() {
    const { segmentBytes } = this.options;
    const maxRecordBytes = segmentBytes - 4096;
    return { segmentBytes, allocationBytes: 4096, maxRecordBytes, tailBytes: 64 * 1024 };
  }

  private get environment(): VolumeEnvironment {
    const { dirtyBytes } = this.options;
    return {
      clock: this.clock,
      space: () => this.disk.space(),
      limits: { cacheBytes: 8 * dirtyBytes, dirtyBytes, replayBytes: 4 * dirtyBytes },
      onCheckpoint: (reached) => {
        this.reaper.handleCheckpoint(reached);
        this.reap();
      },
    };
  }

  private newReaper(): Reaper {
    const { log } = this;
    log.subscribe(() => this.reap());
    return new Reaper(log, () => {
      const { mirror } = this;
      if (mirror !== null) return Math.min(mirror.durableSequence, log.durableSequence);
      if (this.away === null) this.agreedSequence = log.durableSequence;
      return this.agreedSequence;
    });
  }

  /** Later, as a site does: never in the midst of an operation. */
  private reap(): void {
    const { reaper, life } = this;
    if (!reaper.isDue) return;
    life.at(life.nowMicros() + 10, () => {
      while (reaper === this.reaper && reaper.isDue) reaper.step();
      this.cleaner.handleProgress();
    });
  }

  private newCleaner(): Cleaner {
    const { log, volume, life } = this;
    return new Cleaner(
      {
        log,
        volume,
        time: life,
        space: () => this.disk.space(),
        restoreReserve: () => this.disk.restoreReserve(),
        obstacle: () => this.away,
        onTrouble: (message) => this.troubles.push(message),
      },
      { ...this.logOptions, ...this.options },
    );
  }

  private newFileSystem(): FileSystem {
    const gated = new GatedVolume(this.volume, this.cleaner);
    return new FileSystem(gated, { wait: () => undefined });
  }

  /** Something may be durable at the copy that was not. */
  progress(): void {
    this.reap();
    this.cleaner.handleProgress();
  }

  /** The mirror is away, or back. */
  setAway(reason: string | null): void {
    this.away = reason;
    this.progress();
  }

  /** The power goes now; what was not synced is kept or lost as `seed` says. */
  async crash(seed: number): Promise<void> {
    this.life.alive = false;
    // What is still under way in the dead process finds nobody to write for it.
    this.log.fence("this process is dead");
    void this.cleaner.stop();
    this.disk.crash(new Prng(seed));
    this.life = new Life(this.clock);
    const recovered = Log.recover(this.disk, this.logOptions, this.life);
    if (!recovered.ok) throw recovered.failure;
    this.log = recovered.log;
    this.reaper = this.newReaper();
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new Error("the log has no checkpoint");
    this.log.startEpoch(this.log.epoch + 1, 2);
    this.volume = await this.run(openVolume(this.log, checkpoint, this.environment));
    this.cleaner = this.newCleaner();
    this.fs = this.newFileSystem();
    await this.run(this.fs.finishPending());
  }

  /** Lets virtual time pass until the answer is there. */
  async run<T>(answer: MaybePromise<T>): Promise<T> {
    if (!(answer instanceof Promise)) return answer;
    const progress = { ended: false };
    const end = (): void => {
      progress.ended = true;
    };
    answer.then(end, end);
    for (let steps = 0; !progress.ended; steps++) {
      await turn();
      if (!progress.ended) this.clock.step();
      if (steps > 1_000_000) throw new Error("no answer");
    }
    return answer;
  }

  /** Everything written becomes durable, and nothing is under way any more. */
  async settle(): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      await turn();
      this.clock.advance(5000);
    }
  }

  async trim() {
    return this.run(this.cleaner.trim(() => {}));
  }

  /** A new file with a handle for reading and writing. */
  async create(file: string): Promise<{ inode: number; handle: number }> {
    const created = await this.run(this.fs.create(ROOT, 1, name(file), 0o644, true, READ_WRITE));
    return { inode: created.attributes.inode, handle: created.handle };
  }

  async write(handle: number, offset: number, data: Uint8Array): Promise<"ok" | "ENOSPC"> {
    try {
      await this.run(this.fs.write(handle, offset, data, "none"));
      return "ok";
    } catch (error) {
      if (toErrno(error) === ERRNO.ENOSPC) return "ENOSPC";
      throw error;
    }
  }

  read(handle: number, offset: number, length: number): Promise<Uint8Array> {
    return this.readFrom(this.fs, handle, offset, length);
  }

  async readFrom(
    fs: FileSystem,
    handle: number,
    offset: number,
    length: number,
  ): Promise<Uint8Array> {
    return concatBytes(await this.run(fs.read(handle, offset, length)));
  }

  /** Records of the log from `sequence` on. */
  records(sequence: number): Promise<RawRecord[]> {
    const { log } = this;
    return this.run(
      new Promise<RawRecord[]>((resolve, reject) => {
        log.readRecords(sequence, 65_536, (error, found) => {
          if (error === null) resolve(found.map((one) => ({ ...one, bytes: one.bytes.slice() })));
          else reject(error);
        });
      }),
    );
  }

  async open(file: string): Promise<number> {
    const { inode } = await this.run(this.fs.lookup(ROOT, 1, name(file)));
    return this.run(this.fs.open(ROOT, inode, READ_WRITE));
  }

  /** Shares the first bytes of one file with another. */
  async copy(from: number, to: number, length: number): Promise<void> {
    for (let at = 0; at < length; ) {
      const [source, target] = [from, to].map((handle) => ({ handle, offset: at }));
      if (source === undefined || target === undefined) return;
      at += await this.run(this.fs.copyRange(source, target, length - at));
    }
  }

  /** How many extents a file has. */
  extentsOf(inode: number): Promise<number> {
    const count = this.volume.view((view) => {
      let extents = 0;
      visitExtents(view, inode, 0, 2 ** 40, () => ++extents > 0);
      return extents;
    });
    return this.run(count);
  }

  /** Where a block stands that a file in the root refers to, in a certain segment. */
  async someBlockIn(segment: number): Promise<{ segment: number; offset: number }> {
    for (let inode = 2; inode < 10; inode++) {
      const found = await this.run(
        this.volume.view((view) => {
          const places: { segment: number; offset: number }[] = [];
          visitExtents(view, inode, 0, 2 ** 40, (extent) => {
            const { segment: there, offset, skip } = extent;
            if (there === segment) places.push({ segment, offset: offset + skip });
            return places.length === 0;
          });
          return places;
        }),
      );
      if (found[0] !== undefined) return found[0];
    }
    throw new Error(`nothing refers to segment ${segment}`);
  }

  /** Lets so many events happen. */
  async step(events: number): Promise<void> {
    for (let i = 0; i < events; i++) {
      await turn();
      this.clock.step();
    }
  }

  durable(): Promise<void> {
    const { log } = this;
    return this.run(
      new Promise<void>((resolve, reject) => {
        log.whenDurable(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
      }),
    );
  }

  async remove(file: string, handle?: number): Promise<void> {
    if (handle !== undefined) await this.run(this.fs.release(handle));
    await this.run(this.fs.unlink(ROOT, 1, name(file)));
  }

  /** Bytes of all segment files. */
  get storeBytes(): number {
    return this.disk.list().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** What fsck says of this log, every stored block read. */
  async findings(): Promise<string[]> {
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new Error("the log has no checkpoint");
    const options = { segments: this.disk.list(), depth: "data" } as const;
    const report = await this.run(checkVolume(this.log, checkpoint, options));
    return report.findings.map((one) => JSON.stringify(one));
  }
}

/** Everything that can go on now does. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
