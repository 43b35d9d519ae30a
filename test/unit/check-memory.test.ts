/** A check whose memory is too small for everything at once finds the same, in more walks. */
import { expect, test } from "vitest";
import { type CheckReport, checkVolume } from "../../logfs/core/fs/check.ts";
import { InodeTable, MARK } from "../../logfs/core/fs/check-table.ts";
import { decodeInode, encodeInode, ITEM, keyOf } from "../../logfs/core/fs/items.ts";
import { bytesOf, FsWorld, name, ROOT, WRITE } from "../fs-world.ts";

const FILES = 400;
/** So little that the least there is is taken: 88 inodes and 64 blocks. */
const TINY = 1;

async function check(world: FsWorld, memoryBytes: number): Promise<CheckReport> {
  const { checkpoint } = world.log;
  if (checkpoint === null) throw new Error("no checkpoint");
  const segments = world.disk.list();
  const options = { segments, depth: "data", memoryBytes, paths: "find" } as const;
  return world.run(checkVolume(world.log, checkpoint, options));
}

async function manyFiles() {
  const world = new FsWorld({ nodeBytes: 1024 });
  const { fs } = world;
  const inodes: number[] = [];
  let parent = 1;
  for (let i = 0; i < FILES; i++) {
    if (i % 40 === 0) {
      parent = (await world.run(fs.mkdir(ROOT, parent, name(`d${i}`), 0o755))).inode;
    }
    const { attributes, handle } = await world.run(
      fs.create(ROOT, parent, name(`f${i}`), 0o644, true, WRITE),
    );
    await world.run(fs.write(handle, 0, bytesOf(300, i), "none"));
    await world.run(fs.release(handle));
    inodes.push(attributes.inode);
  }
  return { world, inodes, parent };
}

test("a whole file system is whole in little memory, in several walks", async () => {
  const { world } = await manyFiles();
  const ample = await check(world, 2 ** 26);
  const scarce = await check(world, TINY);
  expect(ample.totals.passes).toBe(1);
  expect(scarce.totals.passes).toBeGreaterThan(8);
  expect(scarce.findings).toEqual([]);
  expect(scarce.totals).toEqual({ ...ample.totals, passes: scarce.totals.passes });
  expect(ample.totals.verifiedBlocks).toBe(FILES);
});

test("wherever it is, what is wrong is found and named, in little memory too", async () => {
  const { world, inodes, parent } = await manyFiles();
  const broken = [0, 1, 87, 88, 200, FILES - 1].map((i) => inodes[i] as number);
  await world.run(
    world.volume.change((t) => {
      for (const inode of broken) {
        const high = keyOf(inode, ITEM.attributes);
        const item = decodeInode(t.get(high, 0) as Uint8Array);
        t.put(high, 0, encodeInode({ ...item, links: 7 }));
      }
    }),
  );
  const [named] = (await check(world, TINY)).findings;
  expect(String.fromCharCode(...(named?.path ?? []))).toBe("/d0/f0");
  // A cycle whose parts are not in the table at the same time.
  await world.run(
    world.volume.change((t) => {
      const first = keyOf(2, ITEM.attributes);
      t.put(first, 0, encodeInode({ ...decodeInode(t.get(first, 0) as Uint8Array), parent }));
    }),
  );
  const ample = await check(world, 2 ** 26);
  const scarce = await check(world, TINY);
  const links = scarce.findings.filter(({ problem }) => problem === "links");
  expect(links.map(({ inode }) => inode)).toEqual(broken);
  const lost = scarce.findings.filter(({ problem }) => problem === "unreachable");
  expect(lost.length).toBe(FILES / 40);
  const texts = ({ findings }: CheckReport) => findings.map(({ what }) => what).toSorted();
  expect(texts(scarce)).toEqual(texts(ample));
});

test("a table keeps the lower inodes when more come than fit, and says where it ends", () => {
  const table = new InodeTable(10, TINY);
  for (let i = 0; i < 5000; i++) {
    const inode = 5 + ((i * 7919) % 5000);
    const slot = table.slotOf(inode);
    if (slot >= 0) table.names[slot] = (table.names[slot] as number) + 1;
  }
  expect(table.end).toBeLessThan(200);
  const sorted = [...table.sorted()];
  expect(sorted).toEqual(Array.from({ length: table.end - 10 }, (_, i) => 10 + i));
  for (const inode of sorted) expect(table.names[table.lookup(inode)]).toBe(1);
  expect(table.slotOf(table.end)).toBe(-1);
  expect(MARK.lost & MARK.rooted).toBe(0);
});
