/** The checks and changes of open(2), with and without O_CREAT. Handles are the driver's. */
import { assert } from "../../../lib/assert.ts";
import { fail } from "../../../lib/errors.ts";
import type { Attributes, Caller, OpenOptions } from "../vfs.ts";
import { requireAccess } from "./access.ts";
import type { ItemView, Transaction } from "./api.ts";
import { type AttributesChanged, changeAttributes } from "./attributes.ts";
import { attributesOf, loadInode } from "./inodes.ts";
import { isDirectory, MODE_BITS, R_OK, S_IFLNK, S_IFREG, typeOf, W_OK, X_OK } from "./modes.ts";
import { checkName, findEntry } from "./names.ts";
import { type Actor, loadDirectory, makeNode } from "./namespace.ts";
import type { IsUsed } from "./removal.ts";
import { PENDING } from "./truncation.ts";

/** ELOOP for a symbolic link, EISDIR for writing to a directory, EACCES, ESTALE for a removed inode. */
export function checkOpen(
  view: ItemView,
  caller: Caller,
  inode: number,
  options: OpenOptions,
  isUsed: IsUsed,
): Attributes {
  const item = loadInode(view, inode);
  if (item.links === 0 && !isUsed(inode)) fail("ESTALE");
  const writes = options.write || options.truncate;
  if (typeOf(item.mode) === S_IFLNK) fail("ELOOP");
  if (isDirectory(item.mode) && writes) fail("EISDIR");
  const reading = options.execute === true ? X_OK : R_OK;
  requireAccess(item, caller, (options.read ? reading : 0) | (writes ? W_OK : 0));
  return attributesOf(inode, item);
}

/** As `checkOpen`, and empties the file when `options.truncate` says so. */
export function openAndTruncate(
  transaction: Transaction,
  { caller, now }: Actor,
  inode: number,
  options: OpenOptions,
  isUsed: IsUsed,
): AttributesChanged {
  const attributes = checkOpen(transaction, caller, inode, options, isUsed);
  if (!options.truncate || typeOf(attributes.mode) !== S_IFREG) {
    return { attributes, truncating: false };
  }
  const setter = { caller, through: "writableHandle" } as const;
  const changed = changeAttributes(transaction, inode, { size: 0 }, setter, now);
  assert(changed !== PENDING, "no file grows to nothing");
  return changed;
}

export interface Creation {
  readonly parent: number;
  readonly name: Uint8Array;
  /** Permission bits. */
  readonly mode: number;
  readonly exclusive: boolean;
}

/** The mode of a new file does not matter to the handle that made it. */
export function createFile(
  transaction: Transaction,
  actor: Actor,
  { parent, name, mode, exclusive }: Creation,
  options: OpenOptions,
  isUsed: IsUsed,
): AttributesChanged {
  const directory = loadDirectory(transaction, actor.caller, parent, X_OK);
  checkName(name);
  const entry = findEntry(transaction, parent, directory.nameSeed, name);
  if (entry !== undefined) {
    if (exclusive) fail("EEXIST");
    return openAndTruncate(transaction, actor, entry.inode, options, isUsed);
  }
  const node = { mode: S_IFREG | (mode & MODE_BITS) };
  const attributes = makeNode(transaction, actor, parent, name, node);
  return { attributes, truncating: false };
}
