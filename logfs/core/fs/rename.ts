/**
 * rename(2) and renameat2(2)'s flags, as fs/namei.c vfs_rename does them:
 *
 * 1. Find both names; flags say which must be there. Both names of one inode: nothing happens.
 * 2. No directory may go below itself (EINVAL), nor replace one it stands in (ENOTEMPTY).
 * 3. Permissions as for removing the old name and making (or removing) the new one; a directory
 *    that gets another parent must itself be writable, because its ".." changes.
 * 4. Types must fit, a replaced directory must be empty.
 * 5. Change entries, counts, ".." and times in one record.
 */
import { fail, SmfsError } from "../../../lib/errors.ts";
import { type Caller, RENAME_EXCHANGE, RENAME_NOREPLACE, ROOT_INODE } from "../vfs.ts";
import { requireAccess } from "./access.ts";
import type { ItemView, Transaction } from "./api.ts";
import { loadInode, touchContents, updateInode } from "./inodes.ts";
import { encodeEntry, type InodeItem, ITEM, keyOf, setTime } from "./items.ts";
import { isDirectory, W_OK, X_OK } from "./modes.ts";
import { checkName, findEntry, type FoundEntry, isEmptyDirectory } from "./names.ts";
import {
  type Actor,
  addEntry,
  LINK_MAX,
  loadDirectory,
  removeEntry,
  requireRemovable,
  requireRoomFor,
} from "./namespace.ts";
import { dropLink, type Keeps, type Removal } from "./removal.ts";

export interface Place {
  readonly parent: number;
  readonly name: Uint8Array;
}

interface Side extends Place {
  readonly directory: InodeItem;
  readonly entry: FoundEntry | undefined;
}

interface Found extends Side {
  readonly entry: FoundEntry;
}

/** A chain of parents longer than this can only be damage that made a circle. */
const DEPTH_MAX = 1_000_000;

export interface Renamed {
  /** Inodes whose attributes changed, parents not counted. */
  readonly moved: readonly number[];
  /** What became of the inode that lost its name to the other. */
  readonly replaced: Removal | undefined;
}

const NOTHING: Renamed = { moved: [], replaced: undefined };

export function rename(
  transaction: Transaction,
  actor: Actor,
  from: Place,
  to: Place,
  flags: number,
  keeps: Keeps,
): Renamed {
  checkFlags(flags);
  const source = find(transaction, actor.caller, from);
  const target = find(transaction, actor.caller, to);
  const exchanges = (flags & RENAME_EXCHANGE) !== 0;
  if (!isFound(source)) fail("ENOENT");
  if (exchanges && !isFound(target)) fail("ENOENT");
  if ((flags & RENAME_NOREPLACE) !== 0 && isFound(target)) fail("EEXIST");
  checkCircles(transaction, source, target, exchanges ? "EINVAL" : "ENOTEMPTY");
  if (source.entry.inode === target.entry?.inode) return NOTHING;
  checkLeaving(transaction, source, target, actor.caller);
  if (isFound(target) && exchanges) {
    checkLeaving(transaction, target, source, actor.caller);
    return exchange(transaction, actor, source, target);
  }
  checkArriving(transaction, source, target, actor.caller);
  return move(transaction, actor, source, target, keeps);
}

function checkFlags(flags: number): void {
  const both = RENAME_NOREPLACE | RENAME_EXCHANGE;
  if ((flags & ~both) !== 0 || flags === both) fail("EINVAL");
}

function find(view: ItemView, caller: Caller, { parent, name }: Place): Side {
  const directory = loadDirectory(view, caller, parent, X_OK);
  checkName(name);
  return { parent, name, directory, entry: findEntry(view, parent, directory.nameSeed, name) };
}

function isFound(side: Side): side is Found {
  return side.entry !== undefined;
}

function checkCircles(
  view: ItemView,
  source: Found,
  target: Side,
  above: "EINVAL" | "ENOTEMPTY",
): void {
  if (source.parent === target.parent) return;
  if (standsAbove(view, source.entry, target.parent)) fail("EINVAL");
  if (isFound(target) && standsAbove(view, target.entry, source.parent)) fail(above);
}

/** Whether the entry is `directory` or one of those it stands in. */
function standsAbove(view: ItemView, { inode, type }: FoundEntry, directory: number): boolean {
  if (!isDirectory(type)) return false;
  let at = directory;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (at === inode) return true;
    if (at === ROOT_INODE) return false;
    at = loadInode(view, at).parent;
  }
  throw new SmfsError("DAMAGED", `directory ${directory} does not lead up to the root`);
}

/** May this entry be taken from its directory to the other's? */
function checkLeaving(view: ItemView, side: Found, other: Side, caller: Caller): void {
  const { directory, entry } = side;
  const what = isDirectory(entry.type) ? "directory" : "file";
  const item = requireRemovable(view, directory, entry, caller, what);
  if (what === "directory" && side.parent !== other.parent) {
    requireAccess(item, caller, W_OK);
    if (other.directory.links >= LINK_MAX) fail("EMLINK");
  }
}

/** May `source` take the target's name? */
function checkArriving(view: ItemView, source: Found, target: Side, caller: Caller): void {
  if (!isFound(target)) return requireRoomFor(target.directory, caller, 0);
  const { directory, entry } = target;
  const what = isDirectory(source.entry.type) ? "directory" : "file";
  requireRemovable(view, directory, entry, caller, what);
  if (what === "directory" && !isEmptyDirectory(view, entry.inode)) fail("ENOTEMPTY");
}

function move(
  transaction: Transaction,
  actor: Actor,
  source: Found,
  target: Side,
  keeps: Keeps,
): Renamed {
  const { now } = actor;
  const { inode, type } = source.entry;
  let replaced: Removal | undefined;
  removeEntry(transaction, source.parent, source.entry, now);
  if (isFound(target)) {
    removeEntry(transaction, target.parent, target.entry, now);
    replaced = dropLink(transaction, target.entry.inode, keeps, now);
  }
  addEntry(transaction, target.parent, { name: target.name, inode, mode: type }, now);
  settle(transaction, actor, source.entry, target.parent);
  return { moved: [inode], replaced };
}

function exchange(transaction: Transaction, actor: Actor, one: Found, two: Found): Renamed {
  repoint(transaction, actor, one, two.entry);
  repoint(transaction, actor, two, one.entry);
  settle(transaction, actor, one.entry, two.parent);
  settle(transaction, actor, two.entry, one.parent);
  return { moved: [one.entry.inode, two.entry.inode], replaced: undefined };
}

/** The name of `side` leads to another inode; its directory counts its subdirectories anew. */
function repoint(
  transaction: Transaction,
  { now }: Actor,
  { parent, name, entry }: Found,
  { inode, type }: FoundEntry,
): void {
  transaction.put(keyOf(parent, ITEM.entry), entry.low, encodeEntry({ name, inode, type }));
  updateInode(transaction, parent, (item) => {
    item.links += Number(isDirectory(type)) - Number(isDirectory(entry.type));
    touchContents(item, now);
  });
}

/** The moved inode's own part: its change time, and where it stands (a directory's ".."). */
function settle(
  transaction: Transaction,
  { now }: Actor,
  { inode }: FoundEntry,
  parent: number,
): void {
  updateInode(transaction, inode, (item) => {
    setTime(item, "changed", now);
    item.parent = parent;
  });
}
