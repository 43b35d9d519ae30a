/** The volume of a store that no site runs on: opened for one command, then closed. */
import { pino } from "pino";
import { SmfsError } from "../lib/errors.ts";
import { FrozenVolume } from "../logfs/core/fs/frozen-volume.ts";
import { isGone } from "../logfs/core/fs/stored-snapshot.ts";
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
  /** As it is in the files by then; what was given before is void. Rejects as `openStored` does. */
  look(): Promise<StoredVolume>;
  close(): void;
}

/** A site drops segments seconds apart, a few at a time. */
const MAX_LOOKS = 8;

/**
 * `writers` as in `openOffline`. With "let be", what a site drops while it is looked at ends the
 * look with NOT_FOUND or DAMAGED (`isGone`): then it is to be looked at again.
 */
export async function openStored(
  path: string,
  writers: "keep out" | "let be",
): Promise<OpenStored> {
  let store = openOffline(path, writers);
  const look = async (): Promise<StoredVolume> => {
    const before = store;
    store = openOffline(path, writers);
    before.close();
    return lookAt(store, path);
  };
  try {
    return { ...(await lookAt(store, path)), look, close: () => store.close() };
  } catch (error) {
    store.close();
    throw error;
  }
}

async function lookAt(store: OfflineStore, path: string): Promise<StoredVolume> {
  const log = inspected(store, path);
  const { checkpoint } = log;
  if (checkpoint === null) throw new SmfsError("DAMAGED", `${path} holds no file system`);
  const environment = { clock: systemTime, space: () => store.files.space() };
  const now = { sequence: log.head.sequence };
  const volume = await FrozenVolume.open(log, checkpoint, environment, now);
  return { volume, log, checkpoint, environment };
}

/** Looks at it, also while a site writes it, and again when what it looks at is dropped meanwhile. */
export async function readStored<T>(
  path: string,
  read: (stored: StoredVolume) => Promise<T>,
): Promise<T> {
  for (let looksLeft = MAX_LOOKS - 1; ; looksLeft--) {
    const stored = openOffline(path, "let be");
    const seen = stored.files.list().map(({ segment }) => segment);
    try {
      return await read(await lookAt(stored, path));
    } catch (error) {
      if (!isGone(error) || looksLeft === 0 || areThere(path, seen)) throw error;
    } finally {
      stored.close();
    }
  }
}

function areThere(path: string, segments: readonly number[]): boolean {
  const store = openOffline(path, "let be");
  try {
    const there = new Set(store.files.list().map(({ segment }) => segment));
    return segments.every((segment) => there.has(segment));
  } finally {
    store.close();
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
