/**
 * A snapshot as the superblock keeps it: a name and the root of a tree that stays as it is
 * (ARCHITECTURE, "Snapshots"). The entries stand behind the table of live bytes, in ascending order
 * of their slots.
 *
 * The tree's own table of live bytes is a block somewhere in the log, since there may be hundreds of
 * snapshots. That block belongs to whoever keeps the snapshots, not to a tree: its bytes are live in
 * the active tree's table, so that cleaning may move it.
 */
import { type Infer, reserved, struct, u16, u32, u64, u8 } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { LiveSegment } from "./live-bytes.ts";
import { MAX_HEIGHT, NodeHeader, type NodeReference } from "./node.ts";

/** Slots are 1 … this: slot × 2^44 + inode stays below 2^53. */
export const MAX_SNAPSHOTS = 500;
/** Letters, digits and `_ . : -`, a letter or digit first: good as a file name and behind "@". */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}$/;

export const SnapshotEntry = struct("SnapshotEntry", {
  slot: u16("1 … 500; its inodes are shown as slot × 2^44 + inode"),
  height: u16("levels of its tree"),
  nameBytes: u8("length of the name, 1 … 255; the name (ASCII) follows the entry"),
  flags: reserved(3),
  createdMicros: u64("when it was taken, microseconds since 1970"),
  sequence: u64("its state is that after this record"),
  rootSegment: u32("where the root's block stands"),
  rootOffset: u32("byte offset in the segment"),
  rootLength: u32("length of the block, bytes"),
  rootChecksum: u32("CRC-32C of the block"),
  nextInode: u64("the next inode number at that time"),
  inodes: u64("inodes that it holds"),
  dataBytes: u64("bytes of data that its files hold"),
  referencedBytes: u64("sum of its table of live bytes"),
  tableSegment: u32("where the block stands that is its table of live bytes (LiveSegment*)"),
  tableOffset: u32("byte offset in the segment"),
  tableLength: u32("length of that block, bytes"),
  tableChecksum: u32("CRC-32C of that block"),
  room: reserved(8),
});

export interface Snapshot {
  readonly slot: number;
  readonly name: string;
  readonly createdMicros: number;
  /** Its state is that after this record. */
  readonly sequence: number;
  readonly height: number;
  readonly root: NodeReference;
  readonly nextInode: number;
  readonly inodes: number;
  readonly dataBytes: number;
  /** Bytes of the log that its tree refers to. */
  readonly referencedBytes: number;
  /** The encoded table of live bytes of its tree. */
  readonly table: NodeReference;
}

export function isSnapshotName(name: string): boolean {
  return NAME.test(name);
}

/** Length of the encoded entry. */
export function snapshotBytes({ name }: Snapshot): number {
  return SnapshotEntry.size + name.length;
}

/** Writes the entry at `offset`; gives the offset behind it. */
export function encodeSnapshot(view: DataView, offset: number, snapshot: Snapshot): number {
  const { root, table, name, ...rest } = snapshot;
  SnapshotEntry.encode(view, offset, {
    ...rest,
    nameBytes: name.length,
    rootSegment: root.segment,
    rootOffset: root.offset,
    rootLength: root.length,
    rootChecksum: root.checksum,
    tableSegment: table.segment,
    tableOffset: table.offset,
    tableLength: table.length,
    tableChecksum: table.checksum,
  });
  const start = offset + SnapshotEntry.size;
  for (let i = 0; i < name.length; i++) view.setUint8(start + i, name.charCodeAt(i));
  return start + name.length;
}

/** Throws `SmfsError` DAMAGED or SHORT. */
export function decodeSnapshot(
  view: DataView,
  offset: number,
  nodeBytes: number,
): { snapshot: Snapshot; end: number } {
  const entry = SnapshotEntry.decode(view, offset);
  const { slot, height, rootLength, tableLength } = entry;
  if (slot < 1 || slot > MAX_SNAPSHOTS) damaged(`slot ${slot}`);
  if (height < 1 || height > MAX_HEIGHT) damaged(`height ${height}`);
  if (rootLength < NodeHeader.size || rootLength > nodeBytes) damaged(`a root of ${rootLength}`);
  if (tableLength === 0 || tableLength % LiveSegment.size !== 0)
    damaged(`a table of ${tableLength} bytes`);
  const start = offset + SnapshotEntry.size;
  const name = decodeName(view, start, entry.nameBytes);
  return { snapshot: { ...fieldsOf(entry), name }, end: start + entry.nameBytes };
}

function fieldsOf(entry: Infer<typeof SnapshotEntry>): Omit<Snapshot, "name"> {
  const { slot, height, createdMicros, sequence, nextInode, inodes, dataBytes } = entry;
  const { rootSegment, rootOffset, rootLength, rootChecksum, referencedBytes } = entry;
  const { tableSegment, tableOffset, tableLength, tableChecksum } = entry;
  const root = {
    segment: rootSegment,
    offset: rootOffset,
    length: rootLength,
    checksum: rootChecksum,
  };
  const table = {
    segment: tableSegment,
    offset: tableOffset,
    length: tableLength,
    checksum: tableChecksum,
  };
  const counters = { nextInode, inodes, dataBytes, referencedBytes };
  return { slot, height, createdMicros, sequence, root, table, ...counters };
}

function decodeName(view: DataView, at: number, length: number): string {
  if (view.byteLength - at < length) damaged("ends inside a name");
  let name = "";
  for (let i = 0; i < length; i++) name += String.fromCharCode(view.getUint8(at + i));
  if (!isSnapshotName(name)) damaged("a name that may not be");
  return name;
}

function damaged(what: string): never {
  throw new SmfsError("DAMAGED", `snapshot: ${what}`);
}
