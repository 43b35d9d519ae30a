/** The volume of a store that no site runs on: opened for one command, then closed. */
import { pino } from "pino";
import { SmfsError } from "../lib/errors.ts";
import { FrozenVolume } from "../logfs/core/fs/frozen-volume.ts";
import { openVolume } from "../logfs/core/fs/volume-open.ts";
import type { TreeVolume, VolumeEnvironment } from "../logfs/core/fs/volume.ts";
import type { Address } from "../logfs/core/log/api.ts";
import { inspectLog } from "../logfs/core/log/inspect.ts";
import type { Log } from "../logfs/core/log/log.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { configFrom } from "./config.ts";
import { type OfflineStore, openOffline } from "./offline.ts";
import { closeLog, openLogForWriting } from "./site/primary.ts";

/**
 * Changes the volume as its only writer; what was changed is durable when this resolves. Nothing is
 * dropped from the log: a mirror that has not heard of it may need it. Rejects with `SmfsError` BUSY
 * (a site runs), FENCED, USAGE (a mirror's store).
 */
export async function changeStored(
  path: string,
  change: (volume: TreeVolume) => void | Promise<void>,
): Promise<void> {
  const registry = StoreRegistry.open(path);
  if (registry.role === "mirror") {
    throw new SmfsError("USAGE", `${path} is a mirror's store: change its primary`);
  }
  if (registry.fencedBy !== null) throw new SmfsError("FENCED", registry.fencedBy);
  const config = configFrom({}, path);
  const quiet = pino({ level: "silent" });
  const { log, store } = openLogForWriting(registry, config, systemTime, quiet);
  try {
    await change(await writable(log, () => store.space()));
    await closeLog(log);
    if (log.failure !== null) throw log.failure;
  } finally {
    store.close();
  }
}

async function writable(
  log: Log,
  space: () => { totalBytes: number; freeBytes: number },
): Promise<TreeVolume> {
  if (log.checkpoint === null) throw new SmfsError("DAMAGED", "the log holds no file system");
  return openVolume(log, log.checkpoint, { clock: systemTime, space });
}

/** A store's volume as it is in the files now, to be looked at. */
export interface StoredVolume {
  readonly volume: FrozenVolume;
  readonly log: Log;
  /** The newest. */
  readonly checkpoint: Address;
  readonly environment: VolumeEnvironment;
}

export interface OpenStored extends StoredVolume {
  close(): void;
}

/**
 * `writers` as in `openOffline`. With "let be", what a site drops while it is looked at ends the
 * look with NOT_FOUND or DAMAGED, except for what snapshots hold.
 */
export async function openStored(
  path: string,
  writers: "keep out" | "let be",
): Promise<OpenStored> {
  const store = openOffline(path, writers);
  try {
    const log = inspected(store, path);
    const { checkpoint } = log;
    if (checkpoint === null) throw new SmfsError("DAMAGED", `${path} holds no file system`);
    const environment = { clock: systemTime, space: () => store.files.space() };
    const now = { sequence: log.head.sequence };
    const volume = await FrozenVolume.open(log, checkpoint, environment, now);
    return { volume, log, checkpoint, environment, close: () => store.close() };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** Looks at it, also while a site writes it. */
export async function readStored<T>(
  path: string,
  read: (stored: StoredVolume) => Promise<T>,
): Promise<T> {
  const stored = await openStored(path, "let be");
  try {
    return await read(stored);
  } finally {
    stored.close();
  }
}

function inspected({ files, options }: OfflineStore, path: string): Log {
  const { log, failure } = inspectLog(files, options, systemTime);
  if (log === null) throw failure ?? new SmfsError("DAMAGED", `${path} holds no log`);
  return log;
}

/** `ask`, or when no site runs on the store, `act`. */
export async function unlessRunning<T>(ask: () => Promise<T>, act: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "UNREACHABLE") throw error;
    return act();
  }
}
