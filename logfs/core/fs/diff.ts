/**
 * What changed between two trees of one volume, as paths: as `zfs diff` says it. Items that differ
 * (`diff-items.ts`) are gathered by inode; then inodes get their paths (`diff-names.ts`).
 *
 * A directory is modified when names in it were made or removed. A file that only got another name
 * is renamed, and not modified. A further link of an old file is an added path, like a new file.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { diffItems, type ItemChange } from "./diff-items.ts";
import { type Named, Names } from "./diff-names.ts";
import { decodeEntry, decodeInode, type InodeItem, inodeOf, ITEM, kindOf } from "./items.ts";
import type { TreeAccess } from "./snapshot-volume.ts";

/** Inodes that one comparison remembers, some hundred bytes each. */
const MAX_CHANGED_INODES = 1_000_000;

export interface PathChange {
  readonly kind: "added" | "removed" | "modified" | "renamed";
  readonly inode: number;
  /** st_mode's type bits. */
  readonly type: number;
  /** From the root directory, "/" first. Of a removed or renamed file: where it was. */
  readonly path: Uint8Array;
  /** Of a renamed file: where it is. */
  readonly newPath?: Uint8Array;
}

/** At one path, what was there goes before what is. */
const ORDER = { removed: 0, renamed: 1, added: 2, modified: 3 };

/** In the order of the paths. Rejects with TOO_LARGE, and with what loading a node does. */
export async function diffTrees(before: TreeAccess, after: TreeAccess): Promise<PathChange[]> {
  const inodes = await gather(before, after);
  const then = new Names(before);
  const now = new Names(after);
  const wantedThen = new Set<number>();
  const wantedNow = new Set<number>();
  for (const [inode, change] of inodes) {
    for (const name of change.lost) wantedThen.add(name.directory);
    for (const name of change.gained) wantedNow.add(name.directory);
    const [named] = change.gained;
    if (named !== undefined) now.note(inode, named);
    if (change.isModified && exists(change.after)) wantedNow.add(inode);
  }
  await then.resolve(wantedThen);
  await now.resolve(wantedNow);
  const changes: PathChange[] = [];
  for (const [inode, change] of inodes) pushChanges(changes, inode, change, then, now);
  return changes.toSorted((a, b) => comparePaths(a.path, b.path) || ORDER[a.kind] - ORDER[b.kind]);
}

/** What is known of one inode. "same": its attributes are as they were. */
interface InodeChange {
  before: InodeItem | null | "same";
  after: InodeItem | null | "same";
  /** More than its names, links and the time of that. */
  isModified: boolean;
  readonly lost: Named[];
  readonly gained: Named[];
}

async function gather(before: TreeAccess, after: TreeAccess): Promise<Map<number, InodeChange>> {
  const inodes = new Map<number, InodeChange>();
  const changeOf = (inode: number): InodeChange => {
    let change = inodes.get(inode);
    if (change === undefined) {
      change = { before: "same", after: "same", isModified: false, lost: [], gained: [] };
      inodes.set(inode, change);
    }
    return change;
  };
  for await (const item of diffItems(before, after)) {
    note(item, changeOf);
    if (inodes.size > MAX_CHANGED_INODES) {
      throw new SmfsError("TOO_LARGE", `more than ${MAX_CHANGED_INODES} files changed`);
    }
  }
  return inodes;
}

function note(item: ItemChange, changeOf: (inode: number) => InodeChange): void {
  const inode = inodeOf(item.high);
  switch (kindOf(item.high)) {
    case ITEM.attributes:
      return noteAttributes(item, changeOf(inode));
    case ITEM.entry:
      return noteEntry(item, inode, changeOf);
    case ITEM.symlink:
    case ITEM.xattr:
    case ITEM.extent:
      changeOf(inode).isModified = true;
      return;
    default:
      // What stands under no inode: bookkeeping of removals and of shared blocks.
      return;
  }
}

function noteAttributes(item: ItemChange, change: InodeChange): void {
  const before = item.before === null ? null : decodeInode(item.before);
  const after = item.after === null ? null : decodeInode(item.after);
  Object.assign(change, { before, after });
  if (before === null || after === null || MODIFYING.some((key) => before[key] !== after[key])) {
    change.isModified = true;
  }
}

const MODIFYING = [
  "mode",
  "uid",
  "gid",
  "device",
  "size",
  "modifiedSeconds",
  "modifiedNanoseconds",
] as const satisfies (keyof InodeItem)[];

function noteEntry(
  { before, after }: ItemChange,
  directory: number,
  changeOf: (inode: number) => InodeChange,
): void {
  if (before !== null) {
    const { inode, name } = decodeEntry(before);
    changeOf(inode).lost.push({ directory, name: name.slice() });
  }
  if (after !== null) {
    const { inode, name } = decodeEntry(after);
    changeOf(inode).gained.push({ directory, name: name.slice() });
  }
}

/** A file without a name is only held by those who have it open. */
function exists(item: InodeItem | null | "same"): boolean {
  return item !== null && (item === "same" || item.links > 0);
}

function typeIn({ before, after }: InodeChange): number {
  const item = after === null || after === "same" ? before : after;
  return item === null || item === "same" ? 0 : item.mode & 0o170000;
}

function pushChanges(
  changes: PathChange[],
  inode: number,
  change: InodeChange,
  then: Names,
  now: Names,
): void {
  const about = { inode, type: typeIn(change) };
  const push = (kind: PathChange["kind"], path: Uint8Array | null): void => {
    if (path !== null) changes.push({ ...about, kind, path });
  };
  const survives = exists(change.before) && exists(change.after);
  const renamed = survives ? Math.min(change.lost.length, change.gained.length) : 0;
  for (let i = 0; i < renamed; i++) {
    const path = then.pathOfName(change.lost[i]);
    const newPath = now.pathOfName(change.gained[i]);
    if (path !== null && newPath !== null)
      changes.push({ ...about, kind: "renamed", path, newPath });
  }
  for (const name of change.lost.slice(renamed)) push("removed", then.pathOfName(name));
  for (const name of change.gained.slice(renamed)) push("added", now.pathOfName(name));
  if (survives && change.isModified) push("modified", now.pathOf(inode));
}

function comparePaths(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
