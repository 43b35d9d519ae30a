/**
 * The superblock: the metadata part of a `checkpoint` record. With the blocks its root leads to it
 * is the whole file system at that point of the log. Behind it stand the active tree's table of
 * live bytes, one `LiveSegment` for each segment in ascending order, and the snapshots, one
 * `SnapshotEntry` with its name for each slot in ascending order.
 *
 * Version 1 had no snapshots and no quota (their fields were reserved, so zero) and did not know how
 * old the data of a segment is (`LiveSegmentV1`). It is read, and never written.
 */
import { bytes, type Infer, struct, u16, u32, u64, u8, viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address } from "../log/api.ts";
import {
  decodeTable,
  decodeTableV1,
  encodeTable,
  type LiveBytes,
  LiveSegment,
  LiveSegmentV1,
  tableBytes,
} from "./live-bytes.ts";
import { MAX_HEIGHT, MAX_NODE_BYTES, NodeHeader, type NodeReference } from "./node.ts";
import {
  decodeSnapshot,
  encodeSnapshot,
  MAX_SNAPSHOTS,
  type Snapshot,
  snapshotBytes,
} from "./snapshot.ts";

const SUPERBLOCK_VERSION = 2;
/** Smallest node size that a volume may have; real volumes use `MAX_NODE_BYTES`. */
const MIN_NODE_BYTES = 256;

export const Superblock = struct("Superblock", {
  version: u16(
    "format version of the tree: 2, or 1 (LiveSegmentV1; rollbacks, and all from quotaBytes on, is 0)",
  ),
  height: u8("levels of nodes, 1 when the root is a leaf"),
  rollbacks: u8("returns to a snapshot so far, modulo 256: what was known of files before is void"),
  nodeBytes: u32("largest length of a node's block"),
  volumeId: bytes(16, "random, given when the volume was made"),
  createdMicros: u64("when the volume was made, microseconds since 1970"),
  rootSegment: u32("where the root's block stands"),
  rootOffset: u32("byte offset in the segment"),
  rootLength: u32("length of the block, bytes"),
  rootChecksum: u32("CRC-32C of the block"),
  nextInode: u64("the next inode number"),
  inodes: u64("inodes that exist"),
  dataBytes: u64("bytes of data that files hold"),
  segments: u32("entries of the live-bytes table"),
  quotaBytes: u64("most bytes of data that files may hold; 0: no limit"),
  quotaInodes: u64("most inodes that may exist; 0: no limit"),
  snapshots: u16("snapshot entries behind the table"),
  lastSlot: u16("slot that was given last; slots go round, so that none is used again soon"),
  previousSegment: u32("where the checkpoint before this one stands; 0: none"),
  previousOffset: u32("its offset"),
});

/** 0: no limit. */
export interface Quota {
  readonly bytes: number;
  readonly inodes: number;
}

export const NO_QUOTA: Quota = { bytes: 0, inodes: 0 };

export interface Checkpoint {
  readonly height: number;
  readonly nodeBytes: number;
  readonly volumeId: Uint8Array;
  readonly createdMicros: number;
  readonly root: NodeReference;
  readonly nextInode: number;
  readonly inodes: number;
  readonly dataBytes: number;
  /** Of the active tree, with the blocks of the snapshots' tables. */
  readonly live: LiveBytes;
  readonly quota: Quota;
  /** In ascending order of slots. */
  readonly snapshots: readonly Snapshot[];
  readonly lastSlot: number;
  /** Returns to a snapshot so far, modulo 256. */
  readonly rollbacks: number;
  /** Where the checkpoint before this one stands. */
  readonly previous: Address | null;
}

/** Length of the encoded checkpoint. */
export function checkpointBytes({ live, snapshots }: Checkpoint): number {
  const entries = snapshots.reduce((sum, snapshot) => sum + snapshotBytes(snapshot), 0);
  return Superblock.size + tableBytes(live) + entries;
}

