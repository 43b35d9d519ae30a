/**
 * Inodes as operations use them: load, change, store. Also the root directory of a new volume.
 *
 * `update` reads, changes and puts back in one step, so an operation never holds two copies of one
 * inode (in a rename, both parents may be the same directory).
 */
import { fail } from "../../../lib/errors.ts";
import { type Attributes, ROOT_INODE, type Timestamp } from "../vfs.ts";
import type { ItemView, Transaction } from "./api.ts";
import {
  decodeInode,
  encodeInode,
  type InodeItem,
  ITEM,
  keyOf,
  newInode,
  setTime,
  timestampOf,
} from "./items.ts";
import { MODE_BITS, S_IFDIR } from "./modes.ts";

/** The inode's attributes; ESTALE when it is gone. */
export function loadInode(view: ItemView, inode: number): InodeItem {
  const value = view.get(keyOf(inode, ITEM.attributes), 0);
  if (value === undefined) fail("ESTALE");
  return decodeInode(value);
}

export function storeInode(transaction: Transaction, inode: number, item: InodeItem): void {
  transaction.put(keyOf(inode, ITEM.attributes), 0, encodeInode(item));
}

export function updateInode(
  transaction: Transaction,
  inode: number,
  change: (item: InodeItem) => void,
): InodeItem {
  const item = loadInode(transaction, inode);
  change(item);
  storeInode(transaction, inode, item);
  return item;
}

export interface RootOptions {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
  readonly nowMicros: number;
  /** Random 32 bits: nobody outside can choose names whose hashes collide. */
  readonly nameSeed: number;
}

/** Makes the root directory of an empty volume (mkfs). */
export function initialise(transaction: Transaction, options: RootOptions): void {
  const { uid, gid, nameSeed } = options;
  const mode = S_IFDIR | (options.mode & MODE_BITS);
  const fields = { mode, uid, gid, links: 2, parent: ROOT_INODE, nameSeed };
  storeInode(transaction, ROOT_INODE, newInode(fields, timestampOf(options.nowMicros)));
  transaction.adjust({ inodes: 1 });
}

/** Contents changed: modified and changed are now. */
export function touchContents(item: InodeItem, now: Timestamp): void {
  setTime(item, "modified", now);
  setTime(item, "changed", now);
}

export function attributesOf(inode: number, item: InodeItem): Attributes {
  return {
    inode,
    mode: item.mode,
    links: item.links,
    uid: item.uid,
    gid: item.gid,
    device: item.device,
    size: item.size,
    allocatedBytes: item.allocatedBytes,
    accessed: { seconds: item.accessedSeconds, nanoseconds: item.accessedNanoseconds },
    modified: { seconds: item.modifiedSeconds, nanoseconds: item.modifiedNanoseconds },
    changed: { seconds: item.changedSeconds, nanoseconds: item.changedNanoseconds },
    born: { seconds: item.bornSeconds, nanoseconds: item.bornNanoseconds },
  };
}
