/** How long inodes live, what survives a crash, what an operation waits for. */
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { SyncOptions } from "../../logfs/core/fs/api.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { storeExtents } from "../../logfs/core/fs/extents.ts";
import { updateInode } from "../../logfs/core/fs/inodes.ts";
import { BATCH_ITEMS } from "../../logfs/core/fs/truncation.ts";
import { FALLOC_KEEP_SIZE, type SyncLevel, type SyncRequest } from "../../logfs/core/vfs.ts";
import { bytesOf, expectBytes, FsWorld, name, READ, READ_WRITE, ROOT, WRITE } from "../fs-world.ts";

async function oneFile(world = new FsWorld()) {
  const { fs } = world;
  const made = await world.run(fs.create(ROOT, 1, name("f"), 0o644, true, READ_WRITE));
  return { world, fs, handle: made.handle, inode: made.attributes.inode };
}

describe("unlinked and still used", () => {
  test("AnOpenFileIsReadAndWrittenUntilItsLastRelease", async () => {
    const { world, fs, handle, inode } = await oneFile();
    const second = await world.run(fs.open(ROOT, inode, READ));
    await world.run(fs.unlink(ROOT, 1, name("f")));
    expect(fs.statistics.orphans).toBe(1);
    await world.run(fs.write(handle, 0, bytesOf(100_000), "none"));
    await world.run(fs.release(handle));
    expectBytes(concatBytes(await world.run(fs.read(second, 0, 100_000))), bytesOf(100_000));
    expect((await world.run(fs.getattr(inode))).links).toBe(0);
    await world.run(fs.release(second));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
    expect(fs.statistics).toMatchObject({ orphans: 0, openHandles: 0, heldInodes: 0 });
  });

  test("AHoldKeepsItsAttributes_TheFileGoesWithItsName", async () => {
    const { world, fs, handle, inode } = await oneFile();
    fs.hold(inode);
    fs.hold(inode);
    await world.run(fs.write(handle, 0, bytesOf(5000), "none"));
    await world.run(fs.release(handle));
    const before = await world.run(fs.getattr(inode));
    const { sequence } = world.log.head;
    await world.run(fs.unlink(ROOT, 1, name("f")));
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
    expect(fs.statistics).toMatchObject({ orphans: 0, heldInodes: 1 });
    await world.run(fs.drop(inode));
    const { changed, ...left } = await world.run(fs.getattr(inode));
    expect({ ...left, changed: before.changed }).toEqual({ ...before, links: 0 });
    expect(changed.seconds).toBeGreaterThanOrEqual(before.changed.seconds);
    expect(await world.errno(() => fs.open(ROOT, inode, READ))).toBe("ESTALE");
    await world.run(fs.drop(inode));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
    // One record removed name and file; letting go took none.
    expect(world.log.head.sequence).toBe(sequence + 1);
  });

  test("ADirectoryIsKeptByAHoldAlone", async () => {
    const { world, fs } = await oneFile();
    const { inode } = await world.run(fs.mkdir(ROOT, 1, name("d"), 0o755));
    fs.hold(inode);
    await world.run(fs.rmdir(ROOT, 1, name("d")));
    expect(fs.statistics.orphans).toBe(1);
    expect((await world.run(fs.lookup(ROOT, inode, name("..")))).inode).toBe(1);
    expect(await world.errno(() => fs.mkdir(ROOT, inode, name("e"), 0o755))).toBe("ENOENT");
    await world.run(fs.drop(inode));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
    expect(fs.statistics.orphans).toBe(0);
  });

  test("AReplacedOpenFileStaysUntilItsRelease", async () => {
    const { world, fs, handle, inode } = await oneFile();
    await world.run(fs.write(handle, 0, bytesOf(10), "none"));
    await world.run(fs.symlink(ROOT, 1, name("s"), name("x")));
    await world.run(fs.rename(ROOT, 1, name("s"), 1, name("f"), 0));
    expectBytes(concatBytes(await world.run(fs.read(handle, 0, 10))), bytesOf(10));
    await world.run(fs.release(handle));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
  });

  test("ACrashCollectsItAtTheNextMount", async () => {
    const { world, fs, handle, inode } = await oneFile();
    await world.run(fs.setxattr(ROOT, inode, name("user.long"), bytesOf(9000), 0));
    await world.run(fs.write(handle, 0, bytesOf(100_000), "none"));
    await world.run(fs.unlink(ROOT, 1, name("f")));
    await world.remount();
    expect(await world.errno(() => world.fs.getattr(inode))).toBe("ESTALE");
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
  });

  test("ACrashInTheMiddleOfCollectingIsFinishedAtTheNextMount", async () => {
    const { world, fs, handle, inode } = await oneFile();
    const count = 3 * BATCH_ITEMS;
    const made = world.volume.change((transaction) => {
      for (let i = 0; i < count; i++) storeExtents(transaction, inode, i * 2, Uint8Array.of(1));
      updateInode(transaction, inode, (item) => {
        item.size = count * 2;
        item.allocatedBytes = count;
      });
    });
    await world.run(made);
    await world.run(fs.release(handle));
    const removed = fs.unlink(ROOT, 1, name("f"));
    expect(removed).toBeInstanceOf(Promise);
    expect(world.volume.statistics.dataBytes).toBe(count - 2 * BATCH_ITEMS);
    await world.remount();
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
    expect(await world.errno(() => world.fs.getattr(inode))).toBe("ESTALE");
  });

  test("ManyXattrsGoInBatchesToo", async () => {
    const { world, fs, handle, inode } = await oneFile();
    for (let i = 0; i < BATCH_ITEMS + 10; i++) {
      await world.run(fs.setxattr(ROOT, inode, name(`user.${i}`), bytesOf(1), 0));
    }
    await world.run(fs.unlink(ROOT, 1, name("f")));
    await world.run(fs.release(handle));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
    const left = await world.run(world.volume.view((view) => view.floor(inode * 16 + 4, 2 ** 53)));
    expect(left).toBeUndefined();
  });
});

