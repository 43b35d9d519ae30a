/**
 * The directories `.smfs` and `.smfs/snapshots`, which no tree holds: everybody may look, nobody may
 * change them, and the second lists the snapshots by name. Like ZFS's `.zfs`, the first is found in
 * the root directory and not listed there, so that copies and backups do not walk into it.
 */
import { equalBytes, latin1 } from "../../../lib/bytes.ts";
import { fail } from "../../../lib/errors.ts";
import { type Attributes, type DirectoryEntry, ROOT_INODE } from "../vfs.ts";
import { timestampOf } from "./items.ts";
import { S_IFDIR } from "./modes.ts";
import { isDotDot } from "./names.ts";
import type { Snapshot } from "./snapshot.ts";
import { CONTROL_INODE, shownInode, SNAPSHOTS_INODE } from "./snapshot-numbers.ts";

const CONTROL_NAME = latin1(".smfs");
const SNAPSHOTS_NAME = latin1("snapshots");
const MODE = S_IFDIR | 0o555;

/** Whether `name` in the directory `parent` of the active tree is `.smfs`. */
export function isControlName(parent: number, name: Uint8Array): boolean {
  return parent === ROOT_INODE && equalBytes(name, CONTROL_NAME);
}

/** Where a name in one of the two directories leads: an inode as it is shown. ENOENT. */
export function lookupControl(
  directory: number,
  name: Uint8Array,
  snapshots: readonly Snapshot[],
): number {
  if (directory === CONTROL_INODE) {
    if (isDotDot(name)) return ROOT_INODE;
    return equalBytes(name, SNAPSHOTS_NAME) ? SNAPSHOTS_INODE : fail("ENOENT");
  }
  if (isDotDot(name)) return CONTROL_INODE;
  const found = snapshots.find((snapshot) => equalBytes(name, latin1(snapshot.name)));
  return found === undefined ? fail("ENOENT") : shownInode(found.slot, ROOT_INODE);
}

/** Calls `visit` for each entry behind `cookie` until it returns false. */
export function listControl(
  directory: number,
  cookie: number,
  snapshots: readonly Snapshot[],
  visit: (entry: DirectoryEntry) => boolean,
): void {
  if (directory === CONTROL_INODE) {
    const entry = { name: SNAPSHOTS_NAME, inode: SNAPSHOTS_INODE, type: S_IFDIR, cookie: 1 };
    if (cookie < 1) visit(entry);
    return;
  }
  for (const { slot, name } of snapshots) {
    if (slot <= cookie) continue;
    const inode = shownInode(slot, ROOT_INODE);
    if (!visit({ name: latin1(name), inode, type: S_IFDIR, cookie: slot })) return;
  }
}

/** ESTALE for a number that is neither's. */
export function controlAttributes(inode: number, snapshots: readonly Snapshot[]): Attributes {
  if (inode !== CONTROL_INODE && inode !== SNAPSHOTS_INODE) fail("ESTALE");
  const time = lastChange(snapshots);
  return {
    inode,
    mode: MODE,
    links: inode === CONTROL_INODE ? 3 : 2 + snapshots.length,
    uid: 0,
    gid: 0,
    device: 0,
    size: 0,
    allocatedBytes: 0,
    accessed: time,
    modified: time,
    changed: time,
    born: time,
  };
}

/**
 * Differs whenever the list does, so that a kernel that keeps listings reads it again: the time of
 * the newest snapshot, with their number (below 1000) as its nanoseconds, which no clock of
 * microseconds has.
 */
function lastChange(snapshots: readonly Snapshot[]) {
  const newest = snapshots.reduce((micros, one) => Math.max(micros, one.createdMicros), 0);
  const { seconds, nanoseconds } = timestampOf(newest);
  return { seconds, nanoseconds: nanoseconds + snapshots.length };
}
