import { describe, expect, test } from "vitest";
import { fromHex, latin1, toHex } from "../../lib/bytes.ts";
import { SmfsError } from "../../lib/errors.ts";
import {
  decodeEntry,
  decodeExtent,
  decodeInode,
  decodeTruncation,
  decodeXattr,
  encodeEntry,
  encodeExtent,
  encodeInlineXattr,
  encodeInode,
  encodeLocatedXattr,
  encodeTruncation,
  inodeOf,
  ITEM,
  keyOf,
  kindOf,
  newInode,
  setTime,
} from "../../logfs/core/fs/items.ts";

const TIME = { seconds: -2, nanoseconds: 999_999_999 };

function inode() {
  const item = newInode(
    { mode: 0o100644, uid: 1, gid: 2, links: 3, size: 2 ** 40 + 5, nameSeed: 0xdeadbeef },
    { seconds: 1, nanoseconds: 2 },
  );
  setTime(item, "modified", TIME);
  return { ...item, allocatedBytes: 6, parent: 7, device: 8, flags: 1 };
}

function extentOf(storedBytes: number, sums: number[]) {
  return { segment: 1, offset: 2, storedBytes, checksum: 4, skip: 0, length: 6, sums };
}

describe("layouts of format version 1", () => {
  test.each<[string, Uint8Array, string]>([
    [
      "inode",
      encodeInode(inode()),
      "a481000003000000010000000200000008000000010000000500000000010000" +
        "06000000000000000100000000000000feffffffffffffff0100000000000000" +
        "010000000000000002000000ffc99a3b02000000020000000700000000000000" +
        "efbeadde00000000000000000000000000000000000000000000000000000000",
    ],
    [
      "entry",
      encodeEntry({ inode: 258, type: 0o040000, name: latin1("ab") }),
      "020100000000000000400000020000006162",
    ],
    [
      "extent",
      encodeExtent({ segment: 1, offset: 2, storedBytes: 3, checksum: 4, skip: 5, length: 6 }),
      "010000000200000003000000040000000500000006000000",
    ],
    [
      "extent with sums",
      encodeExtent({
        segment: 1,
        offset: 2,
        storedBytes: 16_385,
        checksum: 4,
        skip: 5,
        length: 6,
        sums: [0x01020304, 7],
      }),
      "0100000002000000014000000400000005000000060000000403020107000000",
    ],
    [
      "inline extended attribute",
      encodeInlineXattr(latin1("user.a"), latin1("xyz")),
      "0000000000000000030000000000000006000000757365722e6178797a",
    ],
    [
      "located extended attribute",
      encodeLocatedXattr(latin1("user.a"), 5000, 0x01020304),
      "0000000000000000881300000403020106000000757365722e61",
    ],
    ["truncation", encodeTruncation(2 ** 33 + 1), "0100000002000000"],
  ])("%s", (_, bytes, golden) => {
    expect(toHex(bytes)).toBe(golden);
  });

  test("EveryLayoutComesBack", () => {
    expect(decodeInode(encodeInode(inode()))).toEqual(inode());
    const entry = { inode: 5, type: 0o100000, name: latin1("n") };
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
    const extent = { segment: 1, offset: 2, storedBytes: 3, checksum: 4, skip: 5, length: 6 };
    expect(decodeExtent(encodeExtent(extent))).toEqual(extent);
    const summed = { ...extent, storedBytes: 65_536, sums: [1, 2, 3, 2 ** 32 - 1] };
    expect(decodeExtent(encodeExtent(summed))).toEqual(summed);
    expect(decodeTruncation(encodeTruncation(9))).toBe(9);
  });

  test("AnAddressMakesAnXattrLocated", () => {
    const bytes = encodeLocatedXattr(latin1("user.a"), 5000, 9);
    bytes.set([3, 0, 0, 0, 4], 0);
    const value = { kind: "located", segment: 3, offset: 4, length: 5000, checksum: 9 };
    expect(decodeXattr(bytes)).toEqual({ name: latin1("user.a"), value });
  });
});

describe("damaged values", () => {
  const cases: [string, () => unknown][] = [
    ["a short inode", () => decodeInode(new Uint8Array(127))],
    ["a reserved byte", () => decodeInode(encodeInode(inode()).fill(1, 120))],
    [
      "a name longer than its value",
      () => decodeEntry(fromHex("0201000000000000004000000300000061")),
    ],
    [
      "an inline value longer than its item",
      () => decodeXattr(fromHex("00000000000000000300000000000000010000006178")),
    ],
    ["an extent of nothing", () => decodeExtent(new Uint8Array(0))],
    ["a sum too few", () => decodeExtent(encodeExtent(extentOf(65_536, [1, 2, 3])))],
    ["a sum too many", () => decodeExtent(encodeExtent(extentOf(16_385, [1, 2, 3])))],
    ["a sum of a block that needs none", () => decodeExtent(encodeExtent(extentOf(16_384, [1])))],
    ["half a sum", () => decodeExtent(new Uint8Array(26))],
  ];
  test.each(cases)("%s is an SmfsError", (_, decode) => {
    expect(decode).toThrow(SmfsError);
  });
});

test("AKeyNamesItsInodeAndKind", () => {
  const high = keyOf(2 ** 40 + 3, ITEM.extent);
  expect([inodeOf(high), kindOf(high)]).toEqual([2 ** 40 + 3, ITEM.extent]);
});
