/**
 * Operations on names: look up, make, link and remove. `rename.ts` has the rest.
 *
 * The order of checks is Linux's (fs/namei.c), because programs and test suites see which errno
 * comes first: search permission on the parent, then existence, then write permission, then types.
 * A directory counts 32 bytes of size for each entry, and one link for each subdirectory.
 */
import { EMPTY } from "../../../lib/bytes.ts";
import { fail } from "../../../lib/errors.ts";
import { type Attributes, type Caller, ROOT_INODE, type Timestamp } from "../vfs.ts";
import { inGroup, isRoot, requireAccess, requireNotSticky } from "./access.ts";
import type { ItemView, Transaction } from "./api.ts";
import { attributesOf, loadInode, storeInode, touchContents, updateInode } from "./inodes.ts";
import { FLAG_UNNAMED, type InodeItem, ITEM, keyOf, newInode, ORPHANS, setTime } from "./items.ts";
import {
  isDirectory,
  MODE_BITS,
  R_OK,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_ISVTX,
  S_IXGRP,
  typeOf,
  W_OK,
  X_OK,
} from "./modes.ts";
import {
  checkName,
  findEntry,
  type FoundEntry,
  insertEntry,
  isDotDot,
  isEmptyDirectory,
  type Listed,
  listEntries,
} from "./names.ts";
import { dropLink, type Keeps, type Removal } from "./removal.ts";

/** Longest target of a symbolic link, bytes (PATH_MAX without its NUL). */
const SYMLINK_MAX = 4095;
/** Most links of one inode: what the 32-bit st_nlink of front-ends can say. */
export const LINK_MAX = 0xffff_fffe;
/** Bytes of a directory's size for each of its entries. */
const ENTRY_BYTES = 32;

export interface Actor {
  readonly caller: Caller;
  readonly now: Timestamp;
}

/** Loads a directory that `caller` may use so (R_OK, W_OK, X_OK): ENOTDIR, EACCES. */
export function loadDirectory(
  view: ItemView,
  caller: Caller,
  inode: number,
  mask: number,
): InodeItem {
  const item = loadInode(view, inode);
  if (!isDirectory(item.mode)) fail("ENOTDIR");
  requireAccess(item, caller, mask);
  return item;
}

export function lookup(
  view: ItemView,
  caller: Caller,
  parent: number,
  name: Uint8Array,
): Attributes {
  const directory = loadDirectory(view, caller, parent, X_OK);
  const inode = isDotDot(name)
    ? directory.parent
    : requireEntry(view, parent, directory, name).inode;
  return attributesOf(inode, loadInode(view, inode));
}

/** ENOENT when the name is not there. */
function requireEntry(
  view: ItemView,
  parent: number,
  directory: InodeItem,
  name: Uint8Array,
): FoundEntry {
  checkName(name);
  return findEntry(view, parent, directory.nameSeed, name) ?? fail("ENOENT");
}

export interface Node {
  /** Type and permission bits. */
  readonly mode: number;
  readonly device?: number;
  /** Of a symbolic link. */
  readonly target?: Uint8Array;
}

/** mknod, mkdir, symlink and the making half of create. */
export function makeNode(
  transaction: Transaction,
  { caller, now }: Actor,
  parent: number,
  name: Uint8Array,
  node: Node,
): Attributes {
  checkNode(node);
  const directory = loadDirectory(transaction, caller, parent, X_OK);
  checkName(name);
  if (findEntry(transaction, parent, directory.nameSeed, name) !== undefined) fail("EEXIST");
  requireRoomFor(directory, caller, node.mode);
  if (isDevice(node.mode) && !isRoot(caller)) fail("EPERM");
  const inode = transaction.allocateInode();
  const item = newInode(inherit(directory, parent, caller, node), now);
  storeInode(transaction, inode, item);
  if (node.target !== undefined) {
    transaction.put(keyOf(inode, ITEM.symlink), 0, node.target.slice());
  }
  addEntry(transaction, parent, { name, inode, mode: item.mode }, now);
  transaction.adjust({ inodes: 1 });
  return attributesOf(inode, item);
}

/** Whether an inode made without a name may get one. */
export type Naming = "possible" | "never";

/** A regular file without a name, as if it had lost its last one: whoever makes it uses it. */
export function makeUnnamed(
  transaction: Transaction,
  { caller, now }: Actor,
  parent: number,
  mode: number,
  naming: Naming,
): Attributes {
  const directory = loadDirectory(transaction, caller, parent, X_OK);
  requireRoomFor(directory, caller, S_IFREG);
  const inode = transaction.allocateInode();
  const fields = inherit(directory, parent, caller, { mode: S_IFREG | (mode & MODE_BITS) });
  const item = newInode({ ...fields, links: 0 }, now);
  if (naming === "possible") item.flags |= FLAG_UNNAMED;
  storeInode(transaction, inode, item);
  transaction.put(ORPHANS, inode, EMPTY);
  transaction.adjust({ inodes: 1 });
  return attributesOf(inode, item);
}

function checkNode({ mode, target }: Node): void {
  const types = [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK];
  if (!types.includes(typeOf(mode))) fail("EINVAL");
  if (target === undefined) return;
  if (target.length === 0) fail("ENOENT");
  if (target.length > SYMLINK_MAX) fail("ENAMETOOLONG");
}

function isDevice(mode: number): boolean {
  return typeOf(mode) === S_IFCHR || typeOf(mode) === S_IFBLK;
}

