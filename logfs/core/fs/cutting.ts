/**
 * Taking ranges out of files. What remains of a cut extent keeps pointing into its stored block
 * (`skip`, `length`); the bytes cut away are freed, those of a shared block only where no other
 * owner covers them. So the bytes of the log that are alive are always those that extents cover.
 *
 * A change of many extents is bounded: `cutRange` stops when its budget is used up and says where.
 */
import type { Transaction } from "./api.ts";
import { type PlacedExtent, visitExtents } from "./extents.ts";
import { encodeExtent, FLAG_SHARED, ITEM, keyOf } from "./items.ts";
import { isSameOwner, leaveIfDone, ownerOf, ownersOf, planRelease } from "./sharing.ts";

/** The file that is cut, with its inode's flags. */
export interface CutFile {
  readonly inode: number;
  readonly flags: number;
}

export interface Cut {
  /** Bytes of extents taken away. */
  readonly bytes: number;
  /** [from, end) holds no extent any more; less than `to` when the budget ran out. */
  readonly end: number;
  /** What it took of the budget. */
  readonly cost: number;
}

/**
 * Takes [from, to) out of the file: those bytes are a hole afterwards. `budget`: items changed or
 * looked at, passed by those of the last extent at most. `end` > `from` when `from` < `to`.
 */
export function cutRange(
  transaction: Transaction,
  file: CutFile,
  from: number,
  to: number,
  budget: number,
): Cut {
  const overlapped: PlacedExtent[] = [];
  let end = to;
  visitExtents(transaction, file.inode, from, to, (extent) => {
    if (overlapped.length < budget) return overlapped.push(extent) > 0;
    end = extent.start;
    return false;
  });
  let bytes = 0;
  let cost = 0;
  for (const extent of overlapped) {
    if (cost >= budget) {
      end = extent.start;
      break;
    }
    const wanted = Math.min(extent.start + extent.length, to);
    const cut = cutExtent(transaction, file, extent, Math.max(extent.start, from), wanted);
    bytes += cut.bytes;
    cost += cut.cost;
    if (cut.end < wanted) {
      end = cut.end;
      break;
    }
  }
  transaction.adjust({ dataBytes: -bytes });
  return { bytes, end, cost };
}

/** [from, to) is in the extent. */
function cutExtent(
  transaction: Transaction,
  file: CutFile,
  extent: PlacedExtent,
  from: number,
  to: number,
): Cut {
  const { segment, offset, start, skip } = extent;
  const owners = (file.flags & FLAG_SHARED) === 0 ? [] : ownersOf(transaction, segment, offset);
  if (owners.length > 0) return cutShared(transaction, file.inode, extent, { from, to }, owners);
  takeOut(transaction, file.inode, extent, from, to);
  transaction.free(segment, offset + skip + from - start, to - from);
  return { bytes: to - from, end: to, cost: 1 };
}

function cutShared(
  transaction: Transaction,
  inode: number,
  extent: PlacedExtent,
  { from, to }: { readonly from: number; readonly to: number },
  owners: ReturnType<typeof ownersOf>,
): Cut {
  const owner = ownerOf(inode, extent);
  const others = owners.filter((other) => !isSameOwner(other, owner));
  const range = { from: from - owner.start, to: to - owner.start };
  const release = planRelease(transaction, extent, others, range);
  const end = owner.start + release.to;
  takeOut(transaction, inode, extent, from, end);
  for (const part of release.free) {
    transaction.free(extent.segment, extent.offset + part.from, part.to - part.from);
  }
  const visits = leaveIfDone(transaction, extent, owner, others);
  return { bytes: end - from, end, cost: 1 + owners.length + release.visits + visits };
}

/** Leaves of the extent what stands before `from` and behind `to`. */
export function takeOut(
  transaction: Transaction,
  inode: number,
  extent: PlacedExtent,
  from: number,
  to: number,
): void {
  const high = keyOf(inode, ITEM.extent);
  const { start, skip } = extent;
  if (from > start) {
    transaction.put(high, start, encodeExtent({ ...extent, length: from - start }));
  } else {
    transaction.delete(high, start);
  }
  const length = start + extent.length - to;
  if (length === 0) return;
  const rest = { ...extent, skip: skip + to - start, length };
  transaction.put(high, to, encodeExtent(rest));
}
