import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import type { ErrnoName } from "../../lib/errno.ts";
import { SmfsError } from "../../lib/errors.ts";
import { storeExtents, visitExtents } from "../../logfs/core/fs/extents.ts";
import { loadInode, updateInode } from "../../logfs/core/fs/inodes.ts";
import { FLAG_TRUNCATING, type InodeItem } from "../../logfs/core/fs/items.ts";
import { BATCH_ITEMS, FILE_SIZE_MAX } from "../../logfs/core/fs/truncation.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  type MaybePromise,
} from "../../logfs/core/vfs.ts";
import {
  APPEND,
  bytesOf,
  expectBytes,
  FsWorld,
  name,
  READ,
  READ_WRITE,
  ROOT,
  WRITE,
} from "../fs-world.ts";
import { OneFile } from "../one-file.ts";

const KEEP = FALLOC_KEEP_SIZE;
const PUNCH = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;

function countReads({ volume }: FsWorld): { count: number } {
  const reads = { count: 0 };
  const readBlock = volume.readBlock.bind(volume);
  volume.readBlock = (...where) => {
    reads.count++;
    return readBlock(...where);
  };
  return reads;
}

describe("writing and reading", () => {
  test("AFreshFileGivesNothing", async () => {
    const file = await OneFile.make();
    expect(await file.read(0, 100)).toHaveLength(0);
    expect(await file.read(1e12, 100)).toHaveLength(0);
  });

  test("ReadsEndAtTheEndOfTheFile", async () => {
    const file = await OneFile.make();
    const data = bytesOf(1000);
    await file.write(0, data);
    expectBytes(await file.read(900, 500), data.subarray(900));
    expect(await file.read(1000, 1)).toHaveLength(0);
  });

  test("HolesAreZerosAndTakeNoSpace", async () => {
    const file = await OneFile.make();
    const data = bytesOf(1000);
    await file.write(8_000_000_000_000, data);
    await file.write(5, data);
    expect(await file.attributes()).toMatchObject({
      size: 8_000_000_001_000,
      allocatedBytes: 2000,
    });
    await file.reopen();
    expectBytes(await file.read(0, 5), new Uint8Array(5));
    expectBytes(await file.read(5, 1000), data);
    expectBytes(await file.read(4_000_000_000_000, 300_000), new Uint8Array(300_000));
    const around = await file.read(7_999_999_999_990, 2000);
    expectBytes(around, concatBytes([new Uint8Array(10), data]));
  });

  test("BlocksEndAtMultiplesOf64KiB", async () => {
    const file = await OneFile.make();
    await file.write(4096, bytesOf(200_000));
    expect(await file.extents()).toEqual([
      { start: 4096, length: 61_440, skip: 0 },
      { start: 65_536, length: 65_536, skip: 0 },
      { start: 131_072, length: 65_536, skip: 0 },
      { start: 196_608, length: 7488, skip: 0 },
    ]);
  });

  test("AnOverwriteCutsTheExtentAndKeepsItsEnds", async () => {
    const file = await OneFile.make();
    const data = bytesOf(10_000);
    const patch = bytesOf(100, 1);
    await file.write(0, data);
    await file.write(4000, patch);
    expect(await file.extents()).toEqual([
      { start: 0, length: 4000, skip: 0 },
      { start: 4000, length: 100, skip: 0 },
      { start: 4100, length: 5900, skip: 4100 },
    ]);
    data.set(patch, 4000);
    expectBytes(await file.read(0, 10_000), data);
    expect(await file.attributes()).toMatchObject({ allocatedBytes: 10_000 });
    expect(file.world.volume.statistics.dataBytes).toBe(10_000);
  });

  test("TheLastByteIsOverwrittenNotAppended", async () => {
    const file = await OneFile.make();
    await file.write(0, bytesOf(10));
    await file.write(9, bytesOf(2));
    expect(await file.extents()).toEqual([
      { start: 0, length: 9, skip: 0 },
      { start: 9, length: 2, skip: 0 },
    ]);
    expect((await file.attributes()).allocatedBytes).toBe(11);
  });

  test("ALargeWriteIsSeveralRecordsOfAMebibyte", async () => {
    const file = await OneFile.make();
    const data = bytesOf(2_500_000);
    const before = file.world.log.head.sequence;
    await file.write(0, data);
    expect(file.world.log.head.sequence - before).toBe(3);
    expectBytes(await file.read(0, 3_000_000), data);
  });

  test("AppendIgnoresTheOffset", async () => {
    const file = await OneFile.make();
    await file.write(0, bytesOf(10));
    const { world, fs } = file;
    const handle = await world.run(fs.open(ROOT, file.inode, APPEND));
    await world.run(fs.write(handle, 0, bytesOf(10, 2), "none"));
    await world.run(fs.write(handle, 3, bytesOf(10, 3), "none"));
    const expected = concatBytes([bytesOf(10), bytesOf(10, 2), bytesOf(10, 3)]);
    expectBytes(await file.read(0, 100), expected);
  });

  test("ConsecutiveSmallAppendsAreReadAtOnce", async () => {
    const file = await OneFile.make();
    const parts = Array.from({ length: 64 }, (_, i) => bytesOf(4096, i + 1));
    for (const [i, part] of parts.entries()) await file.write(i * 4096, part);
    const reads = countReads(file.world);
    expectBytes(await file.read(0, 64 * 4096), concatBytes(parts));
    expect(reads.count).toBe(1);
  });

  test("BlocksFarApartInTheLogAreReadFromDiskInOrder", async () => {
    const file = await OneFile.make(new FsWorld({ log: { tailBytes: 0 } }));
    const { world } = file;
    const other = await world.run(world.fs.create(ROOT, 1, name("o"), 0o644, true, READ_WRITE));
    const parts = Array.from({ length: 200 }, (_, i) => bytesOf(100, i + 1));
    for (const i of Array.from(parts.keys(), (k) => (k * 7) % 200)) {
      await file.write(i * 100, parts[i] as Uint8Array);
      await world.run(world.fs.write(other.handle, 0, bytesOf(5000, i), "none"));
    }
    await file.reopen();
    const reads = countReads(world);
    expectBytes(await file.read(0, 20_000), concatBytes(parts));
    expect(reads.count).toBe(200);
  });

  test("AnEmptyWriteChangesNothing", async () => {
    const file = await OneFile.make();
    const before = await file.attributes();
    file.world.clock.advance(1_000_000);
    await file.write(100, new Uint8Array(0));
    expect(await file.attributes()).toEqual(before);
  });

  test("WritingSetsMtimeAndCtime", async () => {
    const file = await OneFile.make();
    const before = await file.attributes();
    file.world.clock.advance(1_500_000);
    await file.write(0, bytesOf(1));
    const after = await file.attributes();
    expect(after.modified.seconds).toBe(before.modified.seconds + 1);
    expect(after.changed).toEqual(after.modified);
    expect(after.accessed).toEqual(before.accessed);
  });

  type Case = [string, ErrnoName | "ok", (file: OneFile) => MaybePromise<unknown>];
  const one = Uint8Array.of(1);
  test.each<Case>([
    [
      "writing the last possible byte",
      "ok",
      ({ fs, handle }) => fs.write(handle, FILE_SIZE_MAX - 1, one, "none"),
    ],
    [
      "writing one further",
      "EFBIG",
      ({ fs, handle }) => fs.write(handle, FILE_SIZE_MAX, one, "none"),
    ],
    ["a negative offset", "EINVAL", ({ fs, handle }) => fs.write(handle, -1, one, "none")],
    ["reading a negative offset", "EINVAL", ({ fs, handle }) => fs.read(handle, -1, 1)],
    ["a handle that never was", "EBADF", ({ fs }) => fs.read(99, 0, 1)],
    [
      "truncating past the greatest size",
      "EFBIG",
      ({ fs, inode }) => fs.setattr(ROOT, inode, { size: FILE_SIZE_MAX + 1 }),
    ],
    ["truncating below zero", "EINVAL", ({ fs, inode }) => fs.setattr(ROOT, inode, { size: -1 })],
    ["truncating a directory", "EISDIR", ({ fs }) => fs.setattr(ROOT, 1, { size: 0 })],
    ["fallocate of nothing", "EINVAL", ({ fs, handle }) => fs.fallocate(handle, 0, 0, 0)],
    [
      "fallocate with an unknown mode",
      "EOPNOTSUPP",
      ({ fs, handle }) => fs.fallocate(handle, 0, 1, 0x40),
    ],
    [
      "punching without keeping the size",
      "EOPNOTSUPP",
      ({ fs, handle }) => fs.fallocate(handle, 0, 1, FALLOC_PUNCH_HOLE),
    ],
    [
      "fallocate past the greatest size",
      "EFBIG",
      ({ fs, handle }) => fs.fallocate(handle, FILE_SIZE_MAX, 1, KEEP),
    ],
    [
      "allocating more than there is",
      "ENOSPC",
      ({ fs, handle }) => fs.fallocate(handle, 0, 1e12, 0),
    ],
    ["seeking past the end", "ENXIO", ({ fs, handle }) => fs.seek(handle, 0, 3)],
  ])("%s: %s", async (_, expected, act) => {
    const file = await OneFile.make();
    expect(await file.world.errno(() => act(file))).toBe(expected);
  });

  test("HandlesReadAndWriteOnlyAsTheyWereOpened", async () => {
    const { world, fs, inode } = await OneFile.make();
    const reader = await world.run(fs.open(ROOT, inode, READ));
    const writer = await world.run(fs.open(ROOT, inode, WRITE));
    expect(await world.errno(() => fs.write(reader, 0, one, "none"))).toBe("EBADF");
    expect(await world.errno(() => fs.fallocate(reader, 0, 1, 0))).toBe("EBADF");
    expect(await world.errno(() => fs.read(writer, 0, 1))).toBe("EBADF");
    await world.run(fs.release(reader));
    expect(await world.errno(() => fs.read(reader, 0, 1))).toBe("EBADF");
  });

  test("ADirectoryHandleIsNotRead", async () => {
    const { world, fs } = await OneFile.make();
    const handle = await world.run(fs.open(ROOT, 1, READ));
    expect(await world.errno(() => fs.read(handle, 0, 1))).toBe("EISDIR");
    expect(await world.errno(() => fs.open(ROOT, 1, WRITE))).toBe("EISDIR");
  });
});

