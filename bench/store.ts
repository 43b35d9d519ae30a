/**
 * What the file system costs above the disk: 1 MiB writes to one file, in this process and through
 * FUSE, beside a bare sequential append to a segment file with the same checksums (64 KiB blocks,
 * and the whole) and the same syncs. Rounds take turns in both directions; ratios are medians.
 */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { latin1 } from "../lib/bytes.ts";
import { combineCrc32c, crc32c } from "../lib/crc32c.ts";
import { BLOCK_BYTES } from "../logfs/core/fs/items.ts";
import { ROOT_INODE } from "../logfs/core/vfs.ts";
import { resolveOptions } from "../logfs/core/log/options.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";
import { median } from "./meter.ts";
import { openScaleStore, ROOT_USER } from "./scale-store.ts";
import { startSmfs } from "./servers.ts";

export interface StoreBenchOptions {
  readonly directory?: string;
  /** Of one round. */
  readonly bytes: number;
  readonly rounds: number;
}

const WRITE_BYTES = 2 ** 20;
const DATA = new Uint8Array(WRITE_BYTES).map((_, i) => (i * 7919) >>> 5);
/** Written before the clock starts: just-in-time compilation is no part of the question. */
const WARM_BYTES = 64 * WRITE_BYTES;
/** What is asked of the file system. */
const TARGET = 0.6;

/** Writes `bytes` in a place of its own, to the end with a sync. */
type Way = (place: string, bytes: number) => Promise<void>;
const WAYS: Record<"raw" | "inProcess" | "throughFuse", Way> = {
  raw: appendRaw,
  inProcess: writeInProcess,
  throughFuse: writeThroughFuse,
};
type Name = keyof typeof WAYS;

export async function run({ directory = tmpdir(), bytes, rounds }: StoreBenchOptions) {
  const names = Object.keys(WAYS) as Name[];
  const seconds: Record<Name, number[]> = { raw: [], inProcess: [], throughFuse: [] };
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      seconds[name].push(await timed(WAYS[name], directory, bytes));
    }
  }
  const rate = (name: Name) => bytes / median(seconds[name]);
  const ratio = (name: Name) => median(seconds.raw.map((raw, i) => raw / (seconds[name][i] ?? 0)));
  return {
    schemaVersion: 1,
    bytes,
    rounds,
    bytesPerSecond: Object.fromEntries(names.map((name) => [name, rate(name)])),
    ratios: { inProcess: ratio("inProcess"), throughFuse: ratio("throughFuse"), target: TARGET },
  };
}

async function timed(way: Way, directory: string, bytes: number): Promise<number> {
  const place = fs.mkdtempSync(join(directory, "smfs-bench-"));
  try {
    clock.start();
    await way(place, bytes);
    return clock.seconds();
  } finally {
    fs.rmSync(place, { recursive: true });
  }
}

/** A way starts it again when what it needs is there, and stops it when all is written. */
const clock = {
  startedAt: 0,
  endedAt: Number.NaN,
  start(): void {
    this.startedAt = performance.now();
    this.endedAt = Number.NaN;
  },
  stop(): void {
    this.endedAt = performance.now();
  },
  seconds(): number {
    const end = Number.isNaN(this.endedAt) ? performance.now() : this.endedAt;
    return (end - this.startedAt) / 1000;
  },
};

async function appendRaw(place: string, bytes: number): Promise<void> {
  const { allocationBytes, commitBytes, segmentBytes } = resolveOptions({});
  const store = new FileSegmentStore(join(place, "raw"));
  clock.start();
  let unsynced = 0;
  const syncs: Promise<void>[] = [];
  for (let at = 0; at < bytes; at += WRITE_BYTES) {
    const offset = at % (segmentBytes - (segmentBytes % WRITE_BYTES));
    const segment = 1 + Math.floor(at / (segmentBytes - (segmentBytes % WRITE_BYTES)));
    if (offset % allocationBytes === 0) store.allocate(segment, offset + allocationBytes);
    checksum(DATA);
    await called((done) => store.write(segment, offset, [DATA], done));
    unsynced += WRITE_BYTES;
    if (unsynced < commitBytes && at + WRITE_BYTES < bytes) continue;
    syncs.push(called((done) => store.sync(segment, done)));
    unsynced = 0;
  }
  await Promise.all(syncs);
  clock.stop();
  store.close();
}

/** Of each block, and by them of all. */
function checksum(data: Uint8Array): number {
  let whole = 0;
  for (let at = 0; at < data.length; at += BLOCK_BYTES) {
    const block = data.subarray(at, at + BLOCK_BYTES);
    whole = combineCrc32c(whole, crc32c(block), block.length);
  }
  return whole;
}

function called(call: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === null ? resolve() : reject(error)));
  });
}

async function writeInProcess(place: string, bytes: number): Promise<void> {
  const opened = await openScaleStore(join(place, "store"));
  const options = { read: false, write: true, append: false, truncate: false };
  const write = async (name: string, length: number): Promise<void> => {
    const creating = opened.fs.create(ROOT_USER, ROOT_INODE, latin1(name), 0o644, true, options);
    const { handle } = await creating;
    for (let at = 0; at < length; at += WRITE_BYTES) {
      await opened.fs.write(handle, at, DATA, "none");
    }
    await opened.fs.release(handle);
  };
  await write("warm", WARM_BYTES);
  clock.start();
  await write("sequential", bytes);
  await opened.close();
  clock.stop();
}

async function writeThroughFuse(place: string, bytes: number): Promise<void> {
  const server = await startSmfs(place);
  const write = (name: string, length: number): void => {
    const fd = fs.openSync(join(server.directory, name), "w");
    for (let at = 0; at < length; at += WRITE_BYTES) fs.writeSync(fd, DATA);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  };
  try {
    write("warm", WARM_BYTES);
    clock.start();
    write("sequential", bytes);
    clock.stop();
  } finally {
    await server.stop();
  }
}
