/**
 * The tree's formats byte by byte: nodes and updates of version 1, the superblock of 2 and of 1. A
 * change here is a new format version: the old bytes stay, and must still be read.
 */
import { expect, test } from "vitest";
import { fromHex, toHex } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { Node, Slot } from "../../logfs/core/fs/node.ts";
import { decodeNode, encodeNode } from "../../logfs/core/fs/node-codec.ts";
import { LiveBytes } from "../../logfs/core/fs/live-bytes.ts";
import {
  type Checkpoint,
  checkpointBytes,
  decodeCheckpoint,
  encodeCheckpoint,
  NO_QUOTA,
} from "../../logfs/core/fs/superblock.ts";
import {
  decodeUpdate,
  encodeUpdate,
  type Update,
  updateBytes,
} from "../../logfs/core/fs/update.ts";

/** Hex digits with spaces and comments taken out. */
const hex = (text: string) => text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, "");

const LEAF = hex(`
  534d464e 00 00 0200 39000000 00000000                    # header: level 0, 2 items, 57 bytes
  1100000000000000 0000000000000000 0300 616263            # (17, 0) "abc"
  1500000000000000 0000000001000000 0200 6465              # (21, 2^32) "de"
`);

const INNER = hex(`
  534d464e 01 00 0200 50000000 00000000                    # header: level 1, 2 children, 80 bytes
  0000000000000000 0000000000000000                        # from (0, 0)
  01000000 00100000 39000000 efbeadde                      # segment 1, offset 4096, 57 bytes, checksum
  1500000000000000 0700000000000000                        # from (21, 7)
  02000000 00200000 00400000 78563412
`);

const UPDATE = hex(`
  02000000 01000000 ffffffffffffffff 0010000000000000 0900000000000000  # 2 items, 1 free, −1 inode, +4096 bytes, next 9
  1100000000000000 0000000000000000 01 00 0200 6869                     # put (17, 0) "hi"
  1500000000000000 0500000000000000 02 00 0000                          # delete (21, 5)
  03000000 00020000 00100000                                            # free segment 3, offset 512, 4096 bytes
`);

const SUPERBLOCK_V1 = hex(`
  0100 0300 00400000                                       # version 1, height 3, nodes of 16384
  000102030405060708090a0b0c0d0e0f                         # volume id
  0000a40731af0500                                         # created, microseconds
  02000000 00300000 00020000 efbeadde                      # root: segment 2, offset 12288, 512 bytes
  0a00000000000000 0800000000000000 0000000001000000       # next inode, inodes, bytes of data
  02000000                                                 # 2 segments with live bytes
  00000000000000000000000000000000000000000000000000000000
  01000000 e8030000
  02000000 00020000
`);

const SUPERBLOCK = hex(`
  0200 03 07 00400000                                      # version 2, height 3, 7 rollbacks, nodes of 16384
  000102030405060708090a0b0c0d0e0f                         # volume id
  0000a40731af0500                                         # created, microseconds
  02000000 00300000 00020000 efbeadde                      # root: segment 2, offset 12288, 512 bytes
  0a00000000000000 0800000000000000 0000000001000000       # next inode, inodes, bytes of data
  02000000                                                 # 2 segments with live bytes
  0000100000000000 e803000000000000                        # quota: 1 MiB of data, 1000 inodes
  0100 0500                                                # 1 snapshot; slot 5 was given last
  01000000 00500000                                        # the checkpoint before: segment 1, offset 20480
  01000000 e8030000 00105e5f                               # segment 1: 1000 bytes, of 2020-09-13
  02000000 00020000 80515f5f
  0500 0200 06 000000                                      # slot 5, height 2, name of 6 bytes
  0000a40731af0500 6300000000000000                        # created; state after record 99
  01000000 00100000 00010000 78563412                      # its root: segment 1, offset 4096
  0900000000000000 0700000000000000 0000000000010000       # next inode, inodes, bytes of data
  e803000000000000                                         # refers to 1000 bytes of the log
  01000000 00200000 0c000000 21436587                      # its table: segment 1, offset 8192, 12 bytes
  0000000000000000
  6d6f6e646179                                             # "monday"
`);

const CHECKPOINT_V1: Omit<Checkpoint, "live"> = {
  height: 3,
  nodeBytes: 16384,
  volumeId: fromHex("000102030405060708090a0b0c0d0e0f"),
  createdMicros: 1_600_000_000_000_000,
  root: { segment: 2, offset: 12288, length: 512, checksum: 0xdeadbeef },
  nextInode: 10,
  inodes: 8,
  dataBytes: 2 ** 32,
  quota: NO_QUOTA,
  snapshots: [],
  lastSlot: 0,
  rollbacks: 0,
  previous: null,
};