describe("damage", () => {
  test("AFlippedBitIsEIOWithItsPlaceAndNeverData", async () => {
    const file = await OneFile.make(new FsWorld({ log: { tailBytes: 0 } }));
    await file.write(0, bytesOf(100_000));
    await file.write(1e6, bytesOf(3e6));
    file.world.settle();
    let at = { segment: 0, offset: 0 };
    await file.world.run(
      file.world.volume.view((view) =>
        visitExtents(view, file.inode, 65_536, 65_537, ({ segment, offset }) => {
          at = { segment, offset };
          return false;
        }),
      ),
    );
    file.world.disk.flipBit(at.segment, at.offset + 30_000, 3);
    const failure = await file.read(90_000, 9000).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SmfsError);
    const { code, message } = failure as SmfsError;
    expect(code).toBe("DAMAGED");
    expect(message).toContain(`inode ${file.inode}, offset 90000`);
    expect(message).toContain(`${at.segment}:${at.offset}`);
    expect(file.fs.statistics.checksumFailures).toBe(1);
    // Up to the 16 KiB of the block in which it is.
    expectBytes(await file.read(0, 81_920), bytesOf(100_000).subarray(0, 81_920));
  });
});

describe("size", () => {
  test("TruncatingDownAndUpAgainGivesZeros", async () => {
    const file = await OneFile.make();
    const data = bytesOf(100_000);
    await file.write(0, data);
    expect((await file.truncate(70_001)).allocatedBytes).toBe(70_001);
    await file.truncate(200_000);
    await file.reopen();
    const expected = new Uint8Array(200_000);
    expected.set(data.subarray(0, 70_001));
    expectBytes(await file.read(0, 300_000), expected);
  });

  test("ThroughAHandleOnlyTheHandleCounts", async () => {
    const file = await OneFile.make();
    const { world, fs, inode, handle } = file;
    const nobody = { uid: 99, gid: 99, groups: () => [] };
    expect(await world.errno(() => fs.setattr(nobody, inode, { size: 0 }))).toBe("EACCES");
    expect((await world.run(fs.setattr(nobody, inode, { size: 7 }, handle))).size).toBe(7);
  });

  test("OpeningWithTruncateEmptiesTheFile", async () => {
    const file = await OneFile.make();
    await file.write(0, bytesOf(100_000));
    await file.world.run(file.fs.open(ROOT, file.inode, { ...WRITE, truncate: true }));
    expect(await file.attributes()).toMatchObject({ size: 0, allocatedBytes: 0 });
  });
});

