/**
 * Inode numbers of a mount that shows its snapshots: those of the active tree are as they are, those
 * of the snapshot in slot t are t × 2^44 higher (ARCHITECTURE, "Snapshots"), and the directories
 * that lead there have a slot of their own. All stay below 2^53.
 */
import { ROOT_INODE } from "../vfs.ts";

/** Inodes of a tree are below this. */
export const INODES_END = 2 ** 44;
/** Above every slot that a snapshot can have. */
const CONTROL_SLOT = 511;

/** `.smfs` in the root directory. */
export const CONTROL_INODE = CONTROL_SLOT * INODES_END + 1;
/** `.smfs/snapshots` */
export const SNAPSHOTS_INODE = CONTROL_SLOT * INODES_END + 2;

export function isActive(inode: number): boolean {
  return inode < INODES_END;
}

export function isControl(inode: number): boolean {
  return inode >= CONTROL_SLOT * INODES_END;
}

/** Slot of the snapshot that a shown inode belongs to. */
export function slotOf(shown: number): number {
  return Math.floor(shown / INODES_END);
}

/** The number in its own tree. */
export function innerOf(shown: number): number {
  return shown % INODES_END;
}

export function shownInode(slot: number, inode: number): number {
  return slot * INODES_END + inode;
}

/** The root directory of a snapshot, which has its place under the snapshot's name. */
export function isSnapshotRoot(inode: number): boolean {
  return !isActive(inode) && !isControl(inode) && innerOf(inode) === ROOT_INODE;
}
