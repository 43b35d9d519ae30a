/**
 * Permission checks, as Linux does them for a local file system (fs/namei.c generic_permission and
 * may_delete, fs/attr.c setattr_prepare): uid 0 stands for the capabilities CAP_DAC_OVERRIDE,
 * CAP_FOWNER, CAP_CHOWN and CAP_FSETID.
 */
import { fail } from "../../../lib/errors.ts";
import type { Caller } from "../vfs.ts";
import type { InodeItem } from "./items.ts";
import { isDirectory, S_ISGID, S_ISUID, S_ISVTX, S_IXGRP, X_OK } from "./modes.ts";

export function isRoot(caller: Caller): boolean {
  return caller.uid === 0;
}

export function isOwner(item: InodeItem, caller: Caller): boolean {
  return isRoot(caller) || item.uid === caller.uid;
}

export function inGroup(caller: Caller, gid: number): boolean {
  return caller.gid === gid || caller.groups().includes(gid);
}

export function mayAccess(item: InodeItem, caller: Caller, mask: number): boolean {
  if (isRoot(caller)) {
    return (mask & X_OK) === 0 || isDirectory(item.mode) || (item.mode & 0o111) !== 0;
  }
  return (permissionBits(item, caller) & mask) === mask;
}

/** Throws EACCES unless every bit of `mask` (R_OK, W_OK, X_OK) is granted. */
export function requireAccess(item: InodeItem, caller: Caller, mask: number): void {
  if (!mayAccess(item, caller, mask)) fail("EACCES");
}

function permissionBits(item: InodeItem, caller: Caller): number {
  if (caller.uid === item.uid) return (item.mode >> 6) & 7;
  return inGroup(caller, item.gid) ? (item.mode >> 3) & 7 : item.mode & 7;
}

/** In a sticky directory only the owners of the entry and of the directory may take it away: EPERM. */
export function requireNotSticky(directory: InodeItem, item: InodeItem, caller: Caller): void {
  if ((directory.mode & S_ISVTX) === 0) return;
  if (!isOwner(item, caller) && directory.uid !== caller.uid) fail("EPERM");
}

/**
 * The mode after somebody wrote to or chowned a file (setattr_should_drop_suidgid): set-uid goes;
 * set-gid goes when the group may execute, or when `mayKeepGroup` is false.
 */
export function withoutSetId(mode: number, mayKeepGroup: "mayKeepGroup" | "mayNot"): number {
  const dropsGroup = (mode & S_IXGRP) !== 0 || mayKeepGroup === "mayNot";
  return mode & ~S_ISUID & (dropsGroup ? ~S_ISGID : ~0);
}
