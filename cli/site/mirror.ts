/**
 * A store in the role of mirror: follows the primary's log, shows its file system read-only.
 */
import { closeSync, fsyncSync, writeFileSync } from "node:fs";
import { equalBytes } from "../../lib/bytes.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Clock, Logger, Timers } from "../../lib/ports.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import type { ReachedCheckpoint } from "../../logfs/core/fs/reaper.ts";
import { SnapshotVfs } from "../../logfs/core/fs/snapshot-vfs.ts";
import { checkpointSequence } from "../../logfs/core/fs/volume-open.ts";
import type { LogFollower, Position } from "../../logfs/core/log/api.ts";
import { type CreateOptions, Log, type RecoverOptions } from "../../logfs/core/log/log.ts";
import type { DoomedTail } from "../../logfs/core/log/recovery.ts";
import type { LogPlacement, StoreRegistry } from "../../logfs/log/registry.ts";
import { FileSegmentStore } from "../../logfs/log/store.ts";
import { FollowerSession, type FollowerStore } from "../../mirror/core/follower.ts";
import type { Hello } from "../../mirror/core/messages.ts";
import { closeLog, openStore } from "./primary.ts";
import type { Config } from "../config.ts";
import { keepDamagedTail } from "../damaged-tail.ts";
import { volumeLimits } from "./limits.ts";
import { agreedAtMirror, Reaping } from "./reaping.ts";

/** An open log and the file system that follows it. */
interface Following {
  readonly log: Log;
  readonly store: FileSegmentStore;
  readonly volume: VolumeFollower;
  readonly fileSystem: FileSystem;
  readonly vfs: SnapshotVfs;
  readonly reaping: Reaping;
}

export class MirrorSite implements FollowerStore {
  readonly role = "mirror";
  readonly session: FollowerSession;
  private readonly registry: StoreRegistry;
  private readonly config: Config;
  private readonly time: Clock & Timers;
  private readonly logger: Logger;
  private readonly onFileSystem: () => void;
  private following: Following | null = null;
  private reopening = false;

  /** `onFileSystem` is called whenever `fileSystem` is another one, or there is one at last. */
  static async open(
    registry: StoreRegistry,
    config: Config,
    time: Clock & Timers,
    logger: Logger,
    onFileSystem: () => void,
  ): Promise<MirrorSite> {
    const site = new MirrorSite(registry, config, time, logger, onFileSystem);
    await site.openExisting();
    return site;
  }

  private constructor(
    registry: StoreRegistry,
    config: Config,
    time: Clock & Timers,
    logger: Logger,
    onFileSystem: () => void,
  ) {
    this.registry = registry;
    this.config = config;
    this.time = time;
    this.logger = logger;
    this.onFileSystem = onFileSystem;
    this.session = new FollowerSession({ store: this });
  }

  get log(): Log | null {
    return this.following?.log ?? null;
  }

  get store(): FileSegmentStore | null {
    return this.following?.store ?? null;
  }

  get volume(): VolumeFollower | null {
    return this.following?.volume ?? null;
  }

  get fileSystem(): FileSystem | null {
    return this.following?.fileSystem ?? null;
  }

  /** The file system with its snapshots: what is mounted. */
  get vfs(): SnapshotVfs | null {
    return this.following?.vfs ?? null;
  }

  /** The first primary says which log this store will hold from now on. */
  create(hello: Hello): LogFollower {
    const placement = this.registry.log ?? this.place(hello);
    // A log that is being opened again after a cut must not give way to another one.
    if (this.reopening || !equalBytes(placement.id, hello.logId)) {
      throw new SmfsError("BUSY", "the log is being opened");
    }
    this.follow(this.openLog(placement), 1);
    if (this.log === null) throw new SmfsError("IO", "the new log is not there");
    return this.log;
  }

  private place({ logId, segmentBytes, maxRecordBytes }: Hello): LogPlacement {
    return this.registry.createLog(segmentBytes, maxRecordBytes, Buffer.from(logId));
  }