describe("handles", () => {
  test("NumbersAreSmallAndUsedAgain", async () => {
    const { world, fs, handle, inode } = await oneFile();
    const second = await world.run(fs.open(ROOT, inode, READ));
    expect([handle, second]).toEqual([0, 1]);
    await world.run(fs.release(handle));
    expect(await world.errno(() => fs.release(handle))).toBe("EBADF");
    expect(await world.run(fs.open(ROOT, inode, READ))).toBe(0);
  });

  test("AnAnswerFromMemoryIsNoPromise", async () => {
    const { fs, handle, inode } = await oneFile();
    const answers = [
      fs.lookup(ROOT, 1, name("f")),
      fs.getattr(inode),
      fs.write(handle, 0, bytesOf(10), "none"),
      fs.read(handle, 0, 10),
      fs.create(ROOT, 1, name("g"), 0o644, true, READ_WRITE),
      fs.readdir(ROOT, 1, 0, () => true),
      fs.unlink(ROOT, 1, name("g")),
      fs.release(handle),
    ];
    expect(answers.filter((answer) => answer instanceof Promise)).toEqual([]);
  });
});

describe("what an operation waits for", () => {
  const SYNC: SyncOptions = {
    floor: "written",
    dataSync: "local",
    fsync: "network",
    osync: "remote",
  };

  async function waits(
    sync: SyncOptions,
    act: (t: Awaited<ReturnType<typeof oneFile>>) => unknown,
  ) {
    const made = await oneFile(new FsWorld({ sync }));
    made.world.committer.waits.length = 0;
    await act(made);
    return made.world.committer.waits.map(({ level }) => level);
  }

  test.each<[SyncRequest, SyncLevel]>([
    ["none", "written"],
    ["data", "local"],
    ["full", "remote"],
  ])("write %s: %s", async (request, level) => {
    const act = ({ fs, handle }: Awaited<ReturnType<typeof oneFile>>) =>
      fs.write(handle, 0, bytesOf(10), request);
    expect(await waits(SYNC, act)).toEqual([level]);
  });

  test.each<["data" | "full", SyncLevel]>([
    ["data", "local"],
    ["full", "network"],
  ])("fsync %s: %s", async (request, level) => {
    const act = ({ fs, inode }: Awaited<ReturnType<typeof oneFile>>) => fs.fsync(inode, request);
    expect(await waits(SYNC, act)).toEqual([level]);
  });

  test("TheFloorIsALowerBoundOfAll", async () => {
    const act = async ({ fs, handle, inode }: Awaited<ReturnType<typeof oneFile>>) => {
      await fs.write(handle, 0, bytesOf(10), "none");
      await fs.write(handle, 0, bytesOf(10), "data");
      await fs.fsync(inode, "full");
      await fs.mkdir(ROOT, 1, name("d"), 0o755);
    };
    const floor = { ...SYNC, floor: "remote" } as const;
    expect(await waits(floor, act)).toEqual(["remote", "remote", "remote", "remote"]);
  });

  test("FsyncOfOneFileDoesNotWaitForAnothers", async () => {
    const { world, fs, handle, inode } = await oneFile();
    await world.run(fs.write(handle, 0, bytesOf(10), "none"));
    const own = world.log.head.sequence;
    await world.run(fs.mkdir(ROOT, 1, name("d"), 0o755));
    const head = world.log.head.sequence;
    const unused = (await world.run(fs.lookup(ROOT, 1, name("d")))).inode;
    world.committer.waits.length = 0;
    for (const each of [inode, unused, 1]) await world.run(fs.fsync(each, "full"));
    expect(world.committer.waits.map(({ sequence }) => sequence)).toEqual([own, head, head]);
  });

  test("FsyncCoversRenameAndXattrsOfTheFile", async () => {
    const { world, fs, inode } = await oneFile();
    const changes = [
      () => fs.rename(ROOT, 1, name("f"), 1, name("g"), 0),
      () => fs.setxattr(ROOT, inode, name("user.a"), bytesOf(1), 0),
      () => fs.setattr(ROOT, inode, { mode: 0o600 }),
      () => fs.link(ROOT, inode, 1, name("h")),
    ];
    for (const change of changes) {
      await world.run(change());
      world.committer.waits.length = 0;
      await world.run(fs.fsync(inode, "full"));
      expect(world.committer.waits[0]?.sequence).toBe(world.log.head.sequence);
    }
  });

  test("FsyncOfADirectoryCoversTheNamesMadeInIt", async () => {
    const { world, fs, inode } = await oneFile();
    const directory = (await world.run(fs.mkdir(ROOT, 1, name("d"), 0o755))).inode;
    fs.hold(directory);
    const changes = [
      () => fs.create(ROOT, directory, name("a"), 0o644, true, READ_WRITE),
      () => fs.mkdir(ROOT, directory, name("b"), 0o755),
      () => fs.link(ROOT, inode, directory, name("c")),
      () => fs.rename(ROOT, 1, name("f"), directory, name("d"), 0),
      () => fs.unlink(ROOT, directory, name("a")),
    ];
    for (const change of changes) {
      await world.run<unknown>(change());
      const made = world.log.head.sequence;
      await world.run(fs.mkdir(ROOT, 1, name(`other-${made}`), 0o755));
      world.committer.waits.length = 0;
      await world.run(fs.fsync(directory, "full"));
      expect(world.committer.waits[0]?.sequence).toBe(made);
    }
  });

  test("ACreateThatCannotBeMadeSafeLeavesNoHandle", async () => {
    const { world } = await oneFile();
    const failing = { wait: () => Promise.reject(new SmfsError("UNREACHABLE", "no mirror")) };
    const fs = new FileSystem(world.volume, failing);
    const create = () => fs.create(ROOT, 1, name("g"), 0o644, true, READ_WRITE);
    expect(await world.errno(create)).toBe("EIO");
    expect(fs.statistics.openHandles).toBe(0);
  });
});