test("a leaf", () => {
  const node = new Node(0);
  node.highs.push(17, 21);
  node.lows.push(0, 2 ** 32);
  node.values.insert(0, fromHex("616263"));
  node.values.insert(1, fromHex("6465"));
  node.bytes = LEAF.length / 2;
  const { block, checksum } = encodeNode(node, () => expect.unreachable());
  expect(toHex(block)).toBe(LEAF);
  const reference = { segment: 1, offset: 0, length: block.length, checksum };
  const decoded = decodeNode(fromHex(LEAF), reference, 0);
  expect([decoded.highs, decoded.lows, decoded.bytes]).toEqual([node.highs, node.lows, node.bytes]);
  expect([decoded.valueAt(0), decoded.valueAt(1)]).toEqual([node.valueAt(0), node.valueAt(1)]);
});

test("an inner node", () => {
  const children = [
    { segment: 1, offset: 4096, length: 57, checksum: 0xdeadbeef },
    { segment: 2, offset: 8192, length: 16384, checksum: 0x12345678 },
  ];
  const bytes = fromHex(INNER);
  const reference = { segment: 1, offset: 0, length: bytes.length, checksum: crc32c(bytes) };
  const node = decodeNode(bytes, reference, 1);
  expect(node.children).toEqual(children.map((child) => new Slot(0, child, null)));
  expect([node.highs, node.lows]).toEqual([
    [0, 21],
    [0, 7],
  ]);
  const encoded = encodeNode(node, (slot) => slot.reference ?? expect.unreachable());
  expect(toHex(encoded.block)).toBe(INNER);
});

test("the metadata part of an update", () => {
  const update: Update = {
    changes: [
      { high: 17, low: 0, value: fromHex("6869") },
      { high: 21, low: 5, value: null },
    ],
    frees: [{ segment: 3, offset: 512, length: 4096 }],
    inodes: -1,
    dataBytes: 4096,
    nextInode: 9,
  };
  const bytes = new Uint8Array(updateBytes(update));
  encodeUpdate(bytes, update);
  expect(toHex(bytes)).toBe(UPDATE);
  expect(decodeUpdate(fromHex(UPDATE), 100)).toEqual(update);
});

test("the metadata part of a checkpoint", () => {
  const live = new LiveBytes([
    { segment: 2, bytes: 512, writtenSeconds: 1_600_082_304 },
    { segment: 1, bytes: 1000, writtenSeconds: 1_600_000_000 },
  ]);
  const snapshot = {
    slot: 5,
    name: "monday",
    createdMicros: 1_600_000_000_000_000,
    sequence: 99,
    height: 2,
    root: { segment: 1, offset: 4096, length: 256, checksum: 0x12345678 },
    nextInode: 9,
    inodes: 7,
    dataBytes: 2 ** 40,
    referencedBytes: 1000,
    table: { segment: 1, offset: 8192, length: 12, checksum: 0x87654321 },
  };
  const quota = { bytes: 2 ** 20, inodes: 1000 };
  const kept = { snapshots: [snapshot], lastSlot: 5, rollbacks: 7 };
  const previous = { segment: 1, offset: 20480 };
  const checkpoint = { ...CHECKPOINT_V1, live, quota, ...kept, previous };
  const bytes = new Uint8Array(checkpointBytes(checkpoint));
  encodeCheckpoint(bytes, checkpoint);
  expect(toHex(bytes)).toBe(SUPERBLOCK);
  expect(decodeCheckpoint(fromHex(SUPERBLOCK))).toEqual(checkpoint);
});

test("the metadata part of a checkpoint, version 1", () => {
  const live = new LiveBytes([
    { segment: 1, bytes: 1000, writtenSeconds: 0 },
    { segment: 2, bytes: 512, writtenSeconds: 0 },
  ]);
  expect(decodeCheckpoint(fromHex(SUPERBLOCK_V1))).toEqual({ ...CHECKPOINT_V1, live });
});

test("a newer superblock is refused as newer, not as damaged", () => {
  const newer = fromHex(SUPERBLOCK);
  newer[0] = 3;
  expect(() => decodeCheckpoint(newer)).toThrow(expect.objectContaining({ code: "NEWER_VERSION" }));
});
