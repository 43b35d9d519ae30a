/** Reads of a few bytes of a stored block read and check a part of it; the block's checksum has the last word. */
import { describe, expect, test } from "vitest";
import { type PlacedExtent, visitExtents } from "../../logfs/core/fs/extents.ts";
import { decodeExtent, encodeExtent, ExtentItem, ITEM, keyOf } from "../../logfs/core/fs/items.ts";
import { FILE_SIZE_MAX } from "../../logfs/core/fs/truncation.ts";
import { bytesOf, expectBytes, FsWorld } from "../fs-world.ts";
import { OneFile } from "../one-file.ts";

const BLOCK = 65_536;
const PART = 16_384;

/** A file of `data`, on disk only. */
async function written(data: Uint8Array): Promise<OneFile> {
  const file = await OneFile.make(new FsWorld({ log: { tailBytes: 0 } }));
  await file.write(0, data);
  await file.write(2 ** 30, bytesOf(3e6));
  file.world.settle();
  return file;
}

/** Lengths of what is read of the log for file data from here on. */
function readLengths({ world: { volume } }: OneFile): number[] {
  const lengths: number[] = [];
  const readBlock = volume.readBlock.bind(volume);
  volume.readBlock = (segment, offset, length, into) => {
    lengths.push(length);
    return readBlock(segment, offset, length, into);
  };
  return lengths;
}

async function extentsOf({ world, inode }: OneFile): Promise<PlacedExtent[]> {
  const found: PlacedExtent[] = [];
  await world.run(
    world.volume.view((view) => {
      found.length = 0;
      visitExtents(view, inode, 0, FILE_SIZE_MAX, (extent) => found.push(extent) > 0);
    }),
  );
  return found;
}

/** Puts the file's first extent anew, as `change` makes it. */
async function rewriteFirst(
  file: OneFile,
  change: (extent: PlacedExtent) => PlacedExtent,
): Promise<PlacedExtent> {
  const [first] = await extentsOf(file);
  if (first === undefined) throw new Error("the file has no extent");
  const value = encodeExtent(change(first));
  const { volume } = file.world;
  await file.world.run(
    volume.change((transaction) => transaction.put(keyOf(file.inode, ITEM.extent), 0, value)),
  );
  return first;
}

/** As programs knew it that had no sums. */
function decodedHead({ start, ...extent }: PlacedExtent): PlacedExtent {
  const value = encodeExtent(extent).subarray(0, ExtentItem.size);
  return { ...decodeExtent(value), start };
}

describe("a read of a few bytes", () => {
  const data = bytesOf(4 * BLOCK);

  test.each([
    { at: 0, length: 1, lengths: [PART] },
    { at: PART - 1, length: 2, lengths: [2 * PART] },
    { at: 3 * PART + 5, length: 4096, lengths: [PART] },
    // The end of one block and the start of the next are neighbours in the log, too.
    { at: BLOCK - 1, length: 2, lengths: [2 * PART] },
    { at: 10, length: 2 * BLOCK, lengths: [2 * BLOCK + PART] },
  ])("of $length at $at reads $lengths", async ({ at, length, lengths }) => {
    const file = await written(data);
    const read = readLengths(file);
    expectBytes(await file.read(at, length), data.subarray(at, at + length));
    expect(read).toEqual(lengths);
  });

  test("AShorterBlockIsReadWhole", async () => {
    const file = await written(bytesOf(PART));
    const read = readLengths(file);
    expectBytes(await file.read(100, 10), bytesOf(PART).subarray(100, 110));
    expect(read).toEqual([PART]);
  });

  test("WhatIsLeftOfACutBlockKeepsItsSums", async () => {
    const file = await written(data);
    await file.write(5000, bytesOf(100, 7));
    await file.write(2 ** 31, bytesOf(3e6));
    file.world.settle();
    const expected = data.slice();
    expected.set(bytesOf(100, 7), 5000);
    const read = readLengths(file);
    expectBytes(await file.read(2 * PART, 10), expected.subarray(2 * PART, 2 * PART + 10));
    expect(read).toEqual([PART]);
    expectBytes(await file.read(0, 4 * BLOCK), expected);
  });

  test("TwoPiecesOfABlockAreReadTogether", async () => {
    const file = await written(data);
    await file.write(PART + 5, bytesOf(10, 7));
    await file.write(2 ** 31, bytesOf(3e6));
    file.world.settle();
    const read = readLengths(file);
    await file.read(PART, 30);
    expect(read.toSorted((a, b) => a - b)).toEqual([10, PART]);
  });
});

describe("checksums of parts", () => {
  test("AnExtentOfAnOlderProgramHasNoneAndIsReadWhole", async () => {
    const data = bytesOf(BLOCK);
    const file = await written(data);
    await rewriteFirst(file, decodedHead);
    const read = readLengths(file);
    expectBytes(await file.read(PART, 10), data.subarray(PART, PART + 10));
    expect(read).toEqual([BLOCK]);
  });

  test("OneThatIsWrongCostsASecondReadAndNoData", async () => {
    const data = bytesOf(BLOCK);
    const file = await written(data);
    await rewriteFirst(file, (extent) => ({ ...extent, sums: [1, 2, 3, 4] }));
    const read = readLengths(file);
    expectBytes(await file.read(PART, 10), data.subarray(PART, PART + 10));
    expect(read).toEqual([PART, BLOCK]);
    expect(file.fs.statistics.checksumFailures).toBe(0);
  });

  test.each([0, 1, 2, 3])("DamageInPartNumber%iIsNeverGivenOut", async (part) => {
    const data = bytesOf(BLOCK);
    const file = await written(data);
    const [block] = await extentsOf(file);
    file.world.disk.flipBit(block?.segment ?? 0, (block?.offset ?? 0) + part * PART + 77, 5);
    for (let other = 0; other < 4; other++) {
      const at = other * PART;
      const read = file.read(at, 4096);
      if (other === part) await expect(read).rejects.toMatchObject({ code: "DAMAGED" });
      else expectBytes(await read, data.subarray(at, at + 4096));
    }
    expect(file.fs.statistics.checksumFailures).toBe(1);
  });
});
