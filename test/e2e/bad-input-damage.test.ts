/**
 * Damaged and full stores under a mount: what is damaged answers EIO and is named, everything else
 * stays readable, and nothing crashes.
 */
import { execFile } from "node:child_process";
import {
  closeSync,
  createReadStream,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contentOf } from "./busy-content.ts";
import { Scene, type TestSite, whyNoMounts } from "./harness.ts";

const run = promisify(execFile);
const NOT_ROOT = process.geteuid?.() !== 0;
const NO_MOUNTS = await whyNoMounts();
const FILE_BYTES = 600_000;
const FILES = 16;
const MEBI = 2 ** 20;

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.close());

function segments(store: string): string[] {
  const log = readdirSync(store).find((name) => name.startsWith("log-")) ?? "";
  return readdirSync(join(store, log))
    .filter((name) => name.endsWith(".seg"))
    .sort()
    .map((name) => join(store, log, name));
}

/** Flips one bit in each `needle` of the log, `skip` bytes behind its start; gives the segments. */
function flipIn(store: string, needle: Uint8Array, skip: number): number[] {
  const flipped: number[] = [];
  for (const [index, path] of segments(store).entries()) {
    const bytes = readFileSync(path);
    const fd = openSync(path, "r+");
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) {
      writeSync(fd, Uint8Array.of((bytes[at + skip] ?? 0) ^ 0x10), 0, 1, at + skip);
      flipped.push(index);
    }
    closeSync(fd);
  }
  return flipped;
}

async function fillAndUnmount(): Promise<{ store: string; inodes: number[] }> {
  const site = await scene.mount(await scene.mkfs("store"));
  const inodes: number[] = [];
  for (let file = 0; file < FILES; file++) {
    await writeFile(site.at(`file-${file}`), contentOf(file, FILE_BYTES));
    inodes.push((await stat(site.at(`file-${file}`))).ino);
  }
  expect(await site.umount(scene)).toBe(0);
  return { store: site.store, inodes };
}

/** `readFile` takes a short read for the end of the file, and so would miss an error behind it. */
async function readAll(path: string): Promise<Buffer> {
  return Buffer.concat((await createReadStream(path).toArray()) as Buffer[]);
}