  setAside(position: Position, done: (error: Error | null) => void): void {
    const { following } = this;
    if (following === null) {
      done(new SmfsError("NOT_FOUND", "there is no log to cut"));
      return;
    }
    const { fd, name } = this.registry.openSetAside(position.sequence);
    following.log.truncateTo(
      position.sequence,
      (records) => {
        for (const { bytes } of records) writeFileSync(fd, bytes);
        fsyncSync(fd);
      },
      (error) => {
        closeSync(fd);
        if (error !== null) {
          done(error);
          return;
        }
        this.logger.warn({ file: name, behind: position.sequence }, "records set aside");
        this.reopen().then(() => done(null), done);
      },
    );
  }

  /** Calls back once, when the file system here can be shown (its first checkpoint has arrived). */
  whenReady(callback: () => void): void {
    const { following } = this;
    if (following === null) return;
    let waiting = true;
    const look = (): void => {
      if (!waiting || !following.volume.ready) return;
      waiting = false;
      stop();
      callback();
    };
    const lookLater = (): void => void following.volume.settled().then(look);
    const stop = following.log.subscribe(lookLater);
    // What the log has already may be all that comes for a long time.
    lookLater();
  }

  async close(): Promise<void> {
    this.session.close("this site stops");
    await this.closeFollowing();
  }

  /** After a cut the tree in memory is of a history that is no more. */
  private async reopen(): Promise<void> {
    if (this.session.state === "closed") return;
    this.reopening = true;
    try {
      await this.closeFollowing();
      await this.openExisting();
    } finally {
      this.reopening = false;
    }
  }

  private async closeFollowing(): Promise<void> {
    const { following } = this;
    this.following = null;
    if (following === null) return;
    await following.volume.close();
    following.reaping.close();
    await closeLog(following.log);
    following.store.close();
  }

  private async openExisting(): Promise<void> {
    const placement = this.registry.log;
    if (placement === null) return;
    const opened = this.openLog(placement);
    const { checkpoint } = opened.log;
    const from = checkpoint === null ? 1 : await checkpointSequence(opened.log, checkpoint);
    this.follow(opened, from);
    this.session.watchLog();
  }

  private openLog(placement: LogPlacement): { log: Log; store: FileSegmentStore } {
    const { capacityBytes, commitIntervalMicros } = this.config.store;
    const store = openStore(placement.directory, capacityBytes);
    const { segmentBytes, maxRecordBytes, ancestors, id } = placement;
    const beforeCut = (tail: DoomedTail): void =>
      keepDamagedTail(this.registry, store, tail, this.logger);
    const limits = { segmentBytes, maxRecordBytes, ancestors };
    const options = { ...limits, commitIntervalMicros, follower: true, beforeCut };
    return { store, log: this.recoverOrCreate(store, { ...options, logId: id }) };
  }

  private follow({ log, store }: { log: Log; store: FileSegmentStore }, from: number): void {
    const reaping = new Reaping(log, () => agreedAtMirror(log), this.logger);
    const environment = {
      clock: this.time,
      space: () => store.space(),
      limits: volumeLimits(this.config, store),
      onCheckpoint: (reached: ReachedCheckpoint) => reaping.handleCheckpoint(reached),
      onRollback: () => this.handleRollback(),
    };
    const volume = new VolumeFollower(log, environment, from);
    this.following = { log, store, volume, ...this.show(volume), reaping };
    this.onFileSystem();
  }

  private show(volume: VolumeFollower): Pick<Following, "fileSystem" | "vfs"> {
    // Nothing is written here, so nothing waits: the committer of a mirror is never asked.
    const fileSystem = new FileSystem(volume, { wait: () => undefined }, this.config.mount);
    return { fileSystem, vfs: new SnapshotVfs(fileSystem, volume) };
  }

  /** Open files and the kernel's caches are of a tree that is no more. */
  private handleRollback(): void {
    const { following } = this;
    if (following === null) return;
    this.logger.warn({}, "the primary has returned to a snapshot: its file system is mounted anew");
    this.following = { ...following, ...this.show(following.volume) };
    this.onFileSystem();
  }

  private recoverOrCreate(store: FileSegmentStore, options: CreateOptions & RecoverOptions): Log {
    try {
      const recovered = Log.recover(store, options, this.time);
      if (recovered.ok) {
        this.logger.info({ ...recovered.report }, "log recovered");
        return recovered.log;
      }
      if (recovered.failure.code === "NOT_FOUND") return Log.create(store, options, this.time);
      throw recovered.failure;
    } catch (error) {
      // Whoever tries again must find it free.
      store.close();
      throw error;
    }
  }
}
