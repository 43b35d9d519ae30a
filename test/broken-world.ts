/** A small file system with one of everything, and ways to break each of its rules. */
import type { Transaction } from "../logfs/core/fs/api.ts";
import {
  decodeEntry,
  decodeExtent,
  decodeInode,
  encodeEntry,
  encodeExtent,
  encodeInode,
  type InodeItem,
  ITEM,
  keyOf,
  ORPHANS,
} from "../logfs/core/fs/items.ts";
import { S_IFDIR, S_IFREG } from "../logfs/core/fs/modes.ts";
import { hashName } from "../logfs/core/fs/names.ts";
import { bytesOf, FsWorld, name, READ_WRITE, ROOT } from "./fs-world.ts";

const NAME_SEED = 7;
const LOW_MAX = Number.MAX_SAFE_INTEGER;

/** A small file system with one of everything; `ids` are its inodes. */
export async function populated() {
  const world = new FsWorld({ nodeBytes: 1024, limits: { cacheBytes: 20_000 } });
  const { fs } = world;
  const directory = async (parent: number, text: string) =>
    (await world.run(fs.mkdir(ROOT, parent, name(text), 0o755))).inode;
  const file = async (parent: number, text: string, length: number) => {
    const { attributes, handle } = await world.run(
      fs.create(ROOT, parent, name(text), 0o644, true, READ_WRITE),
    );
    if (length > 0) await world.run(fs.write(handle, 0, bytesOf(length), "none"));
    return { inode: attributes.inode, handle };
  };
  const a = await directory(1, "a");
  const b = await directory(a, "b");
  const big = await file(b, "big", 200_000);
  // Cut in the middle, so that two extents share a stored block.
  await world.run(fs.write(big.handle, 70_000, bytesOf(1000, 5), "none"));
  for (let i = 0; i < 60; i++) await world.run(fs.release((await file(a, `f${i}`, i * 10)).handle));
  await world.run(fs.link(ROOT, big.inode, 1, name("again")));
  await world.run(fs.symlink(ROOT, 1, name("link"), name("a/b/big")));
  await world.run(fs.setxattr(ROOT, big.inode, name("user.long"), bytesOf(5000), 0));
  await world.run(fs.setxattr(ROOT, big.inode, name("user.short"), bytesOf(20), 0));
  const held = await file(1, "held", 3000);
  await world.run(fs.unlink(ROOT, 1, name("held")));
  return { world, ids: { a, b, big: big.inode, held: held.inode } };
}

export async function change(world: FsWorld, operation: (transaction: Transaction) => void) {
  await world.run(world.volume.change(operation));
}

function editInode(transaction: Transaction, inode: number, edit: (item: InodeItem) => void) {
  const item = decodeInode(transaction.get(keyOf(inode, ITEM.attributes), 0) as Uint8Array);
  edit(item);
  transaction.put(keyOf(inode, ITEM.attributes), 0, encodeInode(item));
}

function firstExtent(transaction: Transaction, inode: number) {
  const found: { low: number; value: Uint8Array }[] = [];
  transaction.scan(keyOf(inode, ITEM.extent), 0, LOW_MAX, (low, value) => {
    found.push({ low, value: value.slice() });
    return false;
  });
  const [extent] = found;
  if (extent === undefined) throw new Error("no extent");
  return extent;
}

