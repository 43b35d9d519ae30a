/**
 * Extended attributes (xattr(7)), with the rules of Linux's fs/xattr.c xattr_permission:
 * `user.` on regular files and directories, by their permission bits; `trusted.` for root;
 * `security.` read by anybody, written by root; everything else, POSIX ACLs included, EOPNOTSUPP.
 *
 * Values of up to 2 KiB stand in their item, longer ones in a record's body. The low of an item is
 * hash45(name) × 256 + slot, unseeded: who makes names collide fills a bucket of their own file.
 */
import { equalBytes, latin1 } from "../../../lib/bytes.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { fail } from "../../../lib/errors.ts";
import { type Caller, NAME_MAX, XATTR_CREATE, XATTR_REPLACE } from "../vfs.ts";
import { isOwner, isRoot, requireAccess } from "./access.ts";
import type { ItemView, Transaction } from "./api.ts";
import { loadInode, storeInode } from "./inodes.ts";
import {
  ADDRESS_AT,
  decodeXattr,
  encodeInlineXattr,
  encodeLocatedXattr,
  FLAG_CAPABILITY,
  type InodeItem,
  ITEM,
  keyOf,
  LOW_END,
  setTime,
  type Xattr,
  XATTR_INLINE_MAX,
  type XattrValue,
} from "./items.ts";
import { isDirectory, isRegular, R_OK, S_ISVTX, W_OK } from "./modes.ts";
import { BUCKET_SLOTS, freeSlot, hashName } from "./names.ts";
import type { Actor } from "./namespace.ts";
import { freeXattr } from "./removal.ts";

/** Longest value, bytes (Linux XATTR_SIZE_MAX). */
const XATTR_VALUE_MAX = 65_536;
/** All names of one inode with a NUL each, bytes (Linux XATTR_LIST_MAX). */
const XATTR_LIST_MAX = 65_536;

const XATTR_SEED = 0;
const USER = latin1("user.");
const TRUSTED = latin1("trusted.");
const SECURITY = latin1("security.");
/** capabilities(7), "File capabilities": rights that a program gets, whoever runs it. */
const CAPABILITY = latin1("security.capability");

export function getXattr(
  view: ItemView,
  caller: Caller,
  inode: number,
  name: Uint8Array,
): XattrValue {
  requireXattrAccess(loadInode(view, inode), caller, name, "read");
  const { value } = (findXattr(view, inode, name) ?? fail("ENODATA")).xattr;
  return value.kind === "located" ? value : { kind: "inline", bytes: value.bytes.slice() };
}

export function listXattrs(view: ItemView, caller: Caller, inode: number): Uint8Array[] {
  loadInode(view, inode);
  const names: Uint8Array[] = [];
  view.scan(keyOf(inode, ITEM.xattr), 0, LOW_END, (_low, value) => {
    const { name } = decodeXattr(value);
    if (isRoot(caller) || !startsWith(name, TRUSTED)) names.push(name.slice());
    return true;
  });
  return names;
}

export function setXattr(
  transaction: Transaction,
  { caller, now }: Actor,
  inode: number,
  { name, bytes, flags }: { name: Uint8Array; bytes: Uint8Array; flags: number },
): void {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) fail("EINVAL");
  if (bytes.length > XATTR_VALUE_MAX) fail("E2BIG");
  const item = loadInode(transaction, inode);
  requireXattrAccess(item, caller, name, "write");
  const found = findXattr(transaction, inode, name);
  if (found !== undefined && (flags & XATTR_CREATE) !== 0) fail("EEXIST");
  if (found === undefined && (flags & XATTR_REPLACE) !== 0) fail("ENODATA");
  if (found === undefined) requireListRoom(transaction, inode, name);
  else freeXattr(transaction, found.item);
  const high = keyOf(inode, ITEM.xattr);
  const low = found?.low ?? freeSlot(transaction, high, bucketOf(name));
  putXattr(transaction, high, low, name, bytes);
  if (equalBytes(name, CAPABILITY)) item.flags |= FLAG_CAPABILITY;
  setTime(item, "changed", now);
  storeInode(transaction, inode, item);
}

