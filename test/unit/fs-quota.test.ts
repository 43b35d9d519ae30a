import { describe, expect, test } from "vitest";
import type { ErrnoName } from "../../lib/errno.ts";
import { NO_QUOTA } from "../../logfs/core/fs/superblock.ts";
import type { MaybePromise } from "../../logfs/core/vfs.ts";
import { FsWorld, name, READ_WRITE, ROOT } from "../fs-world.ts";

/** A file of 1000 bytes and an empty one; the root directory is the third inode. */
async function made() {
  const world = new FsWorld();
  const open = async (file: string) =>
    world.run(world.fs.create(ROOT, 1, name(file), 0o644, true, READ_WRITE));
  const full = await open("full");
  await world.run(world.fs.write(full.handle, 0, new Uint8Array(1000), "none"));
  const empty = await open("empty");
  return { world, full, empty };
}

type Made = Awaited<ReturnType<typeof made>>;
type Act = (made: Made) => MaybePromise<unknown>;

const write =
  (at: number, length: number): Act =>
  ({ world, full }) =>
    world.fs.write(full.handle, at, new Uint8Array(length).fill(1), "none");

describe("with a quota of 1500 bytes and 4 inodes, of which 1000 and 3 are used", () => {
  test.each<[string, ErrnoName | "ok", Act]>([
    ["writing what is left", "ok", write(1000, 500)],
    ["writing a byte more", "EDQUOT", write(1000, 501)],
    ["overwriting", "ok", write(0, 1000)],
    ["writing behind a hole", "ok", write(1e9, 500)],
    [
      "setting a size",
      "ok",
      ({ world, full }) => world.fs.setattr(ROOT, full.attributes.inode, { size: 1e9 }),
    ],
    [
      "allocating, which reserves nothing",
      "ok",
      ({ world, full }) => world.fs.fallocate(full.handle, 0, 400, 0),
    ],
    [
      "a long attribute",
      "EDQUOT",
      ({ world, full }) =>
        world.fs.setxattr(ROOT, full.attributes.inode, name("user.a"), new Uint8Array(5000), 0),
    ],
    [
      "sharing what fits",
      "ok",
      ({ world, full, empty }) =>
        world.fs.copyRange(
          { handle: full.handle, offset: 0 },
          { handle: empty.handle, offset: 0 },
          400,
        ),
    ],
    [
      "sharing what does not fit",
      "EDQUOT",
      ({ world, full, empty }) =>
        world.fs.copyRange(
          { handle: full.handle, offset: 0 },
          { handle: empty.handle, offset: 0 },
          1000,
        ),
    ],
    ["the last inode", "ok", ({ world }) => world.fs.mkdir(ROOT, 1, name("d"), 0o755)],
    [
      "another name of an inode",
      "ok",
      ({ world, full }) => world.fs.link(ROOT, full.attributes.inode, 1, name("l")),
    ],
    ["removing", "ok", ({ world }) => world.fs.unlink(ROOT, 1, name("full"))],
  ])("%s: %s", async (_, errno, act) => {
    const setting = await made();
    setting.world.volume.setQuota({ bytes: 1500, inodes: 4 });
    expect(await setting.world.errno(() => act(setting))).toBe(errno);
    expect(await setting.world.findings()).toEqual([]);
  });

  test("a second new inode is refused until one is removed", async () => {
    const { world, empty } = await made();
    const { fs } = world;
    world.volume.setQuota({ bytes: 0, inodes: 4 });
    const mkdir = (path: string) => world.errno(() => fs.mkdir(ROOT, 1, name(path), 0o755));
    expect([await mkdir("a"), await mkdir("b")]).toEqual(["ok", "EDQUOT"]);
    await world.run(fs.release(empty.handle));
    await world.run(fs.unlink(ROOT, 1, name("empty")));
    expect(await mkdir("b")).toBe("ok");
  });
});

test("a quota below what is used stops growth only, and survives", async () => {
  const { world, full } = await made();
  world.volume.setQuota({ bytes: 10, inodes: 1 });
  await world.remount();
  const { fs } = world;
  const handle = await world.run(fs.open(ROOT, full.attributes.inode, READ_WRITE));
  const put = (at: number) => world.errno(() => fs.write(handle, at, new Uint8Array(1), "none"));
  expect([await put(0), await put(1000)]).toEqual(["ok", "EDQUOT"]);
  expect(await world.errno(() => fs.mkdir(ROOT, 1, name("d"), 0o755))).toBe("EDQUOT");
  expect(await world.errno(() => fs.setattr(ROOT, full.attributes.inode, { size: 0 }))).toBe("ok");
  expect(await put(0)).toBe("ok");
  world.volume.setQuota(NO_QUOTA);
  expect(await put(1000)).toBe("ok");
  await world.remount();
  expect(world.volume.statistics.quota).toEqual(NO_QUOTA);
});

test("statfs shows the quota where it is less than the device has", async () => {
  const { world } = await made();
  const device = world.fs.statfs();
  world.volume.setQuota({ bytes: 4000, inodes: 10 });
  const { totalBytes, freeBytes, inodes, freeInodes } = world.fs.statfs();
  expect({ totalBytes, freeBytes, inodes, freeInodes }).toEqual({
    totalBytes: 4000,
    freeBytes: 3000,
    inodes: 3,
    freeInodes: 7,
  });
  world.volume.setQuota({ bytes: 100, inodes: 2 });
  expect(world.fs.statfs()).toMatchObject({ totalBytes: 100, freeBytes: 0, freeInodes: 0 });
  world.volume.setQuota({ bytes: 2 ** 50, inodes: 0 });
  expect(world.fs.statfs()).toMatchObject({ totalBytes: device.totalBytes });
});

test("a rollback keeps the quota, and may pass it", async () => {
  const { world } = await made();
  world.volume.snapshots.take("full");
  await world.run(world.fs.unlink(ROOT, 1, name("empty")));
  world.volume.setQuota({ bytes: 10, inodes: 2 });
  await world.run(world.volume.snapshots.rollBack("full"));
  expect(world.volume.statistics).toMatchObject({
    inodes: 3,
    dataBytes: 1000,
    quota: { bytes: 10, inodes: 2 },
  });
});
