/**
 * setattr: chmod, chown, truncate and utimens in one operation, each with Linux's rules
 * (fs/attr.c setattr_prepare, chown_common, do_truncate, vfs_utimes). All checks come before the
 * first change.
 */
import { fail } from "../../../lib/errors.ts";
import type { AttributeChanges, Attributes, Caller, Timestamp } from "../vfs.ts";
import { inGroup, isOwner, isRoot, requireAccess, withoutSetId } from "./access.ts";
import type { Transaction } from "./api.ts";
import { attributesOf, loadInode, storeInode, touchContents } from "./inodes.ts";
import { type InodeItem, setTime } from "./items.ts";
import { isDirectory, MODE_BITS, S_ISGID, typeOf, W_OK } from "./modes.ts";
import {
  checkSize,
  isTruncating,
  PENDING,
  type Pending,
  requireRegular,
  resize,
} from "./truncation.ts";
import { dropCapabilities } from "./xattrs.ts";

export interface Setter {
  readonly caller: Caller;
  /** The change comes through a handle open for writing: its size may change whatever the mode says. */
  readonly through: "path" | "writableHandle";
}

export interface AttributesChanged {
  readonly attributes: Attributes;
  /** The driver has to finish a truncation. */
  readonly truncating: boolean;
}

export function changeAttributes(
  transaction: Transaction,
  inode: number,
  changes: AttributeChanges,
  setter: Setter,
  now: Timestamp,
): AttributesChanged | Pending {
  const item = loadInode(transaction, inode);
  check(item, changes, setter);
  if (changes.size !== undefined) {
    if (resize(transaction, inode, item, changes.size) === PENDING) return PENDING;
    touchContents(item, now);
    dropCapabilities(transaction, inode, item);
    if (!isRoot(setter.caller)) item.mode = withoutSetId(item.mode, "mayKeepGroup");
  }
  applyOwner(item, changes, setter.caller);
  if (isChown(changes) && !isDirectory(item.mode)) dropCapabilities(transaction, inode, item);
  applyMode(item, changes, setter.caller);
  applyTimes(item, changes, now);
  setTime(item, "changed", now);
  storeInode(transaction, inode, item);
  return { attributes: attributesOf(inode, item), truncating: isTruncating(item) };
}

function check(item: InodeItem, changes: AttributeChanges, setter: Setter): void {
  checkSizeChange(item, changes, setter);
  checkOwnerChange(item, changes, setter.caller);
  if (changes.mode !== undefined && !isOwner(item, setter.caller)) fail("EPERM");
  checkTimes(item, changes, setter);
}

function checkSizeChange(item: InodeItem, { size }: AttributeChanges, setter: Setter): void {
  if (size === undefined) return;
  requireRegular(item);
  checkSize(size);
  if (setter.through === "path") requireAccess(item, setter.caller, W_OK);
}

/** Only root gives files away; an owner may move one to a group of theirs. */
function checkOwnerChange(item: InodeItem, { uid, gid }: AttributeChanges, caller: Caller): void {
  if (isRoot(caller)) return;
  const isTheirs = item.uid === caller.uid;
  if (uid !== undefined && !(isTheirs && uid === item.uid)) fail("EPERM");
  const mayGroup = gid === undefined || (isTheirs && (gid === item.gid || inGroup(caller, gid)));
  if (!mayGroup) fail("EPERM");
}

/** Setting both to now takes write permission; anything else takes ownership. */
function checkTimes(item: InodeItem, changes: AttributeChanges, setter: Setter): void {
  const { accessed, modified, size } = changes;
  if (accessed === undefined && modified === undefined) return;
  const explicit = isExplicit(accessed) || isExplicit(modified);
  if (!explicit && size !== undefined) return;
  if (isOwner(item, setter.caller)) return;
  if (accessed !== "now" || modified !== "now") fail("EPERM");
  if (setter.through === "path") requireAccess(item, setter.caller, W_OK);
}

function isExplicit(time: Timestamp | "now" | undefined): boolean {
  return time !== undefined && time !== "now";
}

function isChown({ uid, gid }: AttributeChanges): boolean {
  return uid !== undefined || gid !== undefined;
}

function applyOwner(item: InodeItem, changes: AttributeChanges, caller: Caller): void {
  if (!isChown(changes)) return;
  if (!isDirectory(item.mode)) {
    const keeps = isRoot(caller) || inGroup(caller, item.gid) ? "mayKeepGroup" : "mayNot";
    item.mode = withoutSetId(item.mode, keeps);
  }
  item.uid = changes.uid ?? item.uid;
  item.gid = changes.gid ?? item.gid;
}

/** Who is neither root nor in the file's group cannot set set-gid; no error, the bit is dropped. */
function applyMode(item: InodeItem, { mode }: AttributeChanges, caller: Caller): void {
  if (mode === undefined) return;
  const keepsGroup = isRoot(caller) || inGroup(caller, item.gid);
  const bits = mode & MODE_BITS & (keepsGroup ? ~0 : ~S_ISGID);
  item.mode = typeOf(item.mode) | bits;
}

function applyTimes(item: InodeItem, changes: AttributeChanges, now: Timestamp): void {
  const { accessed, modified } = changes;
  if (accessed !== undefined) setTime(item, "accessed", accessed === "now" ? now : accessed);
  if (modified !== undefined) setTime(item, "modified", modified === "now" ? now : modified);
}