/** EACCES, ENOENT (the directory itself was removed) or EMLINK. */
export function requireRoomFor(directory: InodeItem, caller: Caller, mode: number): void {
  requireAccess(directory, caller, W_OK | X_OK);
  if (directory.links === 0) fail("ENOENT");
  if (isDirectory(mode) && directory.links >= LINK_MAX) fail("EMLINK");
}

/** Owner, group and mode of a new inode (inode_init_owner, mode_strip_sgid). */
function inherit(directory: InodeItem, parent: number, caller: Caller, node: Node) {
  const { uid } = caller;
  const device = isDevice(node.mode) ? (node.device ?? 0) : 0;
  const groupFromParent = (directory.mode & S_ISGID) !== 0;
  const gid = groupFromParent ? directory.gid : caller.gid;
  const type = typeOf(node.mode);
  if (type === S_IFDIR) {
    const bits = (node.mode & (0o777 | S_ISVTX)) | (groupFromParent ? S_ISGID : 0);
    return { mode: type | bits, uid, gid, links: 2, parent, nameSeed: directory.nameSeed };
  }
  const strips = (node.mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  const keeps = !strips || isRoot(caller) || inGroup(caller, gid);
  const bits = node.mode & MODE_BITS & (keeps ? ~0 : ~S_ISGID);
  return { mode: type | bits, uid, gid, links: 1, device, parent, size: node.target?.length ?? 0 };
}

interface Named {
  readonly name: Uint8Array;
  readonly inode: number;
  readonly mode: number;
}

/** Enters a name that is not there, and counts it in its directory. */
export function addEntry(
  transaction: Transaction,
  parent: number,
  { name, inode, mode }: Named,
  now: Timestamp,
): void {
  const directory = updateInode(transaction, parent, (item) => {
    item.size += ENTRY_BYTES;
    item.links += isDirectory(mode) ? 1 : 0;
    touchContents(item, now);
  });
  insertEntry(transaction, parent, directory.nameSeed, { name, inode, type: typeOf(mode) });
}

export function removeEntry(
  transaction: Transaction,
  parent: number,
  entry: FoundEntry,
  now: Timestamp,
): void {
  transaction.delete(keyOf(parent, ITEM.entry), entry.low);
  updateInode(transaction, parent, (item) => {
    item.size -= ENTRY_BYTES;
    item.links -= isDirectory(entry.type) ? 1 : 0;
    touchContents(item, now);
  });
}

export function link(
  transaction: Transaction,
  { caller, now }: Actor,
  inode: number,
  parent: number,
  name: Uint8Array,
): Attributes {
  const directory = loadDirectory(transaction, caller, parent, X_OK);
  checkName(name);
  if (findEntry(transaction, parent, directory.nameSeed, name) !== undefined) fail("EEXIST");
  const { mode, links, flags } = loadInode(transaction, inode);
  requireRoomFor(directory, caller, mode);
  if (isDirectory(mode)) fail("EPERM");
  if (links === 0 && (flags & FLAG_UNNAMED) === 0) fail("ENOENT");
  if (links >= LINK_MAX) fail("EMLINK");
  if (links === 0) transaction.delete(ORPHANS, inode);
  const item = updateInode(transaction, inode, (linked) => {
    linked.links++;
    linked.flags &= ~FLAG_UNNAMED;
    linked.parent = parent;
    setTime(linked, "changed", now);
  });
  addEntry(transaction, parent, { name, inode, mode }, now);
  return attributesOf(inode, item);
}

/** unlink(2) (`file`) or rmdir(2) (`directory`). */
export function removeName(
  transaction: Transaction,
  { caller, now }: Actor,
  parent: number,
  name: Uint8Array,
  what: "file" | "directory",
  keeps: Keeps,
): Removal {
  const directory = loadDirectory(transaction, caller, parent, X_OK);
  const entry = requireEntry(transaction, parent, directory, name);
  requireRemovable(transaction, directory, entry, caller, what);
  if (what === "directory" && !isEmptyDirectory(transaction, entry.inode)) fail("ENOTEMPTY");
  removeEntry(transaction, parent, entry, now);
  return dropLink(transaction, entry.inode, keeps, now);
}

/** may_delete: EACCES, EPERM (sticky), then ENOTDIR or EISDIR, EBUSY for the root. */
export function requireRemovable(
  view: ItemView,
  directory: InodeItem,
  entry: FoundEntry,
  caller: Caller,
  what: "file" | "directory",
): InodeItem {
  requireAccess(directory, caller, W_OK | X_OK);
  const item = loadInode(view, entry.inode);
  requireNotSticky(directory, item, caller);
  if (what === "directory" && !isDirectory(item.mode)) fail("ENOTDIR");
  if (what === "file" && isDirectory(item.mode)) fail("EISDIR");
  if (entry.inode === ROOT_INODE) fail("EBUSY");
  return item;
}

export function readSymlink(view: ItemView, inode: number): Uint8Array {
  if (typeOf(loadInode(view, inode).mode) !== S_IFLNK) fail("EINVAL");
  return (view.get(keyOf(inode, ITEM.symlink), 0) ?? fail("EIO")).slice();
}

export function listDirectory(
  view: ItemView,
  caller: Caller,
  inode: number,
  cookie: number,
  limit: number,
): Listed[] {
  loadDirectory(view, caller, inode, R_OK);
  return listEntries(view, inode, cookie, limit);
}
