import { describe, expect, test } from "vitest";
import { latin1 } from "../../lib/bytes.ts";
import type { ErrnoName } from "../../lib/errno.ts";
import { ITEM, keyOf } from "../../logfs/core/fs/items.ts";
import { updateInode } from "../../logfs/core/fs/inodes.ts";
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
} from "../../logfs/core/fs/modes.ts";
import { BUCKET_SLOTS, freeSlot, hashName } from "../../logfs/core/fs/names.ts";
import { LINK_MAX } from "../../logfs/core/fs/namespace.ts";
import type { MaybePromise } from "../../logfs/core/vfs.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from "../../logfs/core/vfs.ts";
import { FsWorld, name, READ_WRITE, ROOT } from "../fs-world.ts";

/** /file, /link (to file), /symlink, /full/inner, /empty, /deep/a/b */
async function tree() {
  const world = new FsWorld();
  const { fs } = world;
  const { attributes } = await world.run(fs.create(ROOT, 1, name("file"), 0o644, true, READ_WRITE));
  await world.run(fs.link(ROOT, attributes.inode, 1, name("link")));
  const symlink = await world.run(fs.symlink(ROOT, 1, name("symlink"), name("file")));
  const full = await world.run(fs.mkdir(ROOT, 1, name("full"), 0o755));
  await world.run(fs.mkdir(ROOT, full.inode, name("inner"), 0o755));
  const empty = await world.run(fs.mkdir(ROOT, 1, name("empty"), 0o755));
  const deep = await world.run(fs.mkdir(ROOT, 1, name("deep"), 0o755));
  const a = await world.run(fs.mkdir(ROOT, deep.inode, name("a"), 0o755));
  const b = await world.run(fs.mkdir(ROOT, a.inode, name("b"), 0o755));
  const inodes = {
    file: attributes.inode,
    symlink: symlink.inode,
    full: full.inode,
    empty: empty.inode,
    deep: deep.inode,
    a: a.inode,
    b: b.inode,
  };
  return { world, fs, inodes };
}

type Tree = Awaited<ReturnType<typeof tree>>;
type Case = [string, ErrnoName | "ok", (t: Tree) => MaybePromise<unknown>];

function table(cases: Case[]): void {
  test.each(cases)("%s: %s", async (_, expected, act) => {
    const made = await tree();
    expect(await made.world.errno(() => act(made))).toBe(expected);
  });
}