/** `target` is exactly `checkpointBytes` long. */
export function encodeCheckpoint(target: Uint8Array, checkpoint: Checkpoint): void {
  const view = viewOf(target);
  const { root, live, snapshots, quota, previous, ...rest } = checkpoint;
  Superblock.encode(view, 0, {
    ...rest,
    version: SUPERBLOCK_VERSION,
    rootSegment: root.segment,
    rootOffset: root.offset,
    rootLength: root.length,
    rootChecksum: root.checksum,
    segments: live.count,
    quotaBytes: quota.bytes,
    quotaInodes: quota.inodes,
    snapshots: snapshots.length,
    previousSegment: previous?.segment ?? 0,
    previousOffset: previous?.offset ?? 0,
  });
  let at = encodeTable(view, Superblock.size, live);
  for (const snapshot of snapshots) at = encodeSnapshot(view, at, snapshot);
}

/** Throws `SmfsError` DAMAGED, SHORT or NEWER_VERSION. Keeps nothing of `metadata`. */
export function decodeCheckpoint(metadata: Uint8Array): Checkpoint {
  const view = viewOf(metadata);
  if (metadata.length >= 2) refuseNewer(view.getUint16(Superblock.offsetOf("version"), true));
  const block: Infer<typeof Superblock> = Superblock.decode(view, 0);
  checkFields(block);
  const { height, nodeBytes, createdMicros, nextInode, inodes, dataBytes, lastSlot } = block;
  const { rootSegment: segment, rootOffset: offset, rootLength: length } = block;
  const root = { segment, offset, length, checksum: block.rootChecksum };
  const { live, end } = decodeLive(view, block);
  const snapshots = decodeSnapshots(view, end, block);
  const volumeId = block.volumeId.slice();
  const quota = { bytes: block.quotaBytes, inodes: block.quotaInodes };
  return {
    height,
    nodeBytes,
    volumeId,
    createdMicros,
    root,
    nextInode,
    inodes,
    dataBytes,
    live,
    quota,
    snapshots,
    lastSlot,
    rollbacks: block.rollbacks,
    previous: previousOf(block),
  };
}

function previousOf({ previousSegment, previousOffset }: Infer<typeof Superblock>): Address | null {
  if (previousSegment === 0) return null;
  return { segment: previousSegment, offset: previousOffset };
}

function checkFields(block: Infer<typeof Superblock>): void {
  const { version, height, nodeBytes, rootLength, snapshots, lastSlot } = block;
  if (version < 1) damaged(`version ${version}`);
  if (height < 1 || height > MAX_HEIGHT) damaged(`height ${height}`);
  if (nodeBytes < MIN_NODE_BYTES || nodeBytes > MAX_NODE_BYTES) damaged(`nodes of ${nodeBytes}`);
  if (rootLength < NodeHeader.size || rootLength > nodeBytes) {
    damaged(`a root of ${rootLength} bytes`);
  }
  if (snapshots > MAX_SNAPSHOTS || lastSlot > MAX_SNAPSHOTS) damaged(`${snapshots} snapshots`);
  const newer = [block.rollbacks, block.quotaBytes, block.quotaInodes, snapshots, lastSlot];
  const previous = [block.previousSegment, block.previousOffset];
  if (version === 1 && [...newer, ...previous].some((field) => field !== 0))
    damaged("version 1 with fields of version 2");
}

function decodeLive(
  view: DataView,
  { version, segments }: Infer<typeof Superblock>,
): { live: LiveBytes; end: number } {
  const at = Superblock.size;
  return version === 1
    ? { live: decodeTableV1(view, at, segments), end: at + segments * LiveSegmentV1.size }
    : { live: decodeTable(view, at, segments), end: at + segments * LiveSegment.size };
}

function decodeSnapshots(view: DataView, from: number, block: Infer<typeof Superblock>) {
  const snapshots: Snapshot[] = [];
  let at = from;
  for (let i = 0; i < block.snapshots; i++) {
    const { snapshot, end } = decodeSnapshot(view, at, block.nodeBytes);
    if (snapshot.slot <= (snapshots.at(-1)?.slot ?? 0)) damaged("slots out of order");
    snapshots.push(snapshot);
    at = end;
  }
  if (at !== view.byteLength) damaged("wrong length");
  if (new Set(snapshots.map(({ name }) => name)).size < snapshots.length) damaged("a name twice");
  return snapshots;
}

function refuseNewer(version: number): void {
  if (version <= SUPERBLOCK_VERSION) return;
  const text = `the volume has format ${version}, this program knows ${SUPERBLOCK_VERSION}`;
  throw new SmfsError("NEWER_VERSION", text);
}

function damaged(what: string): never {
  throw new SmfsError("DAMAGED", `superblock: ${what}`);
}
