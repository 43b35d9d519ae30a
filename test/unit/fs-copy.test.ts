/** copyRange through the file system: arguments, ends, rights, levels, and bytes that are copied after all. */
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import type { ItemView } from "../../logfs/core/fs/api.ts";
import { type PlacedExtent, storeExtents, visitExtents } from "../../logfs/core/fs/extents.ts";
import { updateInode } from "../../logfs/core/fs/inodes.ts";
import { OWNERS_MAX, ownersOf } from "../../logfs/core/fs/sharing.ts";
import { moveShared } from "../../logfs/core/fs/sharing-move.ts";
import { BATCH_ITEMS } from "../../logfs/core/fs/truncation.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, type OpenOptions } from "../../logfs/core/vfs.ts";
import {
  APPEND,
  bytesOf,
  expectBytes,
  FsWorld,
  name,
  READ,
  READ_WRITE,
  ROOT,
  user,
  WRITE,
} from "../fs-world.ts";

const SIZE = 200_000;
const PUNCH = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
const END = 2 ** 53 - 1;

async function create(world: FsWorld, called: string, options: OpenOptions = READ_WRITE) {
  const { fs } = world;
  const made = await world.run(fs.create(ROOT, 1, name(called), 0o666, true, options));
  return { inode: made.attributes.inode, handle: made.handle };
}

async function twoFiles(world = new FsWorld()) {
  const [source, target] = [await create(world, "source"), await create(world, "target")];
  await world.run(world.fs.write(source.handle, 0, bytesOf(SIZE), "none"));
  const copy = (from: number, to: number, length: number) =>
    world.fs.copyRange(
      { handle: source.handle, offset: from },
      { handle: target.handle, offset: to },
      length,
    );
  const read = async (inode: number): Promise<Uint8Array> => {
    const handle = await world.run(world.fs.open(ROOT, inode, READ));
    return concatBytes(await world.run(world.fs.read(handle, 0, 2 ** 24)));
  };
  return { world, fs: world.fs, source, target, copy, read };
}

