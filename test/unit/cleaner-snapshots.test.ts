/** Cleaning what snapshots refer to: they cost what only they refer to, and nothing that is dead. */
import { beforeEach, describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { diffTrees } from "../../logfs/core/fs/diff.ts";
import type { Volume } from "../../logfs/core/fs/api.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { FrozenVolume } from "../../logfs/core/fs/frozen-volume.ts";
import { StoredSnapshot } from "../../logfs/core/fs/stored-snapshot.ts";
import { CleanerWorld } from "../cleaner-world.ts";
import { bytesOf, expectBytes, name, READ, ROOT } from "../fs-world.ts";

const BLOCK = 4096;
const FILE_BLOCKS = 128;

let world: CleanerWorld;
beforeEach(() => {
  world = new CleanerWorld();
});

/** A file whose blocks were overwritten so that each segment is about half dead; its contents. */
async function halfDead(path: string, seed: number): Promise<Uint8Array> {
  const prng = new Prng(seed);
  const content = prng.fill(new Uint8Array(FILE_BLOCKS * BLOCK));
  const { handle } = await world.create(path);
  for (let i = 0; i < 3 * FILE_BLOCKS; i++) {
    const at = (i < FILE_BLOCKS ? i : prng.below(FILE_BLOCKS)) * BLOCK;
    await world.write(handle, at, prng.fill(content.subarray(at, at + BLOCK)));
  }
  await world.run(world.fs.release(handle));
  return content;
}

function take(label: string): void {
  world.volume.snapshots.take(label);
}

function snapshot(label: string): FileSystem {
  const one = world.volume.snapshots.require(label);
  return new FileSystem(world.volume.openSnapshot(one), { wait: () => undefined });
}

async function contentIn(fs: FileSystem, path: string): Promise<Uint8Array> {
  const { inode } = await world.run(fs.lookup(ROOT, 1, name(path)));
  const handle = await world.run(fs.open(ROOT, inode, READ));
  const content = await world.readFrom(fs, handle, 0, 2 * FILE_BLOCKS * BLOCK);
  await world.run(fs.release(handle));
  return content;
}

async function remove(path: string): Promise<void> {
  await world.run(world.fs.unlink(ROOT, 1, name(path)));
}

/** Of the tables of all trees, the most that a segment has, summed. */
function neededBytes(): number {
  const { kept, live } = world.volume;
  return world.log.segments.reduce(
    (sum, { segment }) => sum + Math.max(live.of(segment), kept.mostOf(segment)),
    0,
  );
}

async function diff(from: string, to: string): Promise<string[]> {
  const { volume } = world;
  const [a, b] = [from, to].map((one) => volume.openSnapshot(volume.snapshots.require(one)).nodes);
  if (a === undefined || b === undefined) throw new Error("two snapshots");
  const changes = await world.run(diffTrees(a, b));
  return changes.map(({ kind, path }) => `${kind} ${Buffer.from(path).toString()}`);
}

describe("a snapshot of a half dead store", () => {
  test("costs what is alive, once the store was trimmed", async () => {
    const content = await halfDead("file", 1);
    take("kept");
    const before = world.storeBytes;
    await world.trim();
    expect(world.storeBytes).toBeLessThan(0.6 * before);
    expect(world.storeBytes).toBeLessThan(1.2 * neededBytes());
    expectBytes(await contentIn(snapshot("kept"), "file"), content);
    expectBytes(await contentIn(world.fs, "file"), content);
    expect(await world.findings()).toEqual([]);
  });

  test("keeps what only it refers to, and that goes with it", async () => {
    await world.trim();
    const empty = world.storeBytes;
    const content = await halfDead("file", 1);
    take("kept");
    await remove("file");
    await world.trim();
    const kept = world.storeBytes;
    expect(kept).toBeGreaterThan(content.length);
    expect(kept).toBeLessThan(empty + 1.2 * content.length);
    expectBytes(await contentIn(snapshot("kept"), "file"), content);
    expect(await world.findings()).toEqual([]);
    world.volume.snapshots.remove("kept");
    await world.trim();
    expect(world.storeBytes).toBe(empty);
  });

  test("is returned to after it was moved", async () => {
    await world.trim();
    const empty = world.storeBytes;
    const content = await halfDead("file", 1);
    take("kept");
    await remove("file");
    await world.trim();
    await world.run(world.volume.snapshots.rollBack("kept"));
    expectBytes(await contentIn(world.fs, "file"), content);
    await world.trim();
    expectBytes(await contentIn(world.fs, "file"), content);
    expectBytes(await contentIn(snapshot("kept"), "file"), content);
    expect(await world.findings()).toEqual([]);
    await remove("file");
    world.volume.snapshots.remove("kept");
    await world.trim();
    expect(world.storeBytes).toBeLessThan(empty + 64 * 1024);
    expect(await world.findings()).toEqual([]);
  });

  test("is moved with long attribute values", async () => {
    const { inode } = await world.create("marked");
    const value = bytesOf(20_000);
    await world.run(world.fs.setxattr(ROOT, inode, name("user.long"), value, 0));
    await halfDead("file", 2);
    take("kept");
    const before = world.volume.snapshots.require("kept").root;
    await world.trim();
    const shown = snapshot("kept");
    expect(world.volume.snapshots.require("kept").root).not.toEqual(before);
    expectBytes(await world.run(shown.getxattr(ROOT, inode, name("user.long"))), value);
    expect(await world.findings()).toEqual([]);
  });
});

describe("many snapshots", () => {
  test("of a tree that does not change cost a table each, and stay in common", async () => {
    await halfDead("file", 1);
    take("first");
    await world.trim();
    await world.trim();
    const one = world.storeBytes;
    for (let i = 0; i < 20; i++) take(`more-${i}`);
    await halfDead("other", 2);
    await world.trim();
    await remove("other");
    await world.trim();
    await world.trim();
    expect(world.storeBytes - one).toBeLessThan(64 * 1024);
    const roots = world.volume.keptSnapshots.map(({ root }) => `${root.segment}:${root.offset}`);
    expect(new Set(roots).size).toBeLessThan(3);
    expect(await diff("first", "more-19")).toEqual([]);
    expect(await world.findings()).toEqual([]);
  });

  test("each a little different share what they shared before", async () => {
    const contents: Uint8Array[] = [];
    const content = await halfDead("file", 1);
    const handle = await world.open("file");
    for (let i = 0; i < 6; i++) {
      const data = bytesOf(BLOCK, i + 1);
      await world.write(handle, i * BLOCK, data);
      content.set(data, i * BLOCK);
      contents.push(content.slice());
      take(`s${i}`);
    }
    await world.trim();
    await world.trim();
    for (const [i, wanted] of contents.entries()) {
      expectBytes(await contentIn(snapshot(`s${i}`), "file"), wanted);
    }
    expect(world.storeBytes).toBeLessThan(1.3 * (content.length + 6 * BLOCK) + 128 * 1024);
    expect(await diff("s0", "s5")).toEqual(["modified /file"]);
    expect(await world.findings()).toEqual([]);
  });
});

test("what shares blocks is moved once for all owners in all trees", async () => {
  const source = await world.create("source");
  const data = bytesOf(65_536);
  await world.write(source.handle, 0, data);
  take("alone");
  const copy = await world.create("copy");
  await world.copy(source.handle, copy.handle, data.length);
  take("both");
  await world.remove("source", source.handle);
  await halfDead("file", 3);
  await remove("file");
  const { movedBytes } = await world.trim();
  expect(movedBytes).toBeLessThan(2 * data.length);
  expectBytes(await contentIn(snapshot("alone"), "source"), data);
  expectBytes(await contentIn(snapshot("both"), "source"), data);
  expectBytes(await contentIn(snapshot("both"), "copy"), data);
  expectBytes(await contentIn(world.fs, "copy"), data);
  expect(await world.findings()).toEqual([]);
  await world.run(world.volume.snapshots.rollBack("both"));
  await world.run(world.fs.write(await world.open("copy"), 0, bytesOf(BLOCK), "none"));
  await remove("source");
  await world.trim();
  expect(await world.findings()).toEqual([]);
});

test("who reads a snapshot while it is moved reads on", async () => {
  const content = await halfDead("file", 1);
  take("kept");
  await remove("file");
  const shown = snapshot("kept");
  const { inode } = await world.run(shown.lookup(ROOT, 1, name("file")));
  const handle = await world.run(shown.open(ROOT, inode, READ));
  const trimming = world.cleaner.trim(() => {});
  const over = { yet: false };
  trimming.finally(() => (over.yet = true)).catch(() => {});
  const prng = new Prng(3);
  for (let reads = 0; reads < 200 || !over.yet; reads++) {
    const at = prng.below(FILE_BLOCKS) * BLOCK;
    const read = shown.read(handle, at, BLOCK);
    await world.step(1);
    const parts = await world.run(read);
    expectBytes(parts[0] ?? new Uint8Array(0), content.subarray(at, at + BLOCK));
    if (reads > 20_000) throw new Error("trimming never ends");
  }
  await world.run(trimming);
});

test("who reads a snapshot from the files alone looks again when it was moved", async () => {
  const content = await halfDead("file", 1);
  take("kept");
  await remove("file");
  await world.settle();
  const looks = { count: 0 };
  const look = async (): Promise<Volume> => {
    const { log, volume } = world;
    if (log.checkpoint === null) throw new Error("the log has no checkpoint");
    looks.count++;
    const environment = { clock: world.clock, space: () => world.disk.space() };
    const now = { sequence: log.head.sequence };
    const stored = await FrozenVolume.open(log, log.checkpoint, environment, now);
    return stored.openSnapshot(volume.snapshots.require("kept"));
  };
  const shown = new StoredSnapshot(await world.run(look()), look);
  const fs = new FileSystem(shown, { wait: () => undefined });
  expectBytes(await contentIn(fs, "file"), content);
  expect(looks.count).toBe(1);
  await world.trim();
  expectBytes(await contentIn(fs, "file"), content);
  expect(looks.count).toBeGreaterThan(1);
  world.volume.snapshots.remove("kept");
  await world.trim();
  await expect(contentIn(fs, "file")).rejects.toThrow(/no snapshot/);
});

test.each([1, 2, 3, 4, 5, 6])(
  "taken in the midst of a round it is whole (seed %i)",
  async (seed) => {
    const prng = new Prng(seed);
    const content = await halfDead("file", 1);
    take("before");
    const trimming = world.cleaner.trim(() => {});
    trimming.catch(() => {});
    await world.step(prng.below(300));
    take("during");
    const handle = await world.open("file");
    await world.write(handle, 0, bytesOf(BLOCK));
    await world.run(trimming);
    await world.trim();
    expectBytes(await contentIn(snapshot("before"), "file"), content);
    expectBytes(await contentIn(snapshot("during"), "file"), content);
    expect(await diff("before", "during")).toEqual([]);
    expect(world.cleaner.setAside).toEqual([]);
    expect(await world.findings()).toEqual([]);
  },
);

test("a damaged block of a snapshot is not moved: its segment is kept, the rest goes on", async () => {
  await halfDead("file", 1);
  take("kept");
  await world.settle();
  const [segment] = world.log.segments.map((one) => one.segment);
  const where = await world.someBlockIn(segment ?? 0);
  world.disk.flipBit(where.segment, where.offset + 10, 3);
  for (let i = 0; i < 4; i++) await world.trim();
  expect(world.cleaner.setAside).toEqual([segment]);
  expect(world.cleaner.counters.cleanedSegments).toBeGreaterThan(2);
  const findings = await world.findings();
  expect(findings.length).toBeGreaterThan(0);
  for (const one of findings) expect(one).toContain(`"segment":${segment}`);
});
