/** A small store that is overwritten many times its size, through a real mount, with `kill -9`. */
import { type FileHandle, open, readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { crc32c } from "../../lib/crc32c.ts";
import { Prng } from "../../lib/prng.ts";
import type { TrimReport } from "../../cli/site/trim.ts";
import { Scene, whyNoMounts } from "./harness.ts";

/** What the log may take: 16 MiB are the store's reserve. */
const CAPACITY = 48 * 2 ** 20;
const SETTINGS = ["--capacity", "64MiB"];
/** Number of the block, version, checksum of the rest. */
const HEAD_BYTES = 12;
const NO_MOUNTS = await whyNoMounts();

/** A file of blocks that say which they are, how often they were written, and whether they are whole. */
class Blocks {
  readonly path: string;
  readonly count: number;
  private readonly blockBytes: number;
  private readonly prng: Prng;
  private readonly versions: Uint32Array;
  /** Each block's version when the file was last synced. */
  private synced: Uint32Array;

  constructor(path: string, bytes: number, blockBytes: number, seed: number) {
    this.path = path;
    this.blockBytes = blockBytes;
    this.count = Math.floor(bytes / blockBytes);
    this.prng = new Prng(seed);
    this.versions = new Uint32Array(this.count);
    this.synced = new Uint32Array(this.count);
  }

  async fill(): Promise<void> {
    await this.using("w+", async (file) => {
      for (let block = 0; block < this.count; block++) await this.write(file, block);
    });
  }

  /** Overwrites at random, then syncs. */
  async overwrite(times: number): Promise<void> {
    await this.using("r+", async (file) => {
      for (let i = 0; i < times; i++) await this.write(file, this.prng.below(this.count));
    });
  }

  /** Every block is whole, and not older than when it was synced. */
  async verify(): Promise<void> {
    const flaws: string[] = [];
    await this.using("r", async (file) => {
      for (let block = 0; block < this.count; block++) {
        const { buffer: bytes } = await file.read(
          Buffer.alloc(this.blockBytes),
          0,
          this.blockBytes,
          block * this.blockBytes,
        );
        const [number, version, sum] = [0, 4, 8].map((at) => bytes.readUInt32LE(at));
        const isWhole = number === block && sum === crc32c(bytes.subarray(HEAD_BYTES));
        const isNew = (version ?? 0) >= (this.synced[block] ?? 0);
        if (!isWhole || !isNew) flaws.push(`block ${block} version ${version}`);
        this.versions[block] = version ?? 0;
      }
    });
    expect(flaws).toEqual([]);
  }

  private async using(flags: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
    const file = await open(this.path, flags);
    try {
      await work(file);
      if (flags === "r") return;
      await file.sync();
      this.synced = this.versions.slice();
    } finally {
      await file.close();
    }
  }

  private async write(file: FileHandle, block: number): Promise<void> {
    const version = (this.versions[block] ?? 0) + 1;
    this.versions[block] = version;
    const bytes = Buffer.alloc(this.blockBytes);
    this.prng.fill(bytes.subarray(HEAD_BYTES, HEAD_BYTES + 64));
    bytes.writeUInt32LE(block, 0);
    bytes.writeUInt32LE(version, 4);
    bytes.writeUInt32LE(crc32c(bytes.subarray(HEAD_BYTES)), 8);
    await file.write(bytes, 0, bytes.length, block * this.blockBytes);
  }
}

/** Bytes of the log's files. */
async function logBytes(store: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(store, { recursive: true })) {
    if (!/\.seg$|segment/.test(name)) continue;
    bytes += (await stat(join(store, name))).size;
  }
  return bytes;
}

describe.skipIf(NO_MOUNTS)(
  `a store of 48 MiB${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`,
  () => {
    let scene: Scene;
    beforeEach(() => {
      scene = new Scene();
    });
    afterEach(() => scene.close());

    const mkfs = () => scene.mkfs("store");

    it.each([
      { utilisation: 0.5, blockBytes: 16_384 },
      { utilisation: 0.85, blockBytes: 65_536 },
    ])(
      "with $utilisation of it in files takes twice its size of overwrites, and kill -9",
      async ({ utilisation, blockBytes }) => {
        const store = await mkfs();
        const first = await scene.mount(store, ...SETTINGS);
        const bytes = CAPACITY * utilisation;
        const blocks = new Blocks(first.at("file"), bytes, blockBytes, 1);
        await blocks.fill();
        await blocks.overwrite(Math.floor(CAPACITY / blockBytes));
        const under = blocks.overwrite(Math.floor(CAPACITY / blockBytes)).catch(() => {});
        await first.when("cleaning", ({ cleaner }) => (cleaner?.cleanedSegments ?? 0) > 2, 60_000);
        await first.crash();
        await under;

        const second = await scene.mount(store, ...SETTINGS);
        await blocks.verify();
        await blocks.overwrite(100);
        await blocks.verify();
        expect(await second.umount(scene)).toBe(0);
        const fsck = await scene.smfs("fsck", store, "--deep", "--json");
        expect(JSON.parse(fsck.output)).toMatchObject({ errors: 0, complete: true });
      },
      120_000,
    );

    it("that is full refuses, takes again what was deleted, and shrinks to nothing", async () => {
      const store = await mkfs();
      const site = await scene.mount(store, ...SETTINGS);
      await scene.succeed("trim", store);
      const empty = await logBytes(store);
      expect(empty).toBeGreaterThan(0);
      const promised = await statfs(site.point);
      const file = await open(site.at("big"), "w");
      const chunk = Buffer.alloc(256 * 1024, 7);
      let written = 0;
      const fill = async (): Promise<void> => {
        for (;;) written += (await file.write(chunk)).bytesWritten;
      };
      await expect(fill()).rejects.toMatchObject({ code: "ENOSPC" });
      expect(written / (promised.bavail * promised.bsize)).toBeGreaterThan(0.9);
      await file.close();
      await rm(site.at("big"));
      const again = new Blocks(site.at("again"), written / 2, 65_536, 2);
      await again.fill();
      await again.verify();
      await rm(again.path);
      const report = JSON.parse(await scene.succeed("trim", store, "--json")) as TrimReport;
      expect(report.storeBytes).toBe(await logBytes(store));
      expect(report.storeBytes).toBe(empty);
      expect(await site.umount(scene)).toBe(0);
    }, 120_000);
  },
);
