/**
 * The items of the tree: which kinds there are, their keys, and the layout of their values
 * (ARCHITECTURE, "The tree"). Nothing here reads or writes a tree.
 *
 * - A key is `high = inode × 16 + kind` and a `low` that depends on the kind. Volume-wide kinds
 *   stand under inode 0. Inode numbers are never used twice, so an item needs no generation.
 * - `dataBytes` of the superblock is the sum of all extents' lengths and of all located extended
 *   attributes' lengths; `inodes` counts attribute items.
 */
import { assert } from "../../../lib/assert.ts";
import {
  i64,
  type Infer,
  reserved,
  struct,
  u8,
  u16,
  u32,
  u64,
  viewOf,
} from "../../../lib/codec.ts";
import { combineCrc32c, crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Timestamp } from "../vfs.ts";

export const ITEM = {
  attributes: 1,
  entry: 2,
  symlink: 3,
  xattr: 4,
  extent: 5,
  /** Under inode 0: low is an inode without links that somebody still held or that is being removed. */
  orphan: 6,
  /** Under inode 0: low is an inode whose extents past its size are still being removed. */
  truncation: 7,
  /** Under `SHARED_BASE` + segment: low is the offset of a stored block with more than one owner. */
  shared: 8,
} as const;
export type ItemKind = (typeof ITEM)[keyof typeof ITEM];

const KINDS_PER_INODE = 16;
/** Inode 1 is the root directory; the first number that `allocateInode` may give. */
export const FIRST_FREE_INODE = 2;
/** Bound of `low`, exclusive: a file offset, a directory cookie or an inode. */
export const LOW_END = Number.MAX_SAFE_INTEGER;

/** The `high` half of a key. */
export function keyOf(inode: number, kind: ItemKind): number {
  return inode * KINDS_PER_INODE + kind;
}

export function inodeOf(high: number): number {
  return Math.floor(high / KINDS_PER_INODE);
}

export function kindOf(high: number): number {
  return high % KINDS_PER_INODE;
}

/** Keys of the two volume-wide kinds. */
export const ORPHANS = keyOf(0, ITEM.orphan);
export const TRUNCATIONS = keyOf(0, ITEM.truncation);

/** Shared blocks stand behind every inode: their keys are addresses, not inodes. */
const SHARED_BASE = 2 ** 48;

/** The `high` of the shared blocks of a segment. */
export function sharedKey(segment: number): number {
  return (SHARED_BASE + segment) * KINDS_PER_INODE + ITEM.shared;
}

/** The segment of a key that `sharedKey` made; undefined for any other. */
export function sharedSegmentOf(high: number): number | undefined {
  const inode = inodeOf(high);
  return inode >= SHARED_BASE && kindOf(high) === ITEM.shared ? inode - SHARED_BASE : undefined;
}

/** `flags` of an inode: a truncation item exists, so extents past `size` are dead. */
export const FLAG_TRUNCATING = 1;
/** Some of its extents point, or once pointed, into blocks that others own too. */
export const FLAG_SHARED = 2;
/** Made without a name (O_TMPFILE), and may still get its first one. */
export const FLAG_UNNAMED = 4;
/** It has the extended attribute `security.capability`, which goes with the next write. */
export const FLAG_CAPABILITY = 8;

export const InodeItem = struct("InodeItem", {
  mode: u32("type and permission bits, as st_mode"),
  links: u32(
    "names that lead here; for a directory 2 + its subdirectories; 0: removed, still held",
  ),
  uid: u32("owner"),
  gid: u32("group"),
  device: u32("major and minor of a device node, Linux's new_encode_dev; 0 otherwise"),
  flags: u32(
    "bit 0: a truncation is pending; bit 1: has shared blocks; bit 2: never had a name; bit 3: has file capabilities",
  ),
  size: u64("bytes; of a directory its entries × 32; of a symlink its target's bytes"),
  allocatedBytes: u64("sum of the extents' lengths"),
  accessedSeconds: i64("last access (set by utimens and at creation only)"),
  modifiedSeconds: i64("last change of the contents"),
  changedSeconds: i64("last change of contents or attributes"),
  bornSeconds: i64("creation"),
  accessedNanoseconds: u32("0 … 999,999,999"),
  modifiedNanoseconds: u32("0 … 999,999,999"),
  changedNanoseconds: u32("0 … 999,999,999"),
  bornNanoseconds: u32("0 … 999,999,999"),
  parent: u64(
    "the directory it stands in (the root: itself); of what is no directory a hint, 0 not known",
  ),
  nameSeed: u32("of a directory: seed of its names' hash, the same in the whole volume"),
  room: reserved(28),
});
export type InodeItem = Infer<typeof InodeItem>;

export const EntryItem = struct("EntryItem", {
  inode: u64("where the name leads"),
  type: u32("st_mode's type bits of that inode"),
  nameBytes: u16("length of the name, 1 … 255; the name follows"),
  room: reserved(2),
});