describe("names", () => {
  table([
    ["a name of 255 bytes", "ok", ({ fs }) => fs.mkdir(ROOT, 1, name("x".repeat(255)), 0)],
    ["of 256", "ENAMETOOLONG", ({ fs }) => fs.mkdir(ROOT, 1, name("x".repeat(256)), 0)],
    ["looking up 256", "ENAMETOOLONG", ({ fs }) => fs.lookup(ROOT, 1, name("x".repeat(256)))],
    ["an empty name", "EINVAL", ({ fs }) => fs.mkdir(ROOT, 1, name(""), 0)],
    ["a slash", "EINVAL", ({ fs }) => fs.mkdir(ROOT, 1, name("a/b"), 0)],
    ["a NUL", "EINVAL", ({ fs }) => fs.mkdir(ROOT, 1, name("a\0"), 0)],
    ["dot", "EINVAL", ({ fs }) => fs.mkdir(ROOT, 1, name("."), 0)],
    ["dot dot", "EINVAL", ({ fs }) => fs.rmdir(ROOT, 1, name(".."))],
    ["bytes that are not UTF-8", "ok", ({ fs }) => fs.mkdir(ROOT, 1, Uint8Array.of(0xff, 0x80), 0)],
    ["a missing name", "ENOENT", ({ fs }) => fs.lookup(ROOT, 1, name("nothing"))],
    ["in a file", "ENOTDIR", ({ fs, inodes }) => fs.lookup(ROOT, inodes.file, name("x"))],
    ["in an inode that never was", "ESTALE", ({ fs }) => fs.lookup(ROOT, 999, name("x"))],
  ]);

  test("NamesWithOneHashKeepApartAndShareABucket", async () => {
    const { world } = await tree();
    const high = keyOf(77, ITEM.entry);
    const slots: number[] = [];
    await world.run(
      world.volume.change((transaction) => {
        for (let i = 0; i < 3; i++) {
          slots.push(freeSlot(transaction, high, 512));
          transaction.put(high, slots[i] as number, latin1("x"));
        }
        transaction.delete(high, 513);
        slots.push(freeSlot(transaction, high, 512));
      }),
    );
    expect(slots).toEqual([512, 513, 514, 513]);
  });

  test("AFullBucketIsENOSPC", async () => {
    const { world } = await tree();
    const high = keyOf(77, ITEM.entry);
    const fillThenAsk = () =>
      world.volume.change((transaction) => {
        for (let i = 0; i < BUCKET_SLOTS; i++) transaction.put(high, i, latin1("x"));
        freeSlot(transaction, high, 0);
      });
    expect(await world.errno(fillThenAsk)).toBe("ENOSPC");
  });

  test("HashesAre45BitsAndDependOnTheSeed", () => {
    const hashes = new Set<number>();
    for (let i = 0; i < 20_000; i++) {
      const hash = hashName(latin1(`file-${i}`), 7);
      expect(Number.isSafeInteger(hash) && hash >= 0 && hash < 2 ** 45 - 1).toBe(true);
      hashes.add(hash);
    }
    expect(hashes.size).toBe(20_000);
    expect(hashName(latin1("file-1"), 8)).not.toBe(hashName(latin1("file-1"), 7));
  });
});

describe("making", () => {
  table([
    ["mkdir over a file", "EEXIST", ({ fs }) => fs.mkdir(ROOT, 1, name("file"), 0o755)],
    ["mkdir in a file", "ENOTDIR", ({ fs, inodes }) => fs.mkdir(ROOT, inodes.file, name("x"), 0)],
    [
      "symlink over a symlink",
      "EEXIST",
      ({ fs }) => fs.symlink(ROOT, 1, name("symlink"), name("x")),
    ],
    [
      "a target of 4095 bytes",
      "ok",
      ({ fs }) => fs.symlink(ROOT, 1, name("s"), new Uint8Array(4095).fill(97)),
    ],
    [
      "a target of 4096 bytes",
      "ENAMETOOLONG",
      ({ fs }) => fs.symlink(ROOT, 1, name("s"), new Uint8Array(4096).fill(97)),
    ],
    ["an empty target", "ENOENT", ({ fs }) => fs.symlink(ROOT, 1, name("s"), name(""))],
    ["a fifo", "ok", ({ fs }) => fs.mknod(ROOT, 1, name("n"), S_IFIFO | 0o600, 0)],
    ["a socket", "ok", ({ fs }) => fs.mknod(ROOT, 1, name("n"), S_IFSOCK | 0o600, 0)],
    ["a block device", "ok", ({ fs }) => fs.mknod(ROOT, 1, name("n"), S_IFBLK | 0o600, 0x801)],
    ["a file by mknod", "ok", ({ fs }) => fs.mknod(ROOT, 1, name("n"), S_IFREG | 0o600, 0)],
    ["mknod without a type", "EINVAL", ({ fs }) => fs.mknod(ROOT, 1, name("n"), 0o600, 0)],
    [
      "create over a file, not exclusive",
      "ok",
      ({ fs }) => fs.create(ROOT, 1, name("file"), 0, false, READ_WRITE),
    ],
    [
      "create over a file, exclusive",
      "EEXIST",
      ({ fs }) => fs.create(ROOT, 1, name("file"), 0, true, READ_WRITE),
    ],
    [
      "create over a directory",
      "EISDIR",
      ({ fs }) => fs.create(ROOT, 1, name("empty"), 0, false, READ_WRITE),
    ],
    [
      "create over a symlink",
      "ELOOP",
      ({ fs }) => fs.create(ROOT, 1, name("symlink"), 0, false, READ_WRITE),
    ],
    ["readlink of a file", "EINVAL", ({ fs, inodes }) => fs.readlink(inodes.file)],
  ]);

  test("DeviceNumbersAreKeptForDevicesOnly", async () => {
    const { world, fs } = await tree();
    const device = await world.run(fs.mknod(ROOT, 1, name("c"), S_IFCHR | 0o600, 0x0103));
    const fifo = await world.run(fs.mknod(ROOT, 1, name("p"), S_IFIFO | 0o600, 0x0103));
    expect([device.device, fifo.device]).toEqual([0x0103, 0]);
  });

  test("DirectoriesCountSubdirectoriesAsLinksAndEntriesAsSize", async () => {
    const { world, fs, inodes } = await tree();
    const root = await world.run(fs.getattr(1));
    expect(root).toMatchObject({ links: 5, size: 6 * 32 });
    expect(await world.run(fs.getattr(inodes.full))).toMatchObject({ links: 3, size: 32 });
    await world.run(fs.rmdir(ROOT, 1, name("empty")));
    expect(await world.run(fs.getattr(1))).toMatchObject({ links: 4, size: 5 * 32 });
  });

  test("ParentsGetANewMtimeAndCtime", async () => {
    const { world, fs, inodes } = await tree();
    world.clock.advance(5_000_000);
    const made = await world.run(fs.mkdir(ROOT, inodes.empty, name("x"), 0o755));
    const parent = await world.run(fs.getattr(inodes.empty));
    expect(parent.modified).toEqual(made.modified);
    expect(parent.changed).toEqual(made.changed);
    expect(parent.accessed).not.toEqual(made.accessed);
  });
});