describe("fallocate and seek", () => {
  test("PlainAllocationSetsTheSizeOnly", async () => {
    const file = await OneFile.make();
    await file.fallocate(100, 900, 0);
    expect(await file.attributes()).toMatchObject({ size: 1000, allocatedBytes: 0 });
    await file.fallocate(0, 5000, KEEP);
    expect((await file.attributes()).size).toBe(1000);
  });

  test("PunchingMakesAHoleAndKeepsTheSize", async () => {
    const file = await OneFile.make();
    const data = bytesOf(200_000);
    await file.write(0, data);
    await file.fallocate(1000, 100_000, PUNCH);
    expect(await file.attributes()).toMatchObject({ size: 200_000, allocatedBytes: 100_000 });
    data.fill(0, 1000, 101_000);
    expectBytes(await file.read(0, 200_000), data);
  });

  test("ZeroRangeGrowsTheFileUnlessToldNotTo", async () => {
    const file = await OneFile.make();
    await file.write(0, bytesOf(100));
    await file.fallocate(50, 100, FALLOC_ZERO_RANGE | KEEP);
    expect((await file.attributes()).size).toBe(100);
    await file.fallocate(50, 100, FALLOC_ZERO_RANGE);
    expect(await file.attributes()).toMatchObject({ size: 150, allocatedBytes: 50 });
  });

  test("SeekFindsDataAndHoles", async () => {
    const file = await OneFile.make();
    await file.write(100_000, bytesOf(100_000));
    await file.write(300_000, bytesOf(10));
    await file.truncate(400_000);
    const { fs, handle, world } = file;
    const cases: [number, 3 | 4, number | ErrnoName][] = [
      [0, 3, 100_000],
      [150_000, 3, 150_000],
      [200_000, 3, 300_000],
      [300_010, 3, "ENXIO"],
      [0, 4, 0],
      [100_000, 4, 200_000],
      [300_005, 4, 300_010],
      [399_999, 4, 399_999],
      [400_000, 4, "ENXIO"],
    ];
    for (const [offset, whence, expected] of cases) {
      const found =
        typeof expected === "number"
          ? await world.run(fs.seek(handle, offset, whence))
          : await world.errno(() => fs.seek(handle, offset, whence));
      expect([offset, whence, found]).toEqual([offset, whence, expected]);
    }
    await file.truncate(300_005);
    expect(await world.run(fs.seek(handle, 300_000, 4))).toBe(300_005);
  });
});