/** Each breaks one thing; the check must say so, in these words, about that inode. */
export type Ids = Awaited<ReturnType<typeof populated>>["ids"];
export const breakages: [string, (t: Transaction, ids: Ids) => void, RegExp, keyof Ids | null][] = [
  [
    "a link too many",
    (t, { big }) => editInode(t, big, (item) => item.links++),
    /says 3 links, has 2 names/,
    "big",
  ],
  [
    "a vanished inode",
    (t, { b }) => t.delete(keyOf(b, ITEM.attributes), 0),
    /without attributes/,
    "b",
  ],
  [
    "a vanished inode's entry",
    (t, { b }) => t.delete(keyOf(b, ITEM.attributes), 0),
    /an entry leads to inode \d+, which does not exist/,
    "a",
  ],
  [
    "an inode that no name leads to",
    (t, { a }) => t.put(keyOf(t.allocateInode(), ITEM.attributes), 0, lonely(t, a)),
    /says 1 links, has 0 names/,
    null,
  ],
  [
    "an orphan forgotten",
    (t, { held }) => t.delete(ORPHANS, held),
    /without links and not an orphan/,
    "held",
  ],
  [
    "an orphan that has names",
    (t, { big }) => t.put(ORPHANS, big, new Uint8Array(0)),
    /an orphan with 2 links/,
    "big",
  ],
  [
    "overlapping extents",
    (t, { big }) => t.put(keyOf(big, ITEM.extent), 100, firstExtent(t, big).value),
    /extents overlap at 100/,
    "big",
  ],
  [
    "data in a segment that is not there",
    (t, { big }) => {
      const { low, value } = firstExtent(t, big);
      const moved = encodeExtent({ ...decodeExtent(value), segment: 99 });
      t.put(keyOf(big, ITEM.extent), low, moved);
    },
    /segment 99 does not exist/,
    "big",
  ],
  [
    "a wrong size of a directory",
    (t, { a }) => editInode(t, a, (item) => (item.size += 32)),
    /a directory of 61 entries says size/,
    "a",
  ],
  [
    "data behind the size",
    (t, { big }) => editInode(t, big, (item) => (item.size = 10)),
    /data up to 200000, behind its size 10/,
    "big",
  ],
  [
    "a wrong parent",
    (t, { b }) => editInode(t, b, (item) => (item.parent = 1)),
    /says it stands in 1, stands in/,
    "b",
  ],
  [
    "an entry in the wrong bucket",
    (t, { a, big }) =>
      t.put(keyOf(a, ITEM.entry), 5, encodeEntry({ inode: big, type: S_IFREG, name: name("x") })),
    /entry 5 stands where its name does not lead/,
    "a",
  ],
  [
    "an entry of the wrong type",
    (t, { a, b, big }) => {
      const low = hashName(name("x"), NAME_SEED) * 256;
      const entry = encodeEntry({ inode: big, type: S_IFDIR, name: name("x") });
      t.put(keyOf(b, ITEM.entry), low, entry);
      void a;
    },
    /an entry of another type than its inode/,
    null,
  ],
  [
    "a wrong count of inodes",
    (t) => t.adjust({ inodes: 1 }),
    /the volume counts 66 inodes, has 65|the volume counts \d+ inodes/,
    null,
  ],
  ["a wrong count of bytes", (t) => t.adjust({ dataBytes: 5 }), /bytes of data, has/, null],
  [
    "bytes freed that are in use",
    (t) => t.free(1, 100, 7),
    /segment 1 counts \d+ live bytes/,
    null,
  ],
  [
    "a directory that stands in itself",
    (t, { a }) => {
      t.delete(keyOf(1, ITEM.entry), hashName(name("a"), NAME_SEED) * 256);
      const low = hashName(name("me"), NAME_SEED) * 256;
      t.put(keyOf(a, ITEM.entry), low, encodeEntry({ inode: a, type: S_IFDIR, name: name("me") }));
      editInode(t, a, (item) => (item.parent = a));
    },
    /not reachable from the root/,
    "a",
  ],
];

function lonely(transaction: Transaction, like: number): Uint8Array {
  const value = transaction.get(keyOf(like, ITEM.attributes), 0) as Uint8Array;
  return encodeInode({ ...decodeInode(value), mode: S_IFREG | 0o644, links: 1, size: 0 });
}

/** Further ones that only a repair is tried on. */
export const moreBreakages: [string, (t: Transaction, ids: Ids) => void][] = [
  ["a root that is gone", (t) => t.delete(keyOf(1, ITEM.attributes), 0)],
  ["a directory that lost its name", (t) => removeName(t, 1, "a")],
  ["an inner directory that lost its name", (t, { a }) => removeName(t, a, "b")],
  ["a file that lost its attributes", (t, { big }) => t.delete(keyOf(big, ITEM.attributes), 0)],
  ["an item that is no item", (t, { big }) => t.put(keyOf(big, ITEM.extent), 7, new Uint8Array(3))],
  [
    "an item of no kind",
    (t, { big }) => t.put(keyOf(big, ITEM.attributes) + 11, 7, new Uint8Array(3)),
  ],
  [
    "a directory of two names",
    (t, { b }) => {
      const low = hashName(name("twice"), NAME_SEED) * 256;
      t.put(
        keyOf(1, ITEM.entry),
        low,
        encodeEntry({ inode: b, type: S_IFDIR, name: name("twice") }),
      );
    },
  ],
  [
    "a wrong size of a symlink",
    (t) => {
      const lows: number[] = [];
      t.scan(keyOf(1, ITEM.entry), 0, LOW_MAX, (_, value) => {
        const { inode, type } = decodeEntry(value);
        if (type === 0o120000) lows.push(inode);
        return true;
      });
      for (const inode of lows) editInode(t, inode, (item) => (item.size += 3));
    },
  ],
  [
    "a wrong sum of allocated bytes",
    (t, { big }) => editInode(t, big, (i) => (i.allocatedBytes += 9)),
  ],
  ["a mark without a truncation", (t, { big }) => editInode(t, big, (i) => (i.flags |= 1))],
  [
    "a file with entries",
    (t, { big, b }) =>
      t.put(keyOf(big, ITEM.entry), 0, encodeEntry({ inode: b, type: S_IFDIR, name: name("in") })),
  ],
  [
    "an inode number that is to be given again",
    (t) => t.put(keyOf(9999, ITEM.attributes), 0, lonely(t, 1)),
  ],
];

function removeName(transaction: Transaction, directory: number, text: string): void {
  transaction.delete(keyOf(directory, ITEM.entry), hashName(name(text), NAME_SEED) * 256);
}