describe("copyRange", () => {
  test("EndsWhereTheSourceEnds", async () => {
    const { world, copy, read, target } = await twoFiles();
    expect(await world.run(copy(SIZE - 5, 10, 100))).toBe(5);
    expect(await world.run(copy(SIZE, 0, 100))).toBe(0);
    expect(await world.run(copy(2 ** 60, 0, 100))).toBe(0);
    expect(await world.run(copy(0, 0, 0))).toBe(0);
    expectBytes(
      await read(target.inode),
      concatBytes([new Uint8Array(10), bytesOf(SIZE).subarray(SIZE - 5)]),
    );
  });

  test("RefusesHandlesAndOffsetsAsLinuxDoes", async () => {
    const { world, fs, source, target, copy } = await twoFiles();
    const opened = (options: OpenOptions) => world.run(fs.open(ROOT, target.inode, options));
    const [reading, writing, appending] = [
      await opened(READ),
      await opened(WRITE),
      await opened(APPEND),
    ];
    const between = (from: number, to: number) => () =>
      fs.copyRange({ handle: from, offset: 0 }, { handle: to, offset: 0 }, 10);
    expect(await world.errno(between(source.handle, reading))).toBe("EBADF");
    expect(await world.errno(between(source.handle, appending))).toBe("EBADF");
    expect(await world.errno(between(writing, source.handle))).toBe("EBADF");
    expect(await world.errno(() => copy(-1, 0, 10))).toBe("EINVAL");
    expect(await world.errno(() => copy(0, -1, 10))).toBe("EINVAL");
    expect(await world.errno(() => copy(0, END - 5, 10))).toBe("EFBIG");
    expect(await world.run(copy(0, END - 5, 5))).toBe(5);
  });

  test("ChangesTimesSizesAndSetIdBitsAsAWriteDoes", async () => {
    const { world, fs, source, target } = await twoFiles();
    const { inode } = target;
    await world.run(fs.setattr(ROOT, inode, { mode: 0o6777 }));
    const before = await world.run(fs.getattr(inode));
    const sourceBefore = await world.run(fs.getattr(source.inode));
    world.settle();
    const to = await world.run(fs.open(user(1000), inode, WRITE));
    await world.run(
      fs.copyRange({ handle: source.handle, offset: 0 }, { handle: to, offset: 1000 }, 5000),
    );
    const after = await world.run(fs.getattr(inode));
    expect(after).toMatchObject({ mode: 0o100777, size: 6000, allocatedBytes: 5000 });
    expect(after.modified.seconds).toBeGreaterThan(before.modified.seconds);
    expect(after.changed).toEqual(after.modified);
    expect(await world.run(fs.getattr(source.inode))).toEqual(sourceBefore);
    expect(fs.statistics).toMatchObject({ sharedBytes: 5000, writtenBytes: SIZE });
  });

  test("WaitsForWhatItsHandleWasOpenedFor", async () => {
    const { world, fs, source, target } = await twoFiles();
    const { waits } = world.committer;
    const handle = await world.run(fs.open(ROOT, target.inode, { ...WRITE, sync: "full" }));
    const start = waits.length;
    await world.run(fs.copyRange({ handle: source.handle, offset: 0 }, { handle, offset: 0 }, 10));
    await world.run(fs.fallocate(handle, 0, 100, 0));
    await world.run(
      fs.copyRange({ handle: source.handle, offset: 0 }, { ...target, offset: 0 }, 10),
    );
    const levels = waits.slice(start).map(({ level }) => level);
    expect(levels).toEqual(["network", "network", "written"]);
  });

  test("CopiesTheBytesOfACrowdedBlock", async () => {
    const { world, fs, source, read } = await twoFiles();
    for (let i = 0; i < OWNERS_MAX + 3; i++) {
      const { handle, inode } = await create(world, `copy ${i}`);
      for (let at = 0; at < SIZE; ) {
        const from = { handle: source.handle, offset: at };
        at += await world.run(fs.copyRange(from, { handle, offset: at }, SIZE - at));
      }
      expectBytes(await read(inode), bytesOf(SIZE));
    }
    expect(fs.statistics).toMatchObject({
      sharedBytes: (OWNERS_MAX - 1) * SIZE,
      writtenBytes: SIZE + 4 * SIZE,
    });
    expect(await world.findings()).toEqual([]);
  });

  test("WaitsForATruncationOfTheTargetThatIsNotFinished", async () => {
    const { world, target, copy, read } = await twoFiles();
    const count = 3 * BATCH_ITEMS;
    await world.run(
      world.volume.change((transaction) => {
        for (let i = 0; i < count; i++) storeExtents(transaction, target.inode, i * 2, bytesOf(1));
        updateInode(transaction, target.inode, (item) => {
          item.size = count * 2;
          item.allocatedBytes = count;
        });
      }),
    );
    const truncated = world.fs.setattr(ROOT, target.inode, { size: 0 });
    expect(truncated).toBeInstanceOf(Promise);
    const copied = copy(0, 100, 1000);
    await world.run(truncated);
    expect(await world.run(copied)).toBe(1000);
    const expected = concatBytes([new Uint8Array(100), bytesOf(SIZE).subarray(0, 1000)]);
    expectBytes(await read(target.inode), expected);
    expect(await world.findings()).toEqual([]);
  });

  test("AMovedBlockIsSharedAtItsNewAddressAfterReplayToo", async () => {
    const { world, source, target, copy } = await twoFiles();
    await world.run(copy(0, 0, SIZE));
    await world.run(world.fs.fallocate(source.handle, 1000, 500, PUNCH));
    const blockAt = (inode: number): PlacedExtent => {
      const found: PlacedExtent[] = [];
      const read = (view: ItemView) =>
        visitExtents(view, inode, 0, 1, (extent) => found.push(extent) < 0);
      expect(world.volume.view(read)).toBeUndefined();
      return found[0] as PlacedExtent;
    };
    const old = blockAt(source.inode);
    const stored = await world.run(
      world.volume.readBlock(old.segment, old.offset, old.storedBytes),
    );
    const moved = world.volume.change((transaction) => moveShared(transaction, old, stored, 0));
    expect((await world.run(moved)).value).toBe(old.storedBytes);
    await world.remount();
    const { segment, offset } = blockAt(target.inode);
    expect(offset).not.toBe(old.offset);
    const ownersAt = (from: number) =>
      world.run(world.volume.view((view) => ownersOf(view, segment, from)));
    const owners = (await ownersAt(offset)).map(({ inode }) => inode);
    expect(new Set(owners)).toEqual(new Set([source.inode, target.inode]));
    expect(await ownersAt(old.offset)).toEqual([]);
    const handle = await world.run(world.fs.open(ROOT, target.inode, READ));
    expectBytes(concatBytes(await world.run(world.fs.read(handle, 0, SIZE))), bytesOf(SIZE));
    expect(await world.findings()).toEqual([]);
  });

  test("WhatWasSharedIsThereAfterAPowerLoss", async () => {
    const { world, copy, source, target } = await twoFiles();
    await world.run(copy(0, 0, SIZE));
    world.settle();
    await world.run(world.fs.setattr(ROOT, source.inode, { size: 0 }));
    await world.crash(7);
    const { fs } = world;
    const handle = await world.run(fs.open(ROOT, target.inode, READ));
    expectBytes(concatBytes(await world.run(fs.read(handle, 0, SIZE))), bytesOf(SIZE));
    expect(await world.findings()).toEqual([]);
  });
});
