/** Blocks of several owners: who points into one is listed, who is listed points into it. */
import { expect, test } from "vitest";
import type { Transaction } from "../../logfs/core/fs/api.ts";
import {
  decodeExtent,
  decodeInode,
  decodeOwners,
  encodeInode,
  encodeOwners,
  ITEM,
  keyOf,
  sharedKey,
} from "../../logfs/core/fs/items.ts";
import { bytesOf, FsWorld, name, READ_WRITE, ROOT } from "../fs-world.ts";
import { expectClean, repair, stop, treeOf } from "../repair-world.ts";

async function withCopies() {
  const world = new FsWorld({ nodeBytes: 1024 });
  const { fs } = world;
  const inodes: number[] = [];
  const handles: number[] = [];
  for (const text of ["one", "two", "three"]) {
    const made = await world.run(fs.create(ROOT, 1, name(text), 0o644, true, READ_WRITE));
    inodes.push(made.attributes.inode);
    handles.push(made.handle);
  }
  const [one = 0, two = 0, three = 0] = handles;
  await world.run(fs.write(one, 0, bytesOf(50_000), "none"));
  for (const [target, length] of [
    [two, 50_000],
    [three, 20_000],
  ] as const) {
    const copied = await world.run(
      fs.copyRange({ handle: one, offset: 0 }, { handle: target, offset: 100 }, length),
    );
    expect(copied).toBe(length);
  }
  return { world, inodes };
}

function blockOf(t: Transaction, inode: number): { segment: number; offset: number } {
  const item = t.floor(keyOf(inode, ITEM.extent), 1000);
  return decodeExtent(item?.value ?? new Uint8Array(0));
}

const breakages: readonly [string, (t: Transaction, inodes: readonly number[]) => void, number][] =
  [
    [
      "no item lists its owners",
      (t, [one = 0]) => {
        const { segment, offset } = blockOf(t, one);
        t.delete(sharedKey(segment), offset);
      },
      3,
    ],
    [
      "an owner is not listed",
      (t, [one = 0, two = 0]) => {
        const { segment, offset } = blockOf(t, one);
        const listed = decodeOwners(t.get(sharedKey(segment), offset) ?? new Uint8Array(0));
        const others = listed.filter(({ inode }) => inode !== two);
        t.put(sharedKey(segment), offset, encodeOwners(others));
      },
      1,
    ],
    [
      "an owner is listed that has nothing of it",
      (t, [one = 0]) => {
        const { segment, offset } = blockOf(t, one);
        const listed = decodeOwners(t.get(sharedKey(segment), offset) ?? new Uint8Array(0));
        t.put(sharedKey(segment), offset, encodeOwners([...listed, { inode: one, start: 7777 }]));
      },
      1,
    ],
    [
      "an owner is not marked as one",
      (t, [, two = 0]) => {
        const high = keyOf(two, ITEM.attributes);
        const item = decodeInode(t.get(high, 0) ?? new Uint8Array(0));
        t.put(high, 0, encodeInode({ ...item, flags: 0 }));
      },
      1,
    ],
  ];

test("files that share blocks are whole", async () => {
  const { world } = await withCopies();
  expect(await world.findings()).toEqual([]);
});

test.each(breakages)("%s: found, and repaired", async (_, breakIt, count) => {
  const { world, inodes } = await withCopies();
  const before = await treeOf(world);
  await world.run(world.volume.change((t) => breakIt(t, inodes)));
  const found = (await world.findings()).filter(({ problem }) => problem === "shared");
  expect(found.length).toBe(count);
  stop(world);
  expectClean(await repair(world));
  await world.remount();
  expect(await treeOf(world)).toEqual(before);
  expect(await world.findings()).toEqual([]);
});
