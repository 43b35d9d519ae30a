/**
 * A store in the role of primary: opened for writing in a new epoch, its file system writable, its
 * log streamed to the mirror when there is one.
 */
import type { Clock, Timers, Logger } from "../../lib/ports.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { SyncOptions } from "../../logfs/core/fs/api.ts";
import type { Cleaner } from "../../logfs/core/fs/cleaner/cleaner.ts";
import { GatedVolume } from "../../logfs/core/fs/cleaner/gated-volume.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { LeasedVolume } from "../../logfs/core/fs/leased-volume.ts";
import { SnapshotVfs } from "../../logfs/core/fs/snapshot-vfs.ts";
import { openVolume } from "../../logfs/core/fs/volume-open.ts";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";
import { EPOCH_REASON, firstEpochOf } from "../../logfs/core/log/epoch.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { StoreRegistry } from "../../logfs/log/registry.ts";
import { FileSegmentStore } from "../../logfs/log/store.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";
import { type CommitOutcome, MirrorCommitter } from "../../mirror/core/commit.ts";
import { PrimarySession } from "../../mirror/core/primary.ts";
import type { Config } from "../config.ts";
import { newCleaner } from "./cleaning.ts";
import { volumeLimits } from "./limits.ts";
import { reapAtPrimary } from "./reaping.ts";

export interface PrimaryEvents {
  readonly onSettled: (level: SyncLevel, outcome: CommitOutcome, micros: number) => void;
  /** A later term exists: this site must stop writing. */
  readonly onFenced: (reason: string) => void;
}

export interface PrimarySite {
  readonly role: "primary";
  readonly log: Log;
  readonly store: FileSegmentStore;
  readonly volume: TreeVolume;
  readonly fileSystem: FileSystem;
  /** The file system with its snapshots: what is mounted. */
  readonly vfs: SnapshotVfs;
  readonly session: PrimarySession | null;
  readonly committer: MirrorCommitter;
  readonly cleaner: Cleaner;
  readonly sync: SyncOptions;
  /**
   * The file system becomes that of a snapshot; `fileSystem` and `vfs` are others then, and nothing
   * may go on with the old ones. Rejects with what `Snapshots.rollBack` does.
   */
  rollBack(snapshot: string): Promise<void>;
  close(): Promise<void>;
}

export async function openPrimary(
  registry: StoreRegistry,
  config: Config,
  time: Clock & Timers,
  logger: Logger,
  events: PrimaryEvents,
): Promise<PrimarySite> {
  const { log, store } = openLogForWriting(registry, config, time, logger);
  // A mirror that has heard of an epoch which is then lost here would take its next user for another.
  await durable(log);
  if (log.checkpoint === null) throw new SmfsError("DAMAGED", "the log holds no file system");
  const onChange = (): void => {
    committer.handleProgress();
    reaping.handleProgress();
  };
  const { onFenced, onSettled } = events;
  const session =
    config.mirror === null ? null : newSession(registry, log, time, { onChange, onFenced });
  const copy = registry.standalone ? null : session;
  const reaping = reapAtPrimary(log, session, registry, logger);
  const volume = await openVolume(log, log.checkpoint, {
    clock: time,
    space: () => store.space(),
    limits: volumeLimits(config, store),
    onCheckpoint: (reached) => reaping.handleCheckpoint(reached),
  });
  const wait = { ...config.mount, onSettled };
  const committer = new MirrorCommitter({ log, mirror: copy, clock: time, timers: time, ...wait });
  const alone = session === null || registry.standalone;
  const sync = alone ? withoutMirror(config.mount) : config.mount;
  const cleaner = newCleaner({ registry, log, store, volume, copy }, config, time, logger);
  reaping.onDropped(() => cleaner.handleProgress());
  const gated = new GatedVolume(volume, cleaner);
  let shown = show(gated, volume, committer, sync);
  if (registry.fencedBy === null) await finishPending(shown.fileSystem, logger);
  else log.fence(registry.fencedBy);

  const rollBack = async (snapshot: string): Promise<void> => {
    shown.lease.end();
    await volume.snapshots.rollBack(snapshot).finally(() => {
      shown = show(gated, volume, committer, sync);
    });
    await finishPending(shown.fileSystem, logger);
  };

  const close = async (): Promise<void> => {
    session?.stop();
    await cleaner.stop();
    if (log.failure === null) checkpointAtClose(volume, logger);
    reaping.close();
    await closeLog(log);
    store.close();
  };
  return {
    role: "primary",
    log,
    store,
    volume,
    get fileSystem() {
      return shown.fileSystem;
    },
    get vfs() {
      return shown.vfs;
    },
    session,
    committer,
    cleaner,
    sync,
    rollBack,
    close,
  };
}