describe("links", () => {
  table([
    ["over a name", "EEXIST", ({ fs, inodes }) => fs.link(ROOT, inodes.file, 1, name("link"))],
    ["of a directory", "EPERM", ({ fs, inodes }) => fs.link(ROOT, inodes.empty, 1, name("x"))],
    ["of a symlink", "ok", ({ fs, inodes }) => fs.link(ROOT, inodes.symlink, 1, name("x"))],
    ["of what is gone", "ESTALE", ({ fs }) => fs.link(ROOT, 999, 1, name("x"))],
  ]);

  test("TheLastLinkTakesTheFile", async () => {
    const { world, fs, inodes } = await tree();
    await world.run(fs.release(0));
    await world.run(fs.unlink(ROOT, 1, name("file")));
    expect((await world.run(fs.getattr(inodes.file))).links).toBe(1);
    await world.run(fs.unlink(ROOT, 1, name("link")));
    expect(await world.errno(() => fs.getattr(inodes.file))).toBe("ESTALE");
  });

  test("LinksEndAtLinkMax", async () => {
    const { world, fs, inodes } = await tree();
    const atLimit = (inode: number) =>
      world.volume.change((t) => updateInode(t, inode, (item) => (item.links = LINK_MAX)));
    await world.run(atLimit(inodes.file));
    await world.run(atLimit(inodes.empty));
    expect(await world.errno(() => fs.link(ROOT, inodes.file, 1, name("x")))).toBe("EMLINK");
    expect(await world.errno(() => fs.mkdir(ROOT, inodes.empty, name("x"), 0))).toBe("EMLINK");
    expect(
      await world.errno(() => fs.rename(ROOT, 1, name("deep"), inodes.empty, name("x"), 0)),
    ).toBe("EMLINK");
  });
});