describe("a read-only volume", () => {
  test("RefusesEveryChangeAndReadsOn", async () => {
    const { world, inode } = await oneFile();
    const readOnly = new Proxy(world.volume, {
      get(target, key) {
        if (key === "readOnly") return true;
        const value: unknown = Reflect.get(target, key);
        if (key !== "change") return typeof value === "function" ? value.bind(target) : value;
        return () => {
          throw Object.assign(new Error("read-only"), { code: "EROFS" });
        };
      },
    });
    const fs = new FileSystem(readOnly, world.committer);
    await world.run(fs.finishPending());
    const refused = [
      () => fs.mkdir(ROOT, 1, name("d"), 0o755),
      () => fs.unlink(ROOT, 1, name("f")),
      () => fs.rename(ROOT, 1, name("f"), 1, name("g"), 0),
      () => fs.setattr(ROOT, inode, { mode: 0o600 }),
      () => fs.open(ROOT, inode, WRITE),
      () => fs.open(ROOT, inode, { ...READ, truncate: true }),
      () => fs.access(ROOT, inode, 2),
      () => fs.setxattr(ROOT, inode, name("user.a"), bytesOf(1), 0),
    ];
    for (const attempt of refused) expect(await world.errno(attempt)).toBe("EROFS");
    const handle = await world.run(fs.open(ROOT, inode, READ));
    expect(await world.run(fs.read(handle, 0, 10))).toEqual([]);
    expect(await world.errno(() => fs.fsync(inode, "full"))).toBe("ok");
    await world.run(fs.release(handle));
  });
});