export const XattrItem = struct("XattrItem", {
  segment: u32("located value: segment of its bytes; 0: the value is inline"),
  offset: u32("located value: byte offset in the segment"),
  valueBytes: u32("length of the value"),
  checksum: u32("located value: CRC-32C of its bytes; 0 when inline"),
  nameBytes: u8("length of the name, 1 … 255; the name follows, then the inline value"),
  room: reserved(3),
});

export const ExtentItem = struct("ExtentItem", {
  segment: u32("segment of the stored block"),
  offset: u32("byte offset of the stored block in the segment"),
  storedBytes: u32("length of the stored block, at most 64 KiB"),
  checksum: u32("CRC-32C of the whole stored block"),
  skip: u32("bytes of the stored block before the part used"),
  length: u32("bytes of the part used: the file's bytes [low, low + length)"),
});
export interface ExtentItem extends Infer<typeof ExtentItem> {
  /**
   * CRC-32C of each `SUMMED_BYTES` of the stored block, so that a read of a part of it need not read
   * all. Only of blocks that are longer; extents of older programs have none.
   */
  readonly sums?: readonly number[];
}

export const BlockSum = struct("BlockSum", {
  checksum: u32("CRC-32C of the next 16 KiB of the stored block, the last of them shorter"),
});

export const SharedOwner = struct("SharedOwner", {
  inode: u64("a file with extents in the block"),
  start: i64("file offset at which byte 0 of the block stands or would stand"),
});
export type SharedOwner = Infer<typeof SharedOwner>;

export const TruncationItem = struct("TruncationItem", {
  size: u64("extents from here on are dead; equals the inode's size"),
});

/** Where `Transaction.putLocated` writes the address in a located xattr's or an extent's value. */
export const ADDRESS_AT = 0;

/** Largest stored block, bytes: one CRC-32C to check, and the least a read takes from the log. */
export const BLOCK_BYTES = 65_536;
/** Bytes of a stored block that have a checksum of their own. */
export const SUMMED_BYTES = 16_384;
/** Largest extended attribute kept in its item, bytes; longer values stand in a record's body. */
export const XATTR_INLINE_MAX = 2048;

const NO_SUMS: readonly number[] = [];

export interface Entry {
  readonly inode: number;
  readonly type: number;
  readonly name: Uint8Array;
}

export interface Xattr {
  readonly name: Uint8Array;
  readonly value: XattrValue;
}

export type XattrValue =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | {
      readonly kind: "located";
      readonly segment: number;
      readonly offset: number;
      readonly length: number;
      readonly checksum: number;
    };

export function encodeInode(item: InodeItem): Uint8Array {
  const bytes = new Uint8Array(InodeItem.size);
  InodeItem.encode(viewOf(bytes), 0, item);
  return bytes;
}

export function decodeInode(value: Uint8Array): InodeItem {
  return InodeItem.decode(viewOf(value), 0);
}

export function encodeExtent(item: ExtentItem): Uint8Array {
  const { sums = NO_SUMS } = item;
  const bytes = new Uint8Array(ExtentItem.size + sums.length * BlockSum.size);
  const view = viewOf(bytes);
  ExtentItem.encode(view, 0, item);
  for (const [i, checksum] of sums.entries()) {
    BlockSum.encode(view, ExtentItem.size + i * BlockSum.size, { checksum });
  }
  return bytes;
}

/** Throws `SmfsError` SHORT, DAMAGED for sums that are not those of such a block. */
export function decodeExtent(value: Uint8Array): ExtentItem {
  const view = viewOf(value);
  const item = ExtentItem.decode(view, 0);
  if (value.length === ExtentItem.size) return item;
  const count = Math.ceil(item.storedBytes / SUMMED_BYTES);
  if (count < 2 || value.length !== ExtentItem.size + count * BlockSum.size) {
    throw new SmfsError("DAMAGED", `an extent of ${value.length} bytes`);
  }
  const sums: number[] = [];
  for (let at = ExtentItem.size; at < value.length; at += BlockSum.size) {
    sums.push(view.getUint32(at, true));
  }
  return { ...item, sums };
}

/** The checksums of a stored block: each of its bytes is read once. */
export function sumBlock(block: Uint8Array): Pick<ExtentItem, "checksum" | "sums"> {
  if (block.length <= SUMMED_BYTES) return { checksum: crc32c(block) };
  const sums: number[] = [];
  let checksum = 0;
  for (let at = 0; at < block.length; at += SUMMED_BYTES) {
    const part = block.subarray(at, at + SUMMED_BYTES);
    const sum = crc32c(part);
    sums.push(sum);
    checksum = at === 0 ? sum : combineCrc32c(checksum, sum, part.length);
  }
  return { checksum, sums };
}

export function encodeEntry({ inode, type, name }: Entry): Uint8Array {
  const bytes = new Uint8Array(EntryItem.size + name.length);
  EntryItem.encode(viewOf(bytes), 0, { inode, type, nameBytes: name.length });
  bytes.set(name, EntryItem.size);
  return bytes;
}