describe("removing", () => {
  table([
    ["unlink of a directory", "EISDIR", ({ fs }) => fs.unlink(ROOT, 1, name("empty"))],
    ["unlink of nothing", "ENOENT", ({ fs }) => fs.unlink(ROOT, 1, name("x"))],
    ["rmdir of a file", "ENOTDIR", ({ fs }) => fs.rmdir(ROOT, 1, name("file"))],
    ["rmdir of a full directory", "ENOTEMPTY", ({ fs }) => fs.rmdir(ROOT, 1, name("full"))],
    ["rmdir of an empty one", "ok", ({ fs }) => fs.rmdir(ROOT, 1, name("empty"))],
  ]);

  test("AHeldDirectoryThatWasRemovedTakesNoNames", async () => {
    const { world, fs, inodes } = await tree();
    fs.hold(inodes.empty);
    await world.run(fs.rmdir(ROOT, 1, name("empty")));
    expect((await world.run(fs.getattr(inodes.empty))).links).toBe(0);
    const attempts = [
      () => fs.mkdir(ROOT, inodes.empty, name("x"), 0o755),
      () => fs.link(ROOT, inodes.file, inodes.empty, name("x")),
      () => fs.rename(ROOT, 1, name("file"), inodes.empty, name("x"), 0),
      () => fs.create(ROOT, inodes.empty, name("x"), 0o644, true, READ_WRITE),
    ];
    for (const attempt of attempts) expect(await world.errno(attempt)).toBe("ENOENT");
    await world.run(fs.drop(inodes.empty));
    expect(await world.errno(() => fs.getattr(inodes.empty))).toBe("ESTALE");
  });
});

describe("rename", () => {
  const move =
    (from: string, to: string, flags = 0): Case[2] =>
    ({ fs }) =>
      fs.rename(ROOT, 1, name(from), 1, name(to), flags);
  table([
    ["nothing", "ENOENT", move("x", "y")],
    ["a file over a file", "ok", move("file", "symlink")],
    ["a file over a directory", "EISDIR", move("file", "empty")],
    ["a directory over a file", "ENOTDIR", move("empty", "file")],
    ["a directory over an empty one", "ok", move("full", "empty")],
    ["a directory over a full one", "ENOTEMPTY", move("empty", "full")],
    ["over itself", "ok", move("empty", "empty")],
    [
      "into itself",
      "EINVAL",
      ({ fs, inodes }) => fs.rename(ROOT, 1, name("deep"), inodes.deep, name("x"), 0),
    ],
    [
      "into its own tree",
      "EINVAL",
      ({ fs, inodes }) => fs.rename(ROOT, 1, name("deep"), inodes.b, name("x"), 0),
    ],
    [
      "over the directory it stands in",
      "ENOTEMPTY",
      ({ fs, inodes }) => fs.rename(ROOT, inodes.a, name("b"), 1, name("deep"), 0),
    ],
    ["NOREPLACE over a name", "EEXIST", move("file", "symlink", RENAME_NOREPLACE)],
    ["NOREPLACE to a free name", "ok", move("file", "new", RENAME_NOREPLACE)],
    ["EXCHANGE with nothing", "ENOENT", move("file", "new", RENAME_EXCHANGE)],
    ["EXCHANGE of file and directory", "ok", move("file", "full", RENAME_EXCHANGE)],
    [
      "EXCHANGE with its own ancestor",
      "EINVAL",
      ({ fs, inodes }) => fs.rename(ROOT, inodes.a, name("b"), 1, name("deep"), RENAME_EXCHANGE),
    ],
    ["both flags", "EINVAL", move("file", "link", RENAME_EXCHANGE | RENAME_NOREPLACE)],
    ["an unknown flag", "EINVAL", move("file", "new", 4)],
  ]);

  test("TwoNamesOfOneInodeBothStay", async () => {
    const { world, fs, inodes } = await tree();
    await world.run(fs.rename(ROOT, 1, name("file"), 1, name("link"), 0));
    expect((await world.run(fs.lookup(ROOT, 1, name("file")))).inode).toBe(inodes.file);
    expect((await world.run(fs.getattr(inodes.file))).links).toBe(2);
  });

  test("AMovedDirectoryHasANewParentAndCountsThere", async () => {
    const { world, fs, inodes } = await tree();
    await world.run(fs.rename(ROOT, inodes.deep, name("a"), inodes.empty, name("moved"), 0));
    expect((await world.run(fs.lookup(ROOT, inodes.a, name("..")))).inode).toBe(inodes.empty);
    expect((await world.run(fs.getattr(inodes.deep))).links).toBe(2);
    expect((await world.run(fs.getattr(inodes.empty))).links).toBe(3);
  });

  test("ExchangeSwapsParentsAndLinkCounts", async () => {
    const { world, fs, inodes } = await tree();
    await world.run(fs.rename(ROOT, inodes.deep, name("a"), 1, name("file"), RENAME_EXCHANGE));
    const moved = await world.run(fs.lookup(ROOT, 1, name("file")));
    expect(moved).toMatchObject({ inode: inodes.a, mode: S_IFDIR | 0o755 });
    expect((await world.run(fs.lookup(ROOT, inodes.a, name("..")))).inode).toBe(1);
    expect((await world.run(fs.getattr(inodes.deep))).links).toBe(2);
    expect((await world.run(fs.getattr(1))).links).toBe(6);
  });

  test("AReplacedFileLosesALinkAndIsCollected", async () => {
    const { world, fs, inodes } = await tree();
    await world.run(fs.rename(ROOT, 1, name("file"), 1, name("symlink"), 0));
    expect(await world.errno(() => fs.getattr(inodes.symlink))).toBe("ESTALE");
    expect((await world.run(fs.lookup(ROOT, 1, name("symlink")))).inode).toBe(inodes.file);
  });
});

