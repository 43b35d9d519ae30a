/**
 * The end of an inode: its last name goes, then its last user, then its items.
 *
 * - Without handles (a directory: without any user) it goes in the record that removes its name,
 *   when that takes no more than a batch of items. Otherwise the record leaves an orphan item, and
 *   further records take the rest. Who only holds it can ask for its attributes, which stay in memory.
 * - With handles the orphan item stays until the last user goes.
 * - A crash leaves the orphan item, and the next mount collects it: nobody holds anything then.
 */
import { setTime } from "./items.ts";
import type { Attributes, Timestamp } from "../vfs.ts";
import { EMPTY } from "../../../lib/bytes.ts";
import type { Transaction } from "./api.ts";
import { cutRange } from "./cutting.ts";
import { attributesOf, loadInode, updateInode } from "./inodes.ts";
import { decodeXattr, ITEM, keyOf, LOW_END, ORPHANS, TRUNCATIONS } from "./items.ts";
import { isDirectory, S_IFLNK, typeOf } from "./modes.ts";
import { BATCH_ITEMS, isTruncating } from "./truncation.ts";

/** Whether a handle or a hold keeps the inode. */
export type IsUsed = (inode: number) => boolean;

/** Whether an inode of this mode must outlive its last name (`UsedInodes.keeps`). */
export type Keeps = (inode: number, mode: number) => boolean;

/** What became of the inode that lost a name. */
export interface Removal {
  readonly inode: number;
  /** `orphaned`: without a name, with an orphan item; its items go later. */
  readonly fate: "linked" | "orphaned" | "removed";
  /** Of a removed inode: what its holders may still ask for. */
  readonly remains?: Attributes;
}

/** Takes one link away (of a directory: all of them), and the inode with the last. */
export function dropLink(
  transaction: Transaction,
  inode: number,
  keeps: Keeps,
  now: Timestamp,
): Removal {
  const left = updateInode(transaction, inode, (item) => {
    item.links = isDirectory(item.mode) ? 0 : item.links - 1;
    setTime(item, "changed", now);
  });
  if (left.links > 0) return { inode, fate: "linked" };
  if (!keeps(inode, left.mode) && removeItems(transaction, inode, BATCH_ITEMS)) {
    return { inode, fate: "removed", remains: attributesOf(inode, left) };
  }
  transaction.put(ORPHANS, inode, EMPTY);
  return { inode, fate: "orphaned" };
}

/** One batch of an orphan's removal; true when there is nothing (more) to do. */
export function collectOrphan(transaction: Transaction, inode: number, isUsed: IsUsed): boolean {
  if (isUsed(inode) || transaction.get(ORPHANS, inode) === undefined) return true;
  if (!removeItems(transaction, inode, BATCH_ITEMS)) return false;
  transaction.delete(ORPHANS, inode);
  return true;
}

/** Removes up to about `budget` items of an inode without a name; true when all are gone. */
function removeItems(transaction: Transaction, inode: number, budget: number): boolean {
  const item = loadInode(transaction, inode);
  const cut = cutRange(transaction, { inode, flags: item.flags }, 0, LOW_END, budget);
  if (cut.end < LOW_END || !removeXattrs(transaction, inode, budget)) {
    updateInode(transaction, inode, (left) => (left.allocatedBytes -= cut.bytes));
    return false;
  }
  if (isTruncating(item)) transaction.delete(TRUNCATIONS, inode);
  if (typeOf(item.mode) === S_IFLNK) transaction.delete(keyOf(inode, ITEM.symlink), 0);
  transaction.delete(keyOf(inode, ITEM.attributes), 0);
  transaction.adjust({ inodes: -1 });
  return true;
}

function removeXattrs(transaction: Transaction, inode: number, budget: number): boolean {
  const high = keyOf(inode, ITEM.xattr);
  const found: { low: number; value: Uint8Array }[] = [];
  transaction.scan(high, 0, LOW_END, (low, value) => found.push({ low, value }) < budget);
  for (const { low, value } of found) {
    freeXattr(transaction, value);
    transaction.delete(high, low);
  }
  return found.length < budget;
}

/** Accounts for a located value that nothing refers to any more. */
export function freeXattr(transaction: Transaction, item: Uint8Array): void {
  const { value } = decodeXattr(item);
  if (value.kind === "inline") return;
  transaction.free(value.segment, value.offset, value.length);
  transaction.adjust({ dataBytes: -value.length });
}
