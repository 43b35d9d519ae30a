/**
 * copy_file_range(2) without moving bytes: the target gets extents that point into the source's
 * stored blocks (`sharing.ts`). Holes are copied as holes, ranges need no alignment.
 *
 * One call is one record and does a bounded part; who asked goes on behind it, as the system call
 * allows. A block with too many owners is not shared further: the driver copies those bytes.
 */
import { fail } from "../../../lib/errors.ts";
import type { Timestamp } from "../vfs.ts";
import type { ItemView, Transaction } from "./api.ts";
import { cutRange } from "./cutting.ts";
import { type PlacedExtent, visitExtents } from "./extents.ts";
import { loadInode, storeInode } from "./inodes.ts";
import {
  decodeExtent,
  encodeExtent,
  FLAG_SHARED,
  type InodeItem,
  ITEM,
  keyOf,
  type SharedOwner,
} from "./items.ts";
import { isSameOwner, ownerOf, OWNERS_MAX, ownersOf, storeOwners } from "./sharing.ts";
import { BATCH_ITEMS, mustFinish, PENDING, type Pending, requireRegular } from "./truncation.ts";
import { checkRange, noteChange, type Writer } from "./writing.ts";

export interface CopyRequest {
  /** Inode that is read. */
  readonly source: number;
  readonly sourceOffset: number;
  readonly target: Writer;
  readonly targetOffset: number;
  readonly length: number;
}

export interface Copied {
  /** `crowded`: nothing was changed; these bytes have to be copied themselves. */
  readonly kind: "shared" | "crowded";
  /** From the start of the range on; 0 at the end of the source. */
  readonly bytes: number;
}

/** One batch. Both inodes are regular files: EISDIR, EINVAL; also EINVAL when the ranges overlap. */
export function copyPart(
  transaction: Transaction,
  request: CopyRequest,
  now: Timestamp,
): Copied | Pending {
  const { source, sourceOffset, target, targetOffset } = request;
  const from = loadInode(transaction, source);
  const into = source === target.inode ? from : loadInode(transaction, target.inode);
  requireRegular(from);
  requireRegular(into);
  const length = Math.min(request.length, Math.max(0, from.size - sourceOffset));
  checkRange(targetOffset, length);
  if (from === into && Math.abs(sourceOffset - targetOffset) < length) fail("EINVAL");
  if (length === 0) return { kind: "shared", bytes: 0 };
  if (mustFinish(into, targetOffset + length)) return PENDING;
  const batch = new Batch(transaction, { ...request, length }, into);
  const crowded = batch.run();
  if (batch.done === 0) return { kind: "crowded", bytes: crowded };
  batch.finish(from, now);
  return { kind: "shared", bytes: batch.done };
}

/** Source extents up to `end`, counted from the start of the range: where the next one begins, or the range ends. */
interface Plan {
  readonly extents: readonly PlacedExtent[];
  readonly end: number;
}

/** Goes through the range from its front; offsets without another name count from there. */
class Batch {
  /** Bytes of the range that are done. */
  done = 0;
  private sharedBytes = 0;
  private cutBytes = 0;
  /** Items that may still be changed or looked at. */
  private budget = BATCH_ITEMS;
  private readonly transaction: Transaction;
  private readonly request: CopyRequest;
  private readonly target: InodeItem;

  constructor(transaction: Transaction, request: CopyRequest, target: InodeItem) {
    this.transaction = transaction;
    this.request = request;
    this.target = target;
  }

  /** When a crowded block stopped it, gives where that block's extent ends; otherwise 0. */
  run(): number {
    const { sourceOffset, length } = this.request;
    const { extents, end } = this.plan();
    for (const extent of extents) {
      const from = Math.max(0, extent.start - sourceOffset);
      const to = Math.min(length, extent.start + extent.length - sourceOffset);
      if (!this.clear(from)) return 0;
      if (this.isCrowded(extent, from)) return to;
      const isWhole = this.clear(to);
      this.share(extent, from);
      if (!isWhole || this.budget <= 0) return 0;
    }
    this.clear(end);
    return 0;
  }

