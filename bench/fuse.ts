/**
 * The file system through FUSE, beside its ceiling: the same calls on a server that stores nothing
 * behind the same protocol code, and on the directory below both, in the same run.
 *
 * Servers are processes of their own; this process is the client and waits for each call, as most
 * programs do. Rounds take turns between the targets, and the best round of each counts, because
 * what disturbs a measurement only ever slows it down.
 */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dropCachedPages } from "../sys/page-cache.ts";
import { startNull, startSmfs } from "./servers.ts";

export interface FuseBenchOptions {
  /** A directory to measure as it is, instead of a store made and mounted for the occasion. */
  readonly directory?: string;
  /** Bytes of the sequential file. */
  readonly bytes?: number;
  /** Files of the metadata part. */
  readonly files?: number;
  readonly rounds?: number;
}

/** Higher is better, everywhere. */
export interface Rates {
  /** 1 MiB at a time, to close. */
  writeBytesPerSecond: number;
  /** The same with an fsync before close. */
  syncedWriteBytesPerSecond: number;
  /** 1 MiB at a time, nothing of it in the page cache. */
  readBytesPerSecond: number;
  smallWriteBytesPerSecond: number;
  createsPerSecond: number;
  statsPerSecond: number;
  opensPerSecond: number;
  renamesPerSecond: number;
  unlinksPerSecond: number;
}

const IO_BYTES = 2 ** 20;
const SMALL_BYTES = 4096;
const BLOCK = Buffer.alloc(IO_BYTES, 0x5a);

interface Measured {
  readonly name: string;
  readonly directory: string;
  stop(): Promise<void>;
}

export async function run(options: FuseBenchOptions = {}) {
  const { bytes = 256 * 2 ** 20, files = 2000, rounds = 3 } = options;
  const place = fs.mkdtempSync(join(tmpdir(), "smfs-bench-"));
  const targets: Measured[] = [];
  try {
    targets.push(await startNull(place), await smfsTarget(place, options.directory));
    targets.push({ name: "local", directory: place, stop: async () => {} });
    const best = measureAll(targets, bytes, files, rounds);
    const ratios = {
      smfsOverNull: ratio(best.smfs, best.null),
      smfsOverLocal: ratio(best.smfs, best.local),
    };
    return { schemaVersion: 1, bytes, files, rounds, rates: best, ratios };
  } finally {
    for (const target of targets) await target.stop();
    fs.rmSync(place, { recursive: true });
  }
}

function measureAll(targets: readonly Measured[], bytes: number, files: number, rounds: number) {
  const best: Record<string, Rates> = {};
  for (let round = 0; round < rounds; round++) {
    for (const { name, directory } of targets) {
      const rates = measure(join(directory, `round-${round}`), bytes, files);
      best[name] = better(best[name], rates);
    }
  }
  return best;
}

function better(known: Rates | undefined, found: Rates): Rates {
  if (known === undefined) return found;
  const keys = Object.keys(found) as (keyof Rates)[];
  return Object.fromEntries(
    keys.map((key) => [key, Math.max(known[key], found[key])]),
  ) as unknown as Rates;
}

function ratio(over: Rates | undefined, under: Rates | undefined): Partial<Rates> {
  if (over === undefined || under === undefined) return {};
  const keys = Object.keys(over) as (keyof Rates)[];
  return Object.fromEntries(keys.map((key) => [key, over[key] / under[key]]));
}

function measure(directory: string, bytes: number, files: number): Rates {
  fs.mkdirSync(directory);
  const file = join(directory, "sequential");
  const path = (i: number): string => join(directory, `file-${i}`);
  const moved = (i: number): string => join(directory, `moved-${i}`);
  const smallCount = Math.min(files * 4, bytes / SMALL_BYTES);
  const rates = {
    writeBytesPerSecond: bytes * perSecond(() => write(file, bytes, IO_BYTES)),
    syncedWriteBytesPerSecond: bytes * perSecond(() => write(file, bytes, IO_BYTES, fs.fsyncSync)),
    readBytesPerSecond: bytes * perSecond(readCold(file, bytes)),
    smallWriteBytesPerSecond:
      smallCount *
      SMALL_BYTES *
      perSecond(() => write(file, smallCount * SMALL_BYTES, SMALL_BYTES)),
    createsPerSecond: eachPerSecond(files, (i) => create(path(i))),
    statsPerSecond: eachPerSecond(files, (i) => void fs.statSync(path(i))),
    opensPerSecond: eachPerSecond(files, (i) => fs.closeSync(fs.openSync(path(i), "r"))),
    renamesPerSecond: eachPerSecond(files, (i) => fs.renameSync(path(i), moved(i))),
    unlinksPerSecond: eachPerSecond(files, (i) => fs.unlinkSync(moved(i))),
  };
  fs.rmSync(directory, { recursive: true });
  return rates;
}

/** How often a second the work could be done. */
function perSecond(work: () => void): number {
  const began = performance.now();
  work();
  return 1000 / (performance.now() - began);
}

function eachPerSecond(count: number, work: (index: number) => void): number {
  return (
    count *
    perSecond(() => {
      for (let i = 0; i < count; i++) work(i);
    })
  );
}

function write(
  path: string,
  bytes: number,
  chunkBytes: number,
  finish: (fd: number) => void = () => {},
): void {
  const fd = fs.openSync(path, "w");
  for (let at = 0; at < bytes; at += chunkBytes) fs.writeSync(fd, BLOCK, 0, chunkBytes);
  finish(fd);
  fs.closeSync(fd);
}

/** Prepares, and gives what is to be measured. */
function readCold(path: string, bytes: number): () => void {
  const fd = fs.openSync(path, "r");
  dropCachedPages(fd);
  const into = Buffer.allocUnsafe(IO_BYTES);
  return () => {
    for (let at = 0; at < bytes; at += IO_BYTES) fs.readSync(fd, into, 0, IO_BYTES, at);
    fs.closeSync(fd);
  };
}

function create(path: string): void {
  const fd = fs.openSync(path, "wx");
  fs.writeSync(fd, BLOCK, 0, SMALL_BYTES);
  fs.closeSync(fd);
}

async function smfsTarget(place: string, given: string | undefined): Promise<Measured> {
  if (given !== undefined) return { name: "smfs", directory: given, stop: async () => {} };
  return startSmfs(place);
}
