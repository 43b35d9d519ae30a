/**
 * Repairs of the graph of names: each a transaction like any other operation, so the mirror gets it
 * as one. Nothing that can be reached is removed: what has lost its name gets one in /lost+found.
 */
import { latin1 } from "../../../lib/bytes.ts";
import { ROOT_INODE, type Timestamp } from "../vfs.ts";
import type { ItemView, Transaction } from "./api.ts";
import { loadInode, storeInode, updateInode } from "./inodes.ts";
import {
  decodeEntry,
  decodeInode,
  encodeEntry,
  type InodeItem,
  ITEM,
  keyOf,
  LOW_END,
  newInode,
  ORPHANS,
} from "./items.ts";
import { isDirectory, S_IFDIR, typeOf } from "./modes.ts";
import { findEntry, insertEntry } from "./names.ts";

const LOST_AND_FOUND = latin1("lost+found");
/** Bytes of a directory's size for each entry (items.ts, `InodeItem.size`). */
const ENTRY_BYTES = 32;

export function attributesOf(view: ItemView, inode: number): InodeItem | null {
  const value = view.get(keyOf(inode, ITEM.attributes), 0);
  return value === undefined ? null : decodeInode(value);
}

/** Gives the inode a name in /lost+found, and takes away every name that its old directory has. */
export function reconnect(transaction: Transaction, inode: number, now: Timestamp): string {
  const item = loadInode(transaction, inode);
  const home = lostAndFound(transaction, now);
  const seed = loadInode(transaction, home).nameSeed;
  const directory = isDirectory(item.mode);
  if (directory) removeEntriesTo(transaction, item.parent, inode);
  const name = latin1(`#${inode}`);
  if (findEntry(transaction, home, seed, name) === undefined) {
    insertEntry(transaction, home, seed, { inode, type: typeOf(item.mode), name });
  }
  storeInode(transaction, inode, directory ? { ...item, parent: home } : { ...item, links: 1 });
  if (directory) recount(transaction, inode);
  recount(transaction, home);
  return `moved to /lost+found/#${inode}`;
}

/** The directory's inode, made when there is none. */
function lostAndFound(transaction: Transaction, now: Timestamp): number {
  const { nameSeed } = loadInode(transaction, ROOT_INODE);
  const found = findEntry(transaction, ROOT_INODE, nameSeed, LOST_AND_FOUND);
  if (found !== undefined && isDirectory(found.type)) return found.inode;
  const inode = transaction.allocateInode();
  const fields = { mode: S_IFDIR | 0o700, uid: 0, gid: 0, links: 2, parent: ROOT_INODE, nameSeed };
  storeInode(transaction, inode, newInode(fields, now));
  // Something else of that name keeps it.
  const name = found === undefined ? LOST_AND_FOUND : latin1(`lost+found.${inode}`);
  insertEntry(transaction, ROOT_INODE, nameSeed, { inode, type: S_IFDIR, name });
  transaction.adjust({ inodes: 1 });
  recount(transaction, ROOT_INODE);
  return inode;
}

/** Every entry of the directory that leads to `target`; gives how many there were. */
export function removeEntriesTo(
  transaction: Transaction,
  directory: number,
  target: number,
): number {
  const high = keyOf(directory, ITEM.entry);
  const lows: number[] = [];
  transaction.scan(high, 0, LOW_END, (low, value) => {
    if (decodeEntry(value).inode === target) lows.push(low);
    return true;
  });
  for (const low of lows) transaction.delete(high, low);
  if (lows.length > 0) recount(transaction, directory);
  return lows.length;
}

/** Entries that lead to `target` say what it is. */
export function correctEntryType(
  transaction: Transaction,
  directory: number,
  target: number,
): void {
  const type = typeOf(loadInode(transaction, target).mode);
  const high = keyOf(directory, ITEM.entry);
  const wrong: { low: number; value: Uint8Array }[] = [];
  transaction.scan(high, 0, LOW_END, (low, value) => {
    const entry = decodeEntry(value);
    const isWrong = entry.inode === target && entry.type !== type;
    if (isWrong) wrong.push({ low, value: encodeEntry({ ...entry, type }) });
    return true;
  });
  for (const { low, value } of wrong) transaction.put(high, low, value);
  recount(transaction, directory);
}

/** An entry that stands where its name does not lead goes where it does, unless that name is taken. */
export function moveEntry(transaction: Transaction, directory: number, low: number): void {
  const high = keyOf(directory, ITEM.entry);
  const value = transaction.get(high, low);
  if (value === undefined) return;
  const { name, ...entry } = decodeEntry(value.slice());
  const { nameSeed } = loadInode(transaction, directory);
  transaction.delete(high, low);
  if (findEntry(transaction, directory, nameSeed, name) === undefined) {
    insertEntry(transaction, directory, nameSeed, { ...entry, name });
  }
  recount(transaction, directory);
}

/** Size and links of a directory follow from its entries. */
export function recount(transaction: Transaction, directory: number): void {
  let entries = 0;
  let subdirectories = 0;
  transaction.scan(keyOf(directory, ITEM.entry), 0, LOW_END, (_, value) => {
    entries++;
    if (isDirectory(decodeEntry(value).type)) subdirectories++;
    return true;
  });
  if (attributesOf(transaction, directory) === null) return;
  updateInode(transaction, directory, (item) => {
    item.size = entries * ENTRY_BYTES;
    if (item.links > 0) item.links = 2 + subdirectories;
  });
}

/** So many names lead to what is no directory. */
export function correctLinks(transaction: Transaction, inode: number, names: number): void {
  updateInode(transaction, inode, (item) => {
    item.links = names;
  });
  transaction.delete(ORPHANS, inode);
}

/** The root directory of a volume that has lost it. Its names' seed is that of any other directory. */
export function makeRoot(transaction: Transaction, nameSeed: number, now: Timestamp): void {
  const old = attributesOf(transaction, ROOT_INODE);
  const fields = { mode: S_IFDIR | 0o755, uid: 0, gid: 0, links: 2, parent: ROOT_INODE, nameSeed };
  const isThere = old !== null && isDirectory(old.mode);
  storeInode(
    transaction,
    ROOT_INODE,
    isThere ? { ...old, parent: ROOT_INODE } : newInode(fields, now),
  );
  if (old === null) transaction.adjust({ inodes: 1 });
  recount(transaction, ROOT_INODE);
}