describe("readdir", () => {
  async function list(world: FsWorld, inode: number, cookie = 0, limit = Infinity) {
    const seen: { name: string; cookie: number }[] = [];
    const visit = (entry: { name: Uint8Array; cookie: number }) => {
      if (seen.length >= limit) return false;
      seen.push({ name: String.fromCharCode(...entry.name), cookie: entry.cookie });
      return true;
    };
    await world.run(world.fs.readdir(ROOT, inode, cookie, visit));
    return seen;
  }

  test("OfAFileIsENOTDIR", async () => {
    const { world, fs, inodes } = await tree();
    expect(await world.errno(() => fs.readdir(ROOT, inodes.file, 0, () => true))).toBe("ENOTDIR");
  });

  test("EveryEntryOnceWithItsTypeWhereverItIsResumed", async () => {
    const { world } = await tree();
    const all = await list(world, 1);
    expect(all.map((entry) => entry.name).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      "deep",
      "empty",
      "file",
      "full",
      "link",
      "symlink",
    ]);
    for (let i = 0; i < all.length; i++) {
      expect(await list(world, 1, all[i]?.cookie)).toEqual(all.slice(i + 1));
    }
    for (const { cookie } of all) expect(cookie).toBeGreaterThan(2);
  });

  test("TwentyThousandEntriesStayInPlaceWhileOthersComeAndGo", async () => {
    const world = new FsWorld({ limits: { cacheBytes: 262_144, dirtyBytes: 524_288 } });
    const { fs } = world;
    const total = 20_000;
    for (let i = 0; i < total; i++) {
      await world.run(fs.mknod(ROOT, 1, name(`kept-${i}`), S_IFREG | 0o644, 0));
    }
    const seen = new Map<string, number>();
    let cookie = 0;
    for (let round = 0; ; round++) {
      const batch = await list(world, 1, cookie, 500);
      for (const entry of batch) seen.set(entry.name, (seen.get(entry.name) ?? 0) + 1);
      if (batch.length < 500) break;
      cookie = batch.at(-1)?.cookie ?? 0;
      await world.run(fs.mknod(ROOT, 1, name(`new-${round}`), S_IFREG | 0o644, 0));
      if (round > 0) await world.run(fs.unlink(ROOT, 1, name(`new-${round - 1}`)));
    }
    const kept = [...seen].filter(([key]) => key.startsWith("kept-"));
    expect(kept.length).toBe(total);
    expect(kept.every(([, times]) => times === 1)).toBe(true);
    expect(world.volume.statistics.checkpoints).toBeGreaterThan(0);
  });
});