describe("a full disk", () => {
  test("RefusesWritesKeepsWhatWasThereAndLetsItselfBeEmptied", async () => {
    const capacity = { capacityBytes: 12 * 2 ** 20, reserveBytes: 2 ** 20 };
    const world = new FsWorld({ disk: capacity, log: { segmentBytes: 4 * 2 ** 20 } });
    const { fs, handle, inode } = await oneFile(world);
    let written = 0;
    let outcome = "ok";
    while (outcome === "ok") {
      const data = bytesOf(500_000, written + 1);
      outcome = await world.errno(() => fs.write(handle, written, data, "none"));
      if (outcome === "ok") written += data.length;
    }
    expect(outcome).toBe("ENOSPC");
    expect((await world.run(fs.getattr(inode))).size).toBe(written);
    for (let at = 0; at < written; at += 500_000) {
      const read = concatBytes(await world.run(fs.read(handle, at, 500_000)));
      expectBytes(read, bytesOf(500_000, at + 1));
    }
    expect(await world.errno(() => fs.fallocate(handle, 0, 1, FALLOC_KEEP_SIZE))).not.toBe("EIO");
    await world.run(fs.release(handle));
    expect(await world.errno(() => fs.unlink(ROOT, 1, name("f")))).toBe("ok");
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
  });
});

test("OperationsAndBytesAreCounted", async () => {
  const { world, fs, handle } = await oneFile();
  await world.run(fs.write(handle, 0, bytesOf(1000), "none"));
  await world.run(fs.read(handle, 500, 5000));
  expect(await world.errno(() => fs.lookup(ROOT, 1, name("nothing")))).toBe("ENOENT");
  expect(fs.statistics).toMatchObject({
    operations: { create: 1, write: 1, read: 1, lookup: 1, unlink: 0 },
    readBytes: 500,
    writtenBytes: 1000,
    checksumFailures: 0,
    openHandles: 1,
  });
  const { inodes, freeBytes, totalBytes, nameMax } = fs.statfs();
  expect([inodes, nameMax]).toEqual([2, 255]);
  expect(freeBytes).toBeLessThan(totalBytes);
});