function putXattr(
  transaction: Transaction,
  high: number,
  low: number,
  name: Uint8Array,
  bytes: Uint8Array,
): void {
  if (bytes.length <= XATTR_INLINE_MAX) {
    return transaction.put(high, low, encodeInlineXattr(name, bytes));
  }
  const checksum = crc32c(bytes);
  const item = encodeLocatedXattr(name, bytes.length, checksum);
  transaction.putLocated(high, low, item, ADDRESS_AT, transaction.addBody(bytes, checksum));
  transaction.adjust({ dataBytes: bytes.length });
}

export function removeXattr(
  transaction: Transaction,
  { caller, now }: Actor,
  inode: number,
  name: Uint8Array,
): void {
  const item = loadInode(transaction, inode);
  requireXattrAccess(item, caller, name, "write");
  const found = findXattr(transaction, inode, name) ?? fail("ENODATA");
  deleteXattr(transaction, inode, found);
  if (equalBytes(name, CAPABILITY)) item.flags &= ~FLAG_CAPABILITY;
  setTime(item, "changed", now);
  storeInode(transaction, inode, item);
}

/**
 * Somebody writes to the file or gives it away: what it may do was meant for what it was (Linux's
 * cap_inode_killpriv, which asks nobody's privilege). Changes `item`, which the caller stores.
 */
export function dropCapabilities(transaction: Transaction, inode: number, item: InodeItem): void {
  if ((item.flags & FLAG_CAPABILITY) === 0) return;
  item.flags &= ~FLAG_CAPABILITY;
  const found = findXattr(transaction, inode, CAPABILITY);
  if (found !== undefined) deleteXattr(transaction, inode, found);
}

function deleteXattr(transaction: Transaction, inode: number, { low, item }: FoundXattr): void {
  freeXattr(transaction, item);
  transaction.delete(keyOf(inode, ITEM.xattr), low);
}

function requireXattrAccess(
  item: InodeItem,
  caller: Caller,
  name: Uint8Array,
  what: "read" | "write",
): void {
  if (name.length === 0 || name.length > NAME_MAX) fail("ERANGE");
  const prefix = [USER, TRUSTED, SECURITY].find((known) => startsWith(name, known));
  if (prefix === undefined) fail("EOPNOTSUPP");
  if (name.length === prefix.length) fail("EINVAL");
  if (prefix === USER) return requireUserXattr(item, caller, what);
  if (isRoot(caller)) return;
  if (what === "write") fail("EPERM");
  if (prefix === TRUSTED) fail("ENODATA");
}

function requireUserXattr(item: InodeItem, caller: Caller, what: "read" | "write"): void {
  if (!isRegular(item.mode) && !isDirectory(item.mode)) {
    fail(what === "write" ? "EPERM" : "ENODATA");
  }
  const isShared = isDirectory(item.mode) && (item.mode & S_ISVTX) !== 0;
  if (what === "write" && isShared && !isOwner(item, caller)) fail("EPERM");
  requireAccess(item, caller, what === "write" ? W_OK : R_OK);
}

interface FoundXattr {
  readonly low: number;
  /** The item as it stands in the tree. */
  readonly item: Uint8Array;
  readonly xattr: Xattr;
}

function findXattr(view: ItemView, inode: number, name: Uint8Array): FoundXattr | undefined {
  const bucket = bucketOf(name);
  let found: FoundXattr | undefined;
  view.scan(keyOf(inode, ITEM.xattr), bucket, bucket + BUCKET_SLOTS, (low, item) => {
    const xattr = decodeXattr(item);
    if (equalBytes(xattr.name, name)) found = { low, item, xattr };
    return found === undefined;
  });
  return found;
}

function bucketOf(name: Uint8Array): number {
  return hashName(name, XATTR_SEED) * BUCKET_SLOTS;
}

/** ENOSPC when the list of names would be longer than listxattr can give. */
function requireListRoom(view: ItemView, inode: number, name: Uint8Array): void {
  let bytes = name.length + 1;
  view.scan(keyOf(inode, ITEM.xattr), 0, LOW_END, (_low, value) => {
    bytes += decodeXattr(value).name.length + 1;
    return bytes <= XATTR_LIST_MAX;
  });
  if (bytes > XATTR_LIST_MAX) fail("ENOSPC");
}

function startsWith(name: Uint8Array, prefix: Uint8Array): boolean {
  return equalBytes(name.subarray(0, prefix.length), prefix);
}
