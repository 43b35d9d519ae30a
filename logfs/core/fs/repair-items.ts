/** Repairs of one inode's own items: attributes, extents, extended attributes, shared blocks. */
import { EMPTY } from "../../../lib/bytes.ts";
import { ROOT_INODE, type Timestamp } from "../vfs.ts";
import type { Transaction } from "./api.ts";
import { cutRange } from "./cutting.ts";
import { loadInode, storeInode, updateInode } from "./inodes.ts";
import {
  BLOCK_BYTES,
  decodeExtent,
  decodeOwners,
  decodeXattr,
  encodeExtent,
  encodeTruncation,
  FLAG_SHARED,
  ITEM,
  keyOf,
  LOW_END,
  newInode,
  ORPHANS,
  type SharedOwner,
  TRUNCATIONS,
} from "./items.ts";
import { S_IFDIR, S_IFLNK, S_IFREG } from "./modes.ts";
import { freeSlot, hashName, BUCKET_SLOTS } from "./names.ts";
import { freeXattr } from "./removal.ts";
import { attributesOf, recount } from "./repair-names.ts";
import { isPiece, isSameOwner, storeOwners, visitOwner } from "./sharing.ts";
import { BATCH_ITEMS, isTruncating } from "./truncation.ts";

const XATTR_SEED = 0;

interface ExtentSums {
  readonly bytes: number;
  readonly end: number;
}

function sumExtents(transaction: Transaction, inode: number): ExtentSums {
  let bytes = 0;
  let end = 0;
  transaction.scan(keyOf(inode, ITEM.extent), 0, LOW_END, (start, value) => {
    const { length } = decodeExtent(value);
    bytes += length;
    end = Math.max(end, start + length);
    return true;
  });
  return { bytes, end };
}

export function recountAllocated(transaction: Transaction, inode: number): void {
  const { bytes } = sumExtents(transaction, inode);
  updateInode(transaction, inode, (item) => {
    item.allocatedBytes = bytes;
  });
}

/** The size takes in all data: what is behind it could not be read. */
export function growToData(transaction: Transaction, inode: number): void {
  const { end } = sumExtents(transaction, inode);
  updateInode(transaction, inode, (item) => {
    item.size = Math.max(item.size, end);
  });
}

export function correctSymlinkSize(transaction: Transaction, inode: number): void {
  const target = transaction.get(keyOf(inode, ITEM.symlink), 0) ?? EMPTY;
  updateInode(transaction, inode, (item) => {
    item.size = target.length;
  });
}

/** Attributes as far as the inode's other items tell: what it is, its size, nobody's but root's. */
export function makeAttributes(transaction: Transaction, inode: number, now: Timestamp): void {
  if (attributesOf(transaction, inode) !== null) return;
  const { bytes, end } = sumExtents(transaction, inode);
  const target = transaction.get(keyOf(inode, ITEM.symlink), 0);
  const { nameSeed } = loadInode(transaction, ROOT_INODE);
  const mode = guessMode(transaction, inode, target);
  const isDirectory = mode >>> 12 === S_IFDIR >>> 12;
  const place = isDirectory ? { parent: ROOT_INODE, nameSeed } : {};
  const links = isDirectory ? 2 : 1;
  const size = target?.length ?? end;
  const item = newInode({ mode, uid: 0, gid: 0, links, size, ...place }, now);
  // Whether it shares blocks is not known: asking costs little, not asking frees others' bytes.
  storeInode(transaction, inode, { ...item, allocatedBytes: bytes, flags: FLAG_SHARED });
  transaction.adjust({ inodes: 1 });
  if (isDirectory) recount(transaction, inode);
}

function guessMode(
  transaction: Transaction,
  inode: number,
  target: Uint8Array | undefined,
): number {
  if (target !== undefined) return S_IFLNK | 0o777;
  let hasEntries = false;
  transaction.scan(keyOf(inode, ITEM.entry), 0, LOW_END, () => {
    hasEntries = true;
    return false;
  });
  return hasEntries ? S_IFDIR | 0o700 : S_IFREG | 0o600;
}