/** The name is a view into `value`. */
export function decodeEntry(value: Uint8Array): Entry {
  const { inode, type, nameBytes } = EntryItem.decode(viewOf(value), 0);
  return { inode, type, name: tail(value, "EntryItem", EntryItem.size, nameBytes) };
}

export function encodeInlineXattr(name: Uint8Array, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(XattrItem.size + name.length + value.length);
  const valueBytes = value.length;
  const head = { segment: 0, offset: 0, valueBytes, checksum: 0, nameBytes: name.length };
  XattrItem.encode(viewOf(bytes), 0, head);
  bytes.set(name, XattrItem.size);
  bytes.set(value, XattrItem.size + name.length);
  return bytes;
}

/** The address is filled in by `Transaction.putLocated` (at `ADDRESS_AT`). */
export function encodeLocatedXattr(
  name: Uint8Array,
  valueBytes: number,
  checksum: number,
): Uint8Array {
  const bytes = new Uint8Array(XattrItem.size + name.length);
  const head = { segment: 0, offset: 0, valueBytes, checksum, nameBytes: name.length };
  XattrItem.encode(viewOf(bytes), 0, head);
  bytes.set(name, XattrItem.size);
  return bytes;
}

/** Name and inline value are views into `value`. */
export function decodeXattr(value: Uint8Array): Xattr {
  const head = XattrItem.decode(viewOf(value), 0);
  const { segment, offset, checksum, valueBytes: length } = head;
  const name = tail(value, "XattrItem", XattrItem.size, head.nameBytes);
  if (segment !== 0) return { name, value: { kind: "located", segment, offset, length, checksum } };
  const bytes = tail(value, "XattrItem", XattrItem.size + name.length, length);
  return { name, value: { kind: "inline", bytes } };
}

export function encodeTruncation(size: number): Uint8Array {
  const bytes = new Uint8Array(TruncationItem.size);
  TruncationItem.encode(viewOf(bytes), 0, { size });
  return bytes;
}

export function decodeTruncation(value: Uint8Array): number {
  return TruncationItem.decode(viewOf(value), 0).size;
}

/** The value of a shared block: its owners, one after the other. */
export function encodeOwners(owners: readonly SharedOwner[]): Uint8Array {
  const bytes = new Uint8Array(owners.length * SharedOwner.size);
  const view = viewOf(bytes);
  for (const [i, owner] of owners.entries()) SharedOwner.encode(view, i * SharedOwner.size, owner);
  return bytes;
}

/** Throws `SmfsError` DAMAGED for a length that is no number of owners. */
export function decodeOwners(value: Uint8Array): SharedOwner[] {
  if (value.length % SharedOwner.size !== 0) {
    throw new SmfsError("DAMAGED", `a shared block's item of ${value.length} bytes`);
  }
  const view = viewOf(value);
  const count = value.length / SharedOwner.size;
  return Array.from({ length: count }, (_, i) => SharedOwner.decode(view, i * SharedOwner.size));
}

export interface NewInode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly size?: number;
  readonly device?: number;
  readonly parent?: number;
  readonly nameSeed?: number;
}

export function newInode(fields: NewInode, now: Timestamp): InodeItem {
  return {
    mode: fields.mode,
    links: fields.links,
    uid: fields.uid,
    gid: fields.gid,
    device: fields.device ?? 0,
    flags: 0,
    size: fields.size ?? 0,
    allocatedBytes: 0,
    accessedSeconds: now.seconds,
    modifiedSeconds: now.seconds,
    changedSeconds: now.seconds,
    bornSeconds: now.seconds,
    accessedNanoseconds: now.nanoseconds,
    modifiedNanoseconds: now.nanoseconds,
    changedNanoseconds: now.nanoseconds,
    bornNanoseconds: now.nanoseconds,
    parent: fields.parent ?? 0,
    nameSeed: fields.nameSeed ?? 0,
  };
}

export function timestampOf(micros: number): Timestamp {
  const seconds = Math.floor(micros / 1_000_000);
  return { seconds, nanoseconds: (micros - seconds * 1_000_000) * 1000 };
}

/** Seconds from 1970 that a time may be away: what an item holds. Linux cuts times off likewise. */
const TIME_MAX_SECONDS = Number.MAX_SAFE_INTEGER;

export function setTime(
  item: InodeItem,
  which: "accessed" | "modified" | "changed" | "born",
  time: Timestamp,
): void {
  assert(time.nanoseconds >= 0 && time.nanoseconds < 1e9, "nanoseconds are below a second");
  item[`${which}Seconds`] = Math.max(-TIME_MAX_SECONDS, Math.min(time.seconds, TIME_MAX_SECONDS));
  item[`${which}Nanoseconds`] = time.nanoseconds;
}

function tail(value: Uint8Array, what: string, at: number, length: number): Uint8Array {
  if (value.length - at < length) {
    throw new SmfsError("SHORT", `${what} needs ${at + length} bytes, had ${value.length}`);
  }
  return value.subarray(at, at + length);
}