  /** Brings both inodes up to date; `source` may be the target. */
  finish(source: InodeItem, now: Timestamp): void {
    const { transaction, request, target, sharedBytes } = this;
    target.allocatedBytes += sharedBytes - this.cutBytes;
    target.size = Math.max(target.size, request.targetOffset + this.done);
    noteChange(transaction, target, request.target, now);
    transaction.adjust({ dataBytes: sharedBytes });
    storeInode(transaction, request.target.inode, target);
    if (sharedBytes === 0 || (source.flags & FLAG_SHARED) !== 0) return;
    source.flags |= FLAG_SHARED;
    storeInode(transaction, request.source, source);
  }

  private plan(): Plan {
    const { source, sourceOffset, length } = this.request;
    const extents: PlacedExtent[] = [];
    let end = length;
    visitExtents(this.transaction, source, sourceOffset, sourceOffset + length, (extent) => {
      if (extents.length < BATCH_ITEMS) return extents.push(extent) > 0;
      end = extent.start - sourceOffset;
      return false;
    });
    return { extents, end };
  }

  /** Makes a hole of the target from `done` to `to`, or as far as the budget goes; whether all of it. */
  private clear(to: number): boolean {
    const { targetOffset, target } = this.request;
    const { flags, size } = this.target;
    const [start, end] = [targetOffset + this.done, targetOffset + to];
    if (start >= size || start >= end) {
      this.done = Math.max(this.done, to);
      return true;
    }
    const file = { inode: target.inode, flags };
    const cut = cutRange(this.transaction, file, start, end, Math.max(1, this.budget));
    this.cutBytes += cut.bytes;
    this.budget -= cut.cost;
    this.done = cut.end - targetOffset;
    return cut.end === end;
  }

  private isCrowded(extent: PlacedExtent, at: number): boolean {
    const owners = ownersOf(this.transaction, extent.segment, extent.offset);
    const owner = this.targetOwner(extent, at);
    return owners.length >= OWNERS_MAX && !owners.some((other) => isSameOwner(other, owner));
  }

  /** Points the target's bytes from `at` to `done`, a hole, into the block of a source's extent. */
  private share(extent: PlacedExtent, at: number): void {
    const { source, target, sourceOffset, targetOffset } = this.request;
    const start = targetOffset + at;
    const skip = extent.skip + sourceOffset + at - extent.start;
    const length = this.done - at;
    this.putExtent(target.inode, { ...extent, start, skip, length });
    this.sharedBytes += length;
    this.target.flags |= FLAG_SHARED;
    const found = ownersOf(this.transaction, extent.segment, extent.offset);
    const owners = found.length > 0 ? [...found] : [ownerOf(source, extent)];
    const owner = this.targetOwner(extent, at);
    if (!owners.some((other) => isSameOwner(other, owner))) owners.push(owner);
    storeOwners(this.transaction, extent, owners);
    this.budget -= 1 + owners.length;
  }

  /** Who the target is in a block of the source whose byte at `at` it gets. */
  private targetOwner({ start, skip }: PlacedExtent, at: number): SharedOwner {
    const { target, sourceOffset, targetOffset } = this.request;
    return { inode: target.inode, start: targetOffset + at - (skip + sourceOffset + at - start) };
  }

  /** Joins it to the extent before when it goes on in the same block, as copies in small steps do. */
  private putExtent(inode: number, extent: PlacedExtent): void {
    const high = keyOf(inode, ITEM.extent);
    const { start } = extent;
    const before = start === 0 ? undefined : placedFloor(this.transaction, high, start - 1);
    if (before !== undefined && isFollowedBy(before, extent)) {
      const length = before.length + extent.length;
      this.transaction.put(high, before.start, encodeExtent({ ...before, length }));
    } else {
      this.transaction.put(high, start, encodeExtent(extent));
    }
  }
}

function placedFloor(view: ItemView, high: number, low: number): PlacedExtent | undefined {
  const found = view.floor(high, low);
  return found === undefined ? undefined : { ...decodeExtent(found.value), start: found.low };
}

function isFollowedBy(before: PlacedExtent, extent: PlacedExtent): boolean {
  const isAdjacent = before.start + before.length === extent.start;
  const isSameBlock = before.segment === extent.segment && before.offset === extent.offset;
  return isAdjacent && isSameBlock && before.skip + before.length === extent.skip;
}