async function unreadable(site: TestSite): Promise<string[]> {
  const bad: string[] = [];
  for (let file = 0; file < FILES; file++) {
    try {
      const found = await readAll(site.at(`file-${file}`));
      if (!found.equals(contentOf(file, FILE_BYTES))) bad.push(`${file} differs`);
    } catch (error) {
      bad.push(`${file} ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return bad;
}

describe.skipIf(NO_MOUNTS)(`damage${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  it("a flipped bit in file data makes that file unreadable, and fsck names it", async () => {
    const { store, inodes } = await fillAndUnmount();
    const victim = 5;
    expect(flipIn(store, contentOf(victim, 64), 40)).toEqual([1]);
    expect(segments(store).length).toBeGreaterThan(3);

    const site = await scene.mount(store);
    expect(await unreadable(site)).toEqual([`${victim} EIO`]);
    await writeFile(site.at("new"), "still writable");
    expect(await site.umount(scene)).toBe(0);
    const fsck = await scene.smfs("fsck", store, "--deep");
    expect(fsck.code).toBe(4);
    expect(fsck.output).toContain(`inode ${inodes[victim]} /file-${victim}: bytes `);
    expect(fsck.output).toContain("DAMAGED");
  });

  it("a flipped bit in the tree is refused or named, never shown as something else", async () => {
    const { store } = await fillAndUnmount();
    const name = new TextEncoder().encode("file-7");
    expect(flipIn(store, name, 3).length).toBeGreaterThan(1);
    const fsck = await scene.smfs("fsck", store);
    expect(fsck.code).toBe(4);
    expect(fsck.output).toMatch(/error: .*checksum is wrong/);
    const mounted = await scene.smfs("mount", store, scene.folder("point"));
    expect(mounted.code).toBe(74);
    expect(mounted.errors).toMatch(/smfs: segment \d+ offset \d+: .*checksum is wrong$/);
  });

  it("a truncated last segment is damage: no mount, and the reason", async () => {
    const site = await scene.mount(await scene.mkfs("store"));
    for (let file = 0; file < FILES; file++) {
      await writeFile(site.at(`file-${file}`), contentOf(file, FILE_BYTES));
    }
    await site.crash();
    truncateSync(segments(site.store).at(-1) ?? "", 4097);
    const fsck = await scene.smfs("fsck", site.store, "--deep");
    expect(fsck.code).toBe(4);
    expect(fsck.output).toMatch(/error: segment \d+ offset \d+: .*cut short/);
    const mounted = await scene.smfs("mount", site.store, scene.folder("again"));
    expect(mounted.code).toBe(74);
    expect(mounted.errors).toMatch(/segment \d+ offset \d+: .*cut short/);
  });

  it("a truncated middle segment costs the files that have data there, and fsck names them", async () => {
    const { store, inodes } = await fillAndUnmount();
    const kept = 200_000;
    const [, , cut = ""] = segments(store);
    const before = readFileSync(cut);
    truncateSync(cut, kept);
    const isHit = (file: number): boolean => before.lastIndexOf(tailOf(file)) >= kept;
    const victims = inodes.map((_, file) => file).filter(isHit);
    expect(victims.length).toBeGreaterThan(1);

    const fsck = await scene.smfs("fsck", store, "--deep");
    expect(fsck.code).toBe(4);
    for (const victim of victims)
      expect(fsck.output).toContain(`inode ${inodes[victim]} /file-${victim}: data behind`);
    const site = await scene.mount(store);
    const bad = await unreadable(site);
    expect(bad).toEqual(bad.filter((each) => each.endsWith(" EIO")));
    expect(bad).toEqual(expect.arrayContaining(victims.map((victim) => `${victim} EIO`)));
    expect(bad.length).toBeLessThan(FILES / 2);
  });
});

/** The last bytes of a file. */
function tailOf(file: number): Buffer {
  return contentOf(file, FILE_BYTES).subarray(-64);
}

describe.skipIf(NO_MOUNTS)(
  `a full store${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`,
  () => {
    async function fillEmptyAndCheck(store: string, ...args: readonly string[]): Promise<string[]> {
      const site = await scene.mount(store, ...args);
      const whole = await fillUntilFull(site);
      expect(whole).toBeGreaterThan(10);
      for (let file = 0; file < whole; file++) {
        const found = await readAll(site.at(String(file)));
        expect(found.equals(contentOf(file, FILE_BYTES))).toBe(true);
      }
      for (let file = 0; file < whole; file += 2) await rm(site.at(String(file)));
      const left = await readdir(site.point);
      expect(left.length).toBeLessThan(whole);
      expect(await site.umount(scene)).toBe(0);
      expect(await scene.succeed("fsck", store, "--deep")).toContain(": whole");
      return left.toSorted();
    }

    async function expectUsable(site: TestSite, left: readonly string[]): Promise<void> {
      expect((await readdir(site.point)).toSorted()).toEqual(left);
      await writeFile(site.at("new"), contentOf(1000, MEBI));
      expect((await readAll(site.at("new"))).equals(contentOf(1000, MEBI))).toBe(true);
    }

    it("at its capacity it answers ENOSPC, keeps what it acknowledged, and can be emptied", async () => {
      const store = await scene.mkfs("store");
      const left = await fillEmptyAndCheck(store, "--capacity", "32MiB");
      await expectUsable(await scene.mount(store, "--capacity", "48MiB"), left);
    });

    it.skipIf(NOT_ROOT)("so it does on a full device (needs root for a tmpfs)", async () => {
      const device = scene.folder("device");
      await run("mount", ["-t", "tmpfs", "-o", "size=32m", "tmpfs", device]);
      const store = await scene.mkfs("device/store");
      const left = await fillEmptyAndCheck(store);
      await run("mount", ["-o", "remount,size=48m", device]);
      await expectUsable(await scene.mount(store), left);
    });
  },
);

/** Gives how many files were written whole before there was no room. */
async function fillUntilFull(site: TestSite): Promise<number> {
  for (let file = 0; ; file++) {
    const handle = await open(site.at(String(file)), "w").catch((error: unknown) => {
      expect(error).toMatchObject({ code: "ENOSPC" });
      return null;
    });
    if (handle === null) return file;
    try {
      await handle.writeFile(contentOf(file, FILE_BYTES));
      await handle.sync();
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
      return file;
    } finally {
      await handle.close();
    }
  }
}