describe("files of many extents", () => {
  const COUNT = 2 * BATCH_ITEMS + 900;

  /** Every second byte is an extent of its own. */
  async function scattered(): Promise<OneFile> {
    const file = await OneFile.make();
    const made = file.world.volume.change((transaction) => {
      for (let i = 0; i < COUNT; i++) {
        storeExtents(transaction, file.inode, i * 2, Uint8Array.of(i));
      }
      updateInode(transaction, file.inode, (item) => {
        item.size = COUNT * 2 - 1;
        item.allocatedBytes = COUNT;
      });
    });
    await file.world.run(made);
    return file;
  }

  test("ReadingThemGivesThemAll", async () => {
    const file = await scattered();
    await file.reopen();
    const expected = new Uint8Array(2 * COUNT - 1);
    for (let i = 0; i < COUNT; i++) expected[2 * i] = i;
    expectBytes(await file.read(0, 3 * COUNT), expected);
    expectBytes(await file.read(1, 9001), expected.subarray(1, 9002));
  });

  test("TruncationGoesInBatchesAndNothingComesBack", async () => {
    const file = await scattered();
    const before = file.world.log.head.sequence;
    await file.truncate(3);
    expect(file.world.log.head.sequence - before).toBe(3);
    expect(await file.extents()).toHaveLength(2);
    expect(await file.attributes()).toMatchObject({ size: 3, allocatedBytes: 2 });
    expect(file.world.volume.statistics.dataBytes).toBe(2);
  });

  test("ACrashBetweenBatchesIsFinishedAtTheNextMount", async () => {
    const file = await scattered();
    const truncated = file.fs.setattr(ROOT, file.inode, { size: 3 });
    expect(truncated).toBeInstanceOf(Promise);
    expect((await file.extents()).length).toBe(COUNT - 2 * BATCH_ITEMS);
    await file.reopen();
    expect(await file.extents()).toHaveLength(2);
    expect(await file.attributes()).toMatchObject({ size: 3, allocatedBytes: 2 });
  });

  test("GrowingWhileATruncationIsPendingGivesZeros", async () => {
    const file = await scattered();
    const { world, fs } = file;
    const truncated = fs.setattr(ROOT, file.inode, { size: 3 });
    // Nothing is awaited here: the rest of the truncation would run meanwhile.
    const { flags } = world.volume.view((view) => loadInode(view, file.inode)) as InodeItem;
    expect(flags).toBe(FLAG_TRUNCATING);
    const grown = fs.write(file.handle, 2 * COUNT, Uint8Array.of(9), "none");
    await world.run(Promise.all([truncated, grown]));
    const expected = new Uint8Array(2 * COUNT + 1);
    expected[2] = 1;
    expected[2 * COUNT] = 9;
    expectBytes(await file.read(0, 3 * COUNT), expected);
  });

  test("OverwritingThemIsWholeThoughItTakesThreeRecords", async () => {
    const file = await scattered();
    const data = bytesOf(2 * COUNT);
    const before = file.world.log.head.sequence;
    await file.write(0, data);
    expect(file.world.log.head.sequence - before).toBe(3);
    expectBytes(await file.read(0, 3 * COUNT), data);
    expect((await file.attributes()).allocatedBytes).toBe(data.length);
  });

  test("PunchingThemAllLeavesNone", async () => {
    const file = await scattered();
    await file.fallocate(0, 2 * COUNT, PUNCH);
    expect(await file.extents()).toHaveLength(0);
    expect(await file.attributes()).toMatchObject({ size: 2 * COUNT - 1, allocatedBytes: 0 });
  });

  test("RemovingThemTakesEverything", async () => {
    const file = await scattered();
    await file.world.run(file.fs.release(file.handle));
    await file.world.run(file.fs.unlink(ROOT, 1, name("f")));
    expect(file.world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
  });
});
