/**
 * Changing file data: write, fallocate. Each function is one operation, so one record; a request
 * larger than a record takes is a loop of the driver over them.
 */
import { fail } from "../../../lib/errors.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, type Timestamp } from "../vfs.ts";
import { withoutSetId } from "./access.ts";
import type { ItemView, Transaction } from "./api.ts";
import { type Cut, cutRange } from "./cutting.ts";
import { storeExtents, visitExtents } from "./extents.ts";
import { loadInode, storeInode, touchContents } from "./inodes.ts";
import type { InodeItem } from "./items.ts";
import {
  BATCH_ITEMS,
  FILE_SIZE_MAX,
  mustFinish,
  PENDING,
  type Pending,
  requireRegular,
} from "./truncation.ts";
import { dropCapabilities } from "./xattrs.ts";

/** File data in one record, bytes. */
const WRITE_RECORD_BYTES = 1024 * 1024;

/** Who changes a file, as far as its contents ask. */
export interface Writer {
  readonly inode: number;
  /** Writes go to the end of the file, whatever their offset. */
  readonly append: boolean;
  /** Without CAP_FSETID: a write takes set-uid and set-gid away. */
  readonly privilege: "root" | "user";
}

/**
 * Writes as much of `data` as one record takes: 1 MiB, less when that would cut more than a batch
 * of extents. Gives the bytes written.
 */
export function writePart(
  transaction: Transaction,
  writer: Writer,
  offset: number,
  data: Uint8Array,
  now: Timestamp,
): number | Pending {
  const { inode } = writer;
  const item = loadInode(transaction, inode);
  requireRegular(item);
  const start = writer.append ? item.size : offset;
  checkRange(start, data.length);
  const wanted = start + Math.min(data.length, WRITE_RECORD_BYTES);
  if (mustFinish(item, wanted)) return PENDING;
  const cut = overwrite(transaction, inode, item, start, wanted);
  const written = cut.end - start;
  storeExtents(transaction, inode, start, data.subarray(0, written));
  item.allocatedBytes += written - cut.bytes;
  item.size = Math.max(item.size, start + written);
  noteChange(transaction, item, writer, now);
  storeInode(transaction, inode, item);
  return written;
}

/** Nothing stands behind the end of a file that is not being truncated, so appending cuts nothing. */
function overwrite(
  transaction: Transaction,
  inode: number,
  item: InodeItem,
  from: number,
  to: number,
): Cut {
  if (from >= item.size) return { bytes: 0, end: to, cost: 0 };
  return cutRange(transaction, { inode, flags: item.flags }, from, to, BATCH_ITEMS);
}

/** EINVAL before the file, EFBIG past 2^53 − 1. */
export function checkRange(offset: number, length: number): void {
  if (!(offset >= 0)) fail("EINVAL");
  if (offset + length > FILE_SIZE_MAX) fail("EFBIG");
}

/** What a change of its contents does to an inode: its times, its set-id bits, its capabilities. */
export function noteChange(
  transaction: Transaction,
  item: InodeItem,
  writer: Writer,
  now: Timestamp,
): void {
  touchContents(item, now);
  dropCapabilities(transaction, writer.inode, item);
  if (writer.privilege === "user") item.mode = withoutSetId(item.mode, "mayKeepGroup");
}

export interface Allocation {
  readonly offset: number;
  readonly length: number;
  /** FALLOC_ bits. */
  readonly mode: number;
}

/** Throws what fallocate(2) says about these arguments. */
export function checkAllocation({ offset, length, mode }: Allocation): void {
  if (!(offset >= 0) || !(length > 0)) fail("EINVAL");
  const known = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE;
  if ((mode & ~known) !== 0) fail("EOPNOTSUPP");
  const punches = (mode & FALLOC_PUNCH_HOLE) !== 0;
  if (punches && (mode & FALLOC_KEEP_SIZE) === 0) fail("EOPNOTSUPP");
  if (punches && (mode & FALLOC_ZERO_RANGE) !== 0) fail("EOPNOTSUPP");
  checkRange(offset, length);
}

/**
 * One batch of a fallocate; gives where the next one goes on, `offset + length` when it is done.
 * A log has nowhere to put bytes that are not written yet, so plain allocation only sets the size.
 */
export function allocatePart(
  transaction: Transaction,
  writer: Writer,
  { offset, length, mode }: Allocation,
  now: Timestamp,
): number | Pending {
  const { inode } = writer;
  const item = loadInode(transaction, inode);
  requireRegular(item);
  const end = offset + length;
  const size = (mode & FALLOC_KEEP_SIZE) === 0 ? Math.max(item.size, end) : item.size;
  if (mustFinish(item, size)) return PENDING;
  let done = end;
  if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) {
    const cut = cutRange(transaction, { inode, flags: item.flags }, offset, end, BATCH_ITEMS);
    item.allocatedBytes -= cut.bytes;
    done = cut.end;
  }
  item.size = size;
  noteChange(transaction, item, writer, now);
  storeInode(transaction, inode, item);
  return done;
}

/** lseek(2): the next byte of data (`data`) or of a hole at or behind `offset`; ENXIO past the end. */
export function seekTo(
  view: ItemView,
  inode: number,
  offset: number,
  what: "data" | "hole",
): number {
  const { size } = loadInode(view, inode);
  if (!(offset >= 0) || offset >= size) fail("ENXIO");
  let at = offset;
  let data: number | undefined;
  visitExtents(view, inode, offset, size, ({ start, length }) => {
    if (what === "data") data = Math.max(start, offset);
    if (what === "data" || start > at) return false;
    at = start + length;
    return true;
  });
  if (what === "hole") return Math.min(at, size);
  return data ?? fail("ENXIO");
}
