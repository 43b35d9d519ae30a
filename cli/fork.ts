/**
 * `smfs fork`: a new store with the files of a snapshot, that shares what is in them with the old one
 * until either changes it. Nothing is asked of a site that runs on the old store: its files are only
 * read. When that moves what the snapshot holds meanwhile, it is done again. The new store is one when
 * its `store.json` is there.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { toHex } from "../lib/bytes.ts";
import { SmfsError } from "../lib/errors.ts";
import { findOrigin, type ForkOrigin, formatFork } from "../logfs/core/fs/fork.ts";
import type { LiveBytes } from "../logfs/core/fs/live-bytes.ts";
import { isGone } from "../logfs/core/fs/stored-snapshot.ts";
import type { LogSegment } from "../logfs/core/log/api.ts";
import { EPOCH_REASON } from "../logfs/core/log/epoch.ts";
import { inspectLog } from "../logfs/core/log/inspect.ts";
import { Log } from "../logfs/core/log/log.ts";
import { closingSeal } from "../logfs/core/log/parting.ts";
import type { Inheritance } from "../logfs/core/log/found.ts";
import { copyClosed, shareSegments, type SharedFiles } from "../logfs/log/fork.ts";
import { logDirectory, type LogPlacement, StoreRegistry } from "../logfs/log/registry.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";
import { systemTime } from "../sys/time.ts";
import { openOffline, type OfflineStore } from "./offline.ts";
import { closeLog } from "./site/primary.ts";
import { type Target, targetOf } from "./snapshot.ts";

/** Segments are dropped a few at a time, seconds apart; what a snapshot holds is moved before. */
const MAX_TRIES = 8;

export function forkCommand(): Command {
  return new Command("fork")
    .description("make a file system of its own from a snapshot; unchanged data is shared")
    .argument("<store>", "the store's directory, or where it is mounted; or STORE@NAME")
    .argument(
      "<names...>",
      "the snapshot, unless the store names it; and the new store's directory",
    )
    .action(async (store: string, names: string[]) => {
      const { from, to } = namesOf(store, names);
      const { linked, copied } = await fork(from, to);
      const how = copied === 0 ? `${linked} segments are shared` : `${copied} segments were copied`;
      process.stdout.write(`${to}: a file system as ${from.store}@${from.name}; ${how}\n`);
    });
}

function namesOf(store: string, names: readonly string[]): { from: Target; to: string } {
  const [first, second, ...more] = names;
  if (first === undefined || more.length > 0) {
    throw new SmfsError("USAGE", "fork STORE NAME NEWSTORE, or fork STORE@NAME NEWSTORE");
  }
  if (second === undefined) return { from: targetOf(store, undefined), to: first };
  return { from: targetOf(store, first), to: second };
}

/** Rejects with `SmfsError` NOT_FOUND (no such snapshot), BUSY (something is there), NO_SPACE, DAMAGED, IO. */
export async function fork({ store, name }: Target, path: string): Promise<SharedFiles> {
  for (let triesLeft = MAX_TRIES - 1; ; triesLeft--) {
    const { source, log } = openSource(store);
    try {
      if (log.checkpoint === null) throw new SmfsError("DAMAGED", `${store} holds no file system`);
      const origin = await findOrigin(log, log.checkpoint, name);
      StoreRegistry.prepare(path);
      const made = await unlessGone(() => makeStore(source, log, origin, resolve(path)), triesLeft);
      if (made !== null) return made;
    } finally {
      source.close();
    }
  }
}

/** null: something that is needed was dropped meanwhile, and it is to be tried again. */
async function unlessGone<T>(act: () => Promise<T>, triesLeft: number): Promise<T | null> {
  try {
    return await act();
  } catch (error) {
    if (!isGone(error) || triesLeft === 0) throw error;
    return null;
  }
}

/** A site that runs on the store may drop a segment while its log is looked through: then again. */
function openSource(path: string): { source: OfflineStore; log: Log } {
  for (let triesLeft = MAX_TRIES - 1; ; triesLeft--) {
    const source = openOffline(path, "let be");
    const { log, failure } = inspectLog(source.files, source.options, systemTime);
    const isAgain = failure?.code === "NOT_FOUND" && triesLeft > 0;
    if (log !== null && !isAgain) return { source, log };
    source.close();
    if (!isAgain) throw failure ?? new SmfsError("DAMAGED", `${path} holds no log`);
  }
}

/** Makes all of it or, but for a crash, nothing. */
async function makeStore(
  { placement }: OfflineStore,
  parent: Log,
  origin: ForkOrigin,
  path: string,
): Promise<SharedFiles> {
  const place = placeFork(placement, path);
  try {
    mkdirSync(place.directory, { mode: 0o700 });
    const { inherited, shared } = inherit(placement, parent, origin, place.directory);
    await startLog(place, inherited, origin);
    StoreRegistry.createForked(path, place);
    return shared;
  } catch (error) {
    rmSync(place.directory, { recursive: true, force: true });
    throw error;
  }
}

function placeFork(parent: LogPlacement, path: string): LogPlacement {
  const id = new Uint8Array(randomBytes(16));
  const { segmentBytes, maxRecordBytes } = parent;
  const ancestors = [...parent.ancestors, parent.id];
  return { id, directory: logDirectory(path, toHex(id)), segmentBytes, maxRecordBytes, ancestors };
}

/** Brings the snapshot's segments into the fork's directory. */
function inherit(
  { directory, id }: LogPlacement,
  parent: Log,
  { table }: ForkOrigin,
  target: string,
): { inherited: Inheritance; shared: SharedFiles } {
  const needed = segmentsOf(parent, table);
  const sealed = needed.filter((one) => one.sealed);
  const shared = shareSegments(
    directory,
    target,
    sealed.map(({ segment }) => segment),
  );
  const segments = sealed.map((one) => ({ ...one, bytes: one.usedBytes }));
  const { endAddress: end, head } = parent;
  const last = needed.find((one) => !one.sealed);
  if (last === undefined) {
    return { inherited: { segments, head, lastSegment: end.segment }, shared };
  }
  const { firstSequence } = last;
  const timeMicros = systemTime.wallMicros();
  const seal = closingSeal({ logId: id, head, end, firstSequence, timeMicros });
  copyClosed(directory, target, end.segment, end.offset, seal.bytes);
  segments.push({ ...last, bytes: end.offset + seal.bytes.length });
  const inherited = { segments, head: seal.head, lastSegment: end.segment };
  return { inherited, shared: { ...shared, copied: shared.copied + 1 } };
}

/** Throws `SmfsError` DAMAGED when one is missing. */
function segmentsOf(parent: Log, table: LiveBytes): LogSegment[] {
  const there = new Map(parent.segments.map((one) => [one.segment, one]));
  return table.entries.map(({ segment }) => {
    const found = there.get(segment);
    if (found !== undefined) return found;
    throw new SmfsError("DAMAGED", `segment ${segment}, which the snapshot needs, is missing`);
  });
}

async function startLog(
  { id: logId, directory, segmentBytes, maxRecordBytes }: LogPlacement,
  inherited: Inheritance,
  origin: ForkOrigin,
): Promise<void> {
  const store = new FileSegmentStore(directory);
  try {
    const log = Log.fork(store, { logId, segmentBytes, maxRecordBytes }, systemTime, inherited);
    log.startEpoch(inherited.head.epoch + 1, EPOCH_REASON.forked);
    formatFork(log, origin, systemTime, new Uint8Array(randomBytes(16)));
    await closeLog(log);
    if (log.failure !== null) throw log.failure;
  } finally {
    store.close();
  }
}
