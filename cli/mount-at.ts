/**
 * `smfs mount --read-only [--at STATE]`: one state of a file system, mounted by itself: a snapshot,
 * or what the log held after a record or at a time. No site: nothing is written, nothing followed.
 * The store is kept from others meanwhile, except for a snapshot beside a running site.
 */
import { pino } from "pino";
import { fail, messageOf, SmfsError } from "../lib/errors.ts";
import type { Volume } from "../logfs/core/fs/api.ts";
import { FileSystem } from "../logfs/core/fs/filesystem.ts";
import { FrozenVolume } from "../logfs/core/fs/frozen-volume.ts";
import { type Moment, stateBefore } from "../logfs/core/fs/history.ts";
import { isSame } from "../logfs/core/fs/kept.ts";
import type { Snapshot } from "../logfs/core/fs/snapshot.ts";
import type { SnapshotSource } from "../logfs/core/fs/snapshot-volume.ts";
import { SnapshotVfs } from "../logfs/core/fs/snapshot-vfs.ts";
import { StoredSnapshot } from "../logfs/core/fs/stored-snapshot.ts";
import type { Vfs } from "../logfs/core/vfs.ts";
import { type FuseServer, serveFuse, SOLE_WRITER } from "../logfs/export/fuse/serve.ts";
import { reportFailure } from "./exit.ts";
import { type OpenStored, openStored } from "./stored-volume.ts";

export interface MountAtFlags {
  /** undefined: the newest state. */
  readonly at: string | undefined;
  readonly allowOther: boolean;
}

/** Serves until it is unmounted. Rejects with `SmfsError` BUSY, NOT_FOUND (that state is gone), USAGE. */
export async function mountAt(
  store: string,
  directory: string,
  { at, allowOther }: MountAtFlags,
): Promise<void> {
  const opened = await openForLooking(store, at);
  try {
    const vfs = await vfsAt(opened, at);
    const server = await serve(vfs, store, directory, { at, allowOther });
    process.stdout.write(`${store}: ${at ?? "as it is"}, read-only, ${server.mountpoint}\n`);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => void server.unmount().catch(reportFailure));
    }
    await server.ended;
  } finally {
    opened.close();
  }
}

/** Beside a running site only snapshots: everything else in the files comes and goes. */
async function openForLooking(store: string, at: string | undefined): Promise<OpenStored> {
  try {
    return await openStored(store, "keep out");
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "BUSY" || at === undefined) throw error;
    const opened = await openStored(store, "let be");
    if (snapshotNamed(opened.volume, at) !== undefined) return opened;
    opened.close();
    const what = "a site runs on it: only snapshots can be mounted beside it";
    throw new SmfsError("BUSY", `${store}: ${what}`, error);
  }
}

function snapshotNamed(volume: SnapshotSource, name: string) {
  return volume.keptSnapshots.find((snapshot) => snapshot.name === name);
}

async function vfsAt(opened: OpenStored, at: string | undefined): Promise<Vfs> {
  const { volume, log, checkpoint, environment } = opened;
  const snapshot = at === undefined ? undefined : snapshotNamed(volume, at);
  if (snapshot !== undefined) return fileSystemOf(storedSnapshot(opened, snapshot));
  if (at === undefined) return new SnapshotVfs(fileSystemOf(volume), volume);
  const moment = momentOf(at);
  const state = await stateBefore(log, checkpoint, moment);
  const past = await FrozenVolume.open(log, state, environment, moment);
  return fileSystemOf(past);
}

function storedSnapshot(opened: OpenStored, snapshot: Snapshot): Volume {
  return new StoredSnapshot(opened.volume.openSnapshot(snapshot), async () => {
    const { volume: now } = await opened.look();
    const same = now.keptSnapshots.find((one) => isSame(one, snapshot));
    return same === undefined ? fail("ESTALE") : now.openSnapshot(same);
  });
}

function fileSystemOf(volume: Volume): FileSystem {
  return new FileSystem(volume, { wait: () => undefined });
}

/** A number is a record's; everything else that is not a snapshot is a time. Throws USAGE. */
function momentOf(text: string): Moment {
  if (/^[0-9]{1,15}$/.test(text)) return { sequence: Number(text) };
  const millis = Date.parse(text);
  if (!Number.isNaN(millis)) return { micros: millis * 1000 };
  const hint = "a snapshot, a record's number, or a time such as 2026-01-31T12:00:00Z";
  throw new SmfsError("USAGE", `--at ${text}: there is no such snapshot; ${hint}`);
}

async function serve(
  vfs: Vfs,
  store: string,
  mountpoint: string,
  { at, allowOther }: MountAtFlags,
): Promise<FuseServer> {
  const logger = pino(
    { level: "warn", base: { store } },
    pino.destination({ dest: 2, sync: true }),
  );
  const server = await serveFuse(
    vfs,
    {
      mountpoint,
      // Not the store's own path: that means its site's mount to other commands.
      fsName: `${store}@${at ?? "now"}`,
      access: "read-only",
      audience: allowOther ? "everybody" : "owner",
      // Nothing changes: what the kernel has seen stays true.
      caching: SOLE_WRITER,
    },
    logger,
  );
  server.ended.catch((error: unknown) => logger.error(messageOf(error)));
  return server;
}