function newSession(
  registry: StoreRegistry,
  log: Log,
  time: Clock & Timers,
  events: { readonly onChange: () => void } & Pick<PrimaryEvents, "onFenced">,
): PrimarySession {
  return new PrimarySession({
    log,
    writerId: registry.storeId,
    segmentBytes: registry.log?.segmentBytes ?? 0,
    maxRecordBytes: registry.log?.maxRecordBytes ?? 0,
    clock: time,
    timers: time,
    ...events,
  });
}

function show(
  gated: GatedVolume,
  volume: TreeVolume,
  committer: MirrorCommitter,
  sync: SyncOptions,
) {
  const lease = new LeasedVolume(gated);
  const fileSystem = new FileSystem(lease, committer, sync);
  return { lease, fileSystem, vfs: new SnapshotVfs(fileSystem, volume) };
}

/** What a full store has no room to remove now is removed by a later opening. */
async function finishPending(fileSystem: FileSystem, logger: Logger): Promise<void> {
  try {
    await fileSystem.finishPending();
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "NO_SPACE") throw error;
    logger.warn({ reason: error.message }, "removals that a crash interrupted are not finished");
  }
}

/** Saves the next opening a replay; without it (no space, fenced) everything is in the log all the same. */
function checkpointAtClose(volume: TreeVolume, logger: Logger): void {
  try {
    volume.close();
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    logger.warn({ reason: error.message }, "no checkpoint at the end");
  }
}

/** Rejects with the log's failure. */
function durable(log: Log): Promise<void> {
  return new Promise((resolve, reject) => {
    log.whenDurable(log.head.sequence, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** Recovers the log and starts this opening's epoch: from here on no older writer is heard. */
export function openLogForWriting(
  registry: StoreRegistry,
  config: Config,
  time: Clock & Timers,
  logger: Logger,
): { log: Log; store: FileSegmentStore } {
  const placement = registry.log;
  if (placement === null) throw new SmfsError("NOT_FOUND", `${registry.path} holds no log yet`);
  const store = openStore(placement.directory, config.store.capacityBytes);
  const recovered = Log.recover(
    store,
    {
      segmentBytes: placement.segmentBytes,
      maxRecordBytes: placement.maxRecordBytes,
      ancestors: placement.ancestors,
      commitIntervalMicros: config.store.commitIntervalMicros,
      writerId: registry.storeId,
    },
    time,
  );
  if (!recovered.ok) {
    store.close();
    throw recovered.failure;
  }
  const { log, report } = recovered;
  logger.info({ ...report, head: log.head.sequence }, "log recovered");
  log.startEpoch(Math.max(log.epoch + 1, firstEpochOf(registry.term)), EPOCH_REASON.opened);
  return { log, store };
}

export function openStore(directory: string, capacityBytes: number | null): FileSegmentStore {
  return new FileSegmentStore(directory, capacityBytes === null ? {} : { capacityBytes });
}

export function closeLog(log: Log): Promise<void> {
  return new Promise((resolve) => {
    // A log that has failed cannot be made durable: that was reported when it failed.
    log.close(() => resolve());
  });
}

/** Without a mirror nothing stronger than `local` can be promised, or asked for. */
function withoutMirror(sync: SyncOptions): SyncOptions {
  const limit = (level: SyncLevel): SyncLevel =>
    level === "network" || level === "remote" ? "local" : level;
  return {
    floor: limit(sync.floor),
    dataSync: limit(sync.dataSync),
    fsync: limit(sync.fsync),
    osync: limit(sync.osync),
  };
}
