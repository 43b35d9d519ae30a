/**
 * The size of files: shorter, longer, and the bytes behind the end.
 *
 * A truncation sets the size first. When the extents behind it are more than one record takes, the
 * inode is marked (`FLAG_TRUNCATING` and a truncation item) and the rest goes in further records,
 * after a crash at the next mount. Until then nothing may make the file longer, or dead bytes would
 * come back: such an operation answers `PENDING`, the driver finishes the truncation and runs it again.
 */
import { fail } from "../../../lib/errors.ts";
import type { Transaction } from "./api.ts";
import { cutRange } from "./cutting.ts";
import { loadInode, storeInode } from "./inodes.ts";
import {
  encodeTruncation,
  FLAG_TRUNCATING,
  type InodeItem,
  ITEM,
  keyOf,
  LOW_END,
  TRUNCATIONS,
} from "./items.ts";
import { isDirectory, isRegular } from "./modes.ts";

/** Items that one record changes at most, so that records, transactions and replay stay small. */
export const BATCH_ITEMS = 4096;
/** Greatest size of a file, bytes: offsets are exact numbers. */
export const FILE_SIZE_MAX = LOW_END;

/** The operation must wait until the inode's truncation is finished. */
export const PENDING = Symbol("a truncation is pending");
export type Pending = typeof PENDING;

/** Whether making the file `end` bytes long has to wait. */
export function mustFinish(item: InodeItem, end: number): boolean {
  return end > item.size && (item.flags & FLAG_TRUNCATING) !== 0;
}

/** EINVAL below zero, EFBIG past 2^53 − 1. */
export function checkSize(size: number): void {
  if (!(size >= 0)) fail("EINVAL");
  if (size > FILE_SIZE_MAX) fail("EFBIG");
}

/** Changes `item` (the caller stores it) and the extents. */
export function resize(
  transaction: Transaction,
  inode: number,
  item: InodeItem,
  size: number,
): Pending | undefined {
  if (mustFinish(item, size)) return PENDING;
  const shrinks = size < item.size;
  item.size = size;
  if (shrinks) cutTail(transaction, inode, item);
  return undefined;
}

/** Removes up to a batch of extents behind `item.size`, and keeps the mark right. */
function cutTail(transaction: Transaction, inode: number, item: InodeItem): void {
  const file = { inode, flags: item.flags };
  const cut = cutRange(transaction, file, item.size, LOW_END, BATCH_ITEMS);
  item.allocatedBytes -= cut.bytes;
  if (cut.end < LOW_END) {
    item.flags |= FLAG_TRUNCATING;
    transaction.put(TRUNCATIONS, inode, encodeTruncation(item.size));
  } else if (isTruncating(item)) {
    item.flags &= ~FLAG_TRUNCATING;
    transaction.delete(TRUNCATIONS, inode);
  }
}

/** One more batch of a pending truncation; true when nothing is left to do. */
export function continueTruncation(transaction: Transaction, inode: number): boolean {
  if (transaction.get(keyOf(inode, ITEM.attributes), 0) === undefined) return true;
  const item = loadInode(transaction, inode);
  if (!isTruncating(item)) return true;
  cutTail(transaction, inode, item);
  storeInode(transaction, inode, item);
  return !isTruncating(item);
}

export function isTruncating(item: InodeItem): boolean {
  return (item.flags & FLAG_TRUNCATING) !== 0;
}

/** What ftruncate and open(O_TRUNC) need: EISDIR for a directory, EINVAL for what has no size. */
export function requireRegular(item: InodeItem): void {
  if (isRegular(item.mode)) return;
  fail(isDirectory(item.mode) ? "EISDIR" : "EINVAL");
}