/** The mark of the inode and the item of the pending truncation agree; the mark is believed. */
export function agreeOnTruncation(transaction: Transaction, inode: number): void {
  const item = attributesOf(transaction, inode);
  if (item !== null && isTruncating(item)) {
    transaction.put(TRUNCATIONS, inode, encodeTruncation(item.size));
  } else {
    transaction.delete(TRUNCATIONS, inode);
  }
}

/** An inode without links is removed at the next mount; one that has links, or is none, is no orphan. */
export function agreeOnOrphan(transaction: Transaction, inode: number): string {
  const item = attributesOf(transaction, inode);
  if (item !== null && item.links === 0) {
    transaction.put(ORPHANS, inode, EMPTY);
    return "marked as an orphan: the next mount removes it";
  }
  transaction.delete(ORPHANS, inode);
  return "no longer marked as an orphan";
}

/** Of two extents that overlap, the one that starts first ends where the other starts. */
export function separateExtents(transaction: Transaction, inode: number, start: number): void {
  const high = keyOf(inode, ITEM.extent);
  const before = start === 0 ? undefined : transaction.floor(high, start - 1);
  if (before === undefined) return;
  const extent = decodeExtent(before.value);
  const length = Math.min(extent.length, start - before.low);
  transaction.put(high, before.low, encodeExtent({ ...extent, length }));
  recountAllocated(transaction, inode);
}

export function dropExtent(transaction: Transaction, inode: number, start: number): void {
  transaction.delete(keyOf(inode, ITEM.extent), start);
  recountAllocated(transaction, inode);
}

/** The bytes become a hole, which reads as zeros. */
export function zeroRange(
  transaction: Transaction,
  inode: number,
  range: { readonly from: number; readonly to: number },
): void {
  const { flags } = loadInode(transaction, inode);
  const cut = cutRange(transaction, { inode, flags }, range.from, range.to, BATCH_ITEMS);
  updateInode(transaction, inode, (item) => {
    item.allocatedBytes -= cut.bytes;
  });
}

/** Extended attributes whose value stands at this address; gives how many. */
export function dropXattrsAt(
  transaction: Transaction,
  inode: number,
  at: { readonly segment: number; readonly offset: number },
): number {
  const high = keyOf(inode, ITEM.xattr);
  const found: { low: number; item: Uint8Array }[] = [];
  transaction.scan(high, 0, LOW_END, (low, item) => {
    const { value } = decodeXattr(item);
    const isIt = value.kind === "located" && value.segment === at.segment;
    if (isIt && value.offset === at.offset) found.push({ low, item: item.slice() });
    return true;
  });
  for (const { low, item } of found) {
    freeXattr(transaction, item);
    transaction.delete(high, low);
  }
  return found.length;
}

export function moveXattr(transaction: Transaction, inode: number, low: number): void {
  const high = keyOf(inode, ITEM.xattr);
  const item = transaction.get(high, low)?.slice();
  if (item === undefined) return;
  const bucket = hashName(decodeXattr(item).name, XATTR_SEED) * BUCKET_SLOTS;
  transaction.delete(high, low);
  transaction.put(high, freeSlot(transaction, high, bucket), item);
}

/** Listed are the owners that have a piece of the block, those `found` too; each is marked as sharing. */
export function correctOwners(
  transaction: Transaction,
  segment: number,
  key: KeyLike,
  found: readonly SharedOwner[],
): void {
  const value = transaction.get(key.high, key.low);
  const listed = value === undefined ? [] : decodeOwners(value);
  const unlisted = found.filter((owner) => !listed.some((one) => isSameOwner(one, owner)));
  const block = { segment, offset: key.low, storedBytes: BLOCK_BYTES };
  const owners = [...listed, ...unlisted].filter((owner) => {
    let hasPiece = false;
    visitOwner(transaction, owner, { from: 0, to: BLOCK_BYTES }, (extent) => {
      hasPiece = isPiece(extent, block, owner);
      return !hasPiece;
    });
    return hasPiece;
  });
  for (const { inode } of owners) {
    updateInode(transaction, inode, (item) => {
      item.flags |= FLAG_SHARED;
    });
  }
  storeOwners(transaction, block, owners);
}

interface KeyLike {
  readonly high: number;
  readonly low: number;
}
