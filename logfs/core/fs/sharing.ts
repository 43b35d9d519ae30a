/**
 * Shared blocks: stored blocks that more than one file, or one file at more than one place, points
 * into (ARCHITECTURE, "Shared blocks").
 *
 * An owner is a file and the offset at which the block's byte 0 stands or would stand in it. Its
 * pieces are the extents of that file that point into the block from that place; they never overlap
 * in the block. Between operations:
 * - A block that ever had two owners has an item as long as it has one: whoever is left may not be
 *   the one that the block's record names, by which the cleaner would find it. An extent into it is
 *   one of a listed owner, and every listed owner has an extent into it.
 * - Without an item, all extents into a block belong to the owner that its record names.
 * - An inode that is an owner, or was one, has `FLAG_SHARED`: extents of others are never looked up.
 * - The bytes of a block that are alive are those that some piece covers, counted once.
 */
import type { ItemView, Transaction } from "./api.ts";
import { type PlacedExtent, visitExtents, visitStarts } from "./extents.ts";
import {
  decodeOwners,
  encodeOwners,
  type ExtentItem,
  type SharedOwner,
  sharedKey,
} from "./items.ts";

/** Owners of one block at most: what its item takes, 1 KiB, and what letting go of a byte asks. */
export const OWNERS_MAX = 64;
/** Extents of one owner looked at for one release; what is behind them is released by the next. */
const VISITS_MAX = 64;

export type BlockPlace = Pick<ExtentItem, "segment" | "offset" | "storedBytes">;

/** Bytes [from, to) of a stored block. */
export interface BlockRange {
  readonly from: number;
  readonly to: number;
}

/** The owners of a shared block; none when it is not shared. */
export function ownersOf(view: ItemView, segment: number, offset: number): readonly SharedOwner[] {
  const value = view.get(sharedKey(segment), offset);
  return value === undefined ? [] : decodeOwners(value);
}

/** Stores who owns a block that is shared, or was. */
export function storeOwners(
  transaction: Transaction,
  { segment, offset }: BlockPlace,
  owners: readonly SharedOwner[],
): void {
  if (owners.length > 0) transaction.put(sharedKey(segment), offset, encodeOwners(owners));
  else transaction.delete(sharedKey(segment), offset);
}

export function ownerOf(inode: number, { start, skip }: PlacedExtent): SharedOwner {
  return { inode, start: start - skip };
}

export function isSameOwner(a: SharedOwner, b: SharedOwner): boolean {
  return a.inode === b.inode && a.start === b.start;
}

/** Visits the extents where the owner's pieces may be, ascending; `isPiece` tells which are. */
export function visitOwner(
  view: ItemView,
  owner: SharedOwner,
  { from, to }: BlockRange,
  visit: (extent: PlacedExtent) => boolean,
): void {
  const { inode, start } = owner;
  const first = Math.max(0, start + from);
  // No piece begins before the block does, and looking for what does costs more while the
  // operation itself has removed it.
  if (from === 0) visitStarts(view, inode, first, start + to, visit);
  else visitExtents(view, inode, first, start + to, visit);
}

export function isPiece(extent: PlacedExtent, block: BlockPlace, owner: SharedOwner): boolean {
  const isThere = extent.segment === block.segment && extent.offset === block.offset;
  return isThere && extent.start - extent.skip === owner.start;
}

/** What letting go of a range of a shared block means. */
export interface Release {
  /** Only [from, to) can be let go of at once; the rest asks again. */
  readonly to: number;
  /** The parts of it that no other owner covers. */
  readonly free: readonly BlockRange[];
  /** Extents looked at. */
  readonly visits: number;
}

/** `others`: the owners but the one that lets go of `range`. */
export function planRelease(
  view: ItemView,
  block: BlockPlace,
  others: readonly SharedOwner[],
  range: BlockRange,
): Release {
  let { to } = range;
  let free: readonly BlockRange[] = [range];
  let visits = 0;
  for (const owner of others) {
    let seen = 0;
    visitOwner(view, owner, { from: range.from, to }, (extent) => {
      // The first extent may begin before the range, every further one begins in it.
      if (seen === VISITS_MAX) to = extent.start - owner.start;
      else if (isPiece(extent, block, owner)) free = without(free, rangeOf(extent));
      return seen++ < VISITS_MAX;
    });
    visits += seen;
    free = free.filter((part) => part.from < to);
    if (free.length === 0) break;
  }
  return { to, free: free.map((part) => ({ from: part.from, to: Math.min(part.to, to) })), visits };
}

function rangeOf({ skip, length }: ExtentItem): BlockRange {
  return { from: skip, to: skip + length };
}

function without(ranges: readonly BlockRange[], taken: BlockRange): BlockRange[] {
  return ranges
    .flatMap(({ from, to }) => [
      { from, to: Math.min(to, taken.from) },
      { from: Math.max(from, taken.to), to },
    ])
    .filter(({ from, to }) => from < to);
}

/** Takes an owner off the list when it has no piece left; gives the extents looked at. */
export function leaveIfDone(
  transaction: Transaction,
  block: BlockPlace,
  owner: SharedOwner,
  others: readonly SharedOwner[],
): number {
  let visits = 0;
  let stays = false;
  visitOwner(transaction, owner, { from: 0, to: block.storedBytes }, (extent) => {
    visits++;
    stays = isPiece(extent, block, owner);
    return !stays;
  });
  if (!stays) storeOwners(transaction, block, others);
  return visits;
}
