/**
 * `SnapshotVfs`: a file system that shows the snapshots of its volume under `.smfs/snapshots/`.
 *
 * Everything about inodes of the active tree goes through untouched, at the price of one comparison.
 * Each snapshot is a read-only `FileSystem` of its own; here its inode numbers are moved into its
 * slot's range, and its handles get numbers of ours. What is done to a snapshot that is no longer
 * kept is ESTALE, on which the kernel looks its path up again.
 */
import { fail } from "../../../lib/errors.ts";
import {
  type AttributeChanges,
  type Attributes,
  type Caller,
  type DirectoryEntry,
  type FilePosition,
  type FsStatistics,
  type MaybePromise,
  type OpenOptions,
  type SyncRequest,
  type Vfs,
} from "../vfs.ts";
import {
  controlAttributes,
  isControlName,
  listControl,
  lookupControl,
} from "./control-directory.ts";
import { FileSystem } from "./filesystem.ts";
import { chain } from "./maybe.ts";
import { W_OK } from "./modes.ts";
import { isDotDot } from "./names.ts";
import type { Snapshot } from "./snapshot.ts";
import {
  innerOf,
  isActive,
  isControl,
  isSnapshotRoot,
  shownInode,
  slotOf,
  SNAPSHOTS_INODE,
  CONTROL_INODE,
} from "./snapshot-numbers.ts";
import type { SnapshotSource } from "./snapshot-volume.ts";

/** Handles of snapshots are from here on; those of the active tree are far below (`handles.ts`). */
const FIRST_HANDLE = 2 ** 32;

/** A snapshot that somebody has looked into. */
interface Shown {
  readonly snapshot: Snapshot;
  readonly vfs: Vfs;
}

/** An open file of a snapshot. */
interface Opened {
  readonly shown: Shown;
  /** In its own file system. */
  readonly handle: number;
}

export class SnapshotVfs implements Vfs {
  readonly readOnly: boolean;
  private readonly active: Vfs;
  private readonly source: SnapshotSource;
  /** By slot. */
  private readonly shown = new Map<number, Shown>();
  private readonly opened = new Map<number, Opened>();
  private nextHandle = FIRST_HANDLE;

  /** `active` is the file system of the volume `source`. */
  constructor(active: Vfs, source: SnapshotSource) {
    this.readOnly = active.readOnly;
    this.active = active;
    this.source = source;
  }

  /** Files of a snapshot that are open now. */
  openFilesOf(slot: number): number {
    const all = [...this.opened.values()];
    return all.filter(({ shown }) => shown.snapshot.slot === slot).length;
  }

  isTransient(inode: number): boolean {
    return !isActive(inode) && (isControl(inode) || isSnapshotRoot(inode));
  }

  lookup(caller: Caller, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    if (isControlName(parent, name)) return this.getattr(CONTROL_INODE);
    if (isActive(parent)) return this.active.lookup(caller, parent, name);
    if (isControl(parent)) {
      return this.getattr(lookupControl(parent, name, this.source.keptSnapshots));
    }
    if (isSnapshotRoot(parent) && isDotDot(name)) return this.getattr(SNAPSHOTS_INODE);
    const found = this.vfsOf(parent).lookup(caller, innerOf(parent), name);
    return shownAttributes(slotOf(parent), found);
  }

  getattr(inode: number): MaybePromise<Attributes> {
    if (isActive(inode)) return this.active.getattr(inode);
    if (isControl(inode)) return controlAttributes(inode, this.source.keptSnapshots);
    return shownAttributes(slotOf(inode), this.vfsOf(inode).getattr(innerOf(inode)));
  }

  setattr(
    caller: Caller,
    inode: number,
    changes: AttributeChanges,
    handle?: number,
  ): MaybePromise<Attributes> {
    requireActive(inode);
    return this.active.setattr(caller, inode, changes, handle);
  }

  access(caller: Caller, inode: number, mask: number): MaybePromise<void> {
    if (isActive(inode)) return this.active.access(caller, inode, mask);
    if (!isControl(inode)) return this.vfsOf(inode).access(caller, innerOf(inode), mask);
    if ((mask & W_OK) !== 0) fail("EROFS");
  }

  mknod(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    device: number,
  ): MaybePromise<Attributes> {
    requireNewName(parent, name);
    return this.active.mknod(caller, parent, name, mode, device);
  }

  mkdir(caller: Caller, parent: number, name: Uint8Array, mode: number): MaybePromise<Attributes> {
    requireNewName(parent, name);
    return this.active.mkdir(caller, parent, name, mode);
  }

  symlink(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    target: Uint8Array,
  ): MaybePromise<Attributes> {
    requireNewName(parent, name);
    return this.active.symlink(caller, parent, name, target);
  }

  readlink(inode: number): MaybePromise<Uint8Array> {
    if (isControl(inode)) return fail("EINVAL");
    return this.vfsOf(inode).readlink(innerOf(inode));
  }

  link(caller: Caller, inode: number, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    requireNewName(parent, name);
    if (!isActive(inode)) fail("EXDEV");
    return this.active.link(caller, inode, parent, name);
  }

  unlink(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void> {
    requireOldName(parent, name);
    return this.active.unlink(caller, parent, name);
  }

  rmdir(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void> {
    requireOldName(parent, name);
    return this.active.rmdir(caller, parent, name);
  }

  rename(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): MaybePromise<void> {
    requireOldName(parent, name);
    requireOldName(newParent, newName);
    return this.active.rename(caller, parent, name, newParent, newName, flags);
  }

  create(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    exclusive: boolean,
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    if (isActive(parent)) {
      if (isControlName(parent, name)) fail(exclusive ? "EEXIST" : "EISDIR");
      return this.active.create(caller, parent, name, mode, exclusive, options);
    }
    return fail("EROFS");
  }

  createUnnamed(
    caller: Caller,
    parent: number,
    mode: number,
    naming: "possible" | "never",
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    requireActive(parent);
    return this.active.createUnnamed(caller, parent, mode, naming, options);
  }

  open(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    if (isActive(inode)) return this.active.open(caller, inode, options);
    if (isControl(inode)) return fail("EISDIR");
    const shown = this.shownAt(slotOf(inode));
    return chain(shown.vfs.open(caller, innerOf(inode), options), (handle) => {
      const number = this.nextHandle++;
      this.opened.set(number, { shown, handle });
      return number;
    });
  }

  release(handle: number): MaybePromise<void> {
    if (handle < FIRST_HANDLE) return this.active.release(handle);
    const opened = this.require(handle);
    this.opened.delete(handle);
    return opened.shown.vfs.release(opened.handle);
  }

  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]> {
    if (handle < FIRST_HANDLE) return this.active.read(handle, offset, length);
    const opened = this.require(handle);
    return opened.shown.vfs.read(opened.handle, offset, length);
  }

  /** A handle of a snapshot is never open for writing. */
  write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest): MaybePromise<number> {
    if (handle >= FIRST_HANDLE) fail("EBADF");
    return this.active.write(handle, offset, data, sync);
  }

  fsync(inode: number, request: "data" | "full"): MaybePromise<void> {
    return isActive(inode) ? this.active.fsync(inode, request) : undefined;
  }

  seek(handle: number, offset: number, whence: 3 | 4): MaybePromise<number> {
    if (handle < FIRST_HANDLE) return this.active.seek(handle, offset, whence);
    const opened = this.require(handle);
    return opened.shown.vfs.seek(opened.handle, offset, whence);
  }

  fallocate(handle: number, offset: number, length: number, mode: number): MaybePromise<void> {
    if (handle >= FIRST_HANDLE) fail("EBADF");
    return this.active.fallocate(handle, offset, length, mode);
  }

  /** Blocks are shared within a tree only: on EXDEV the kernel copies the bytes itself. */
  copyRange(from: FilePosition, to: FilePosition, length: number): MaybePromise<number> {
    if (to.handle >= FIRST_HANDLE) fail("EBADF");
    if (from.handle >= FIRST_HANDLE) fail("EXDEV");
    return this.active.copyRange(from, to, length);
  }

  readdir(
    caller: Caller,
    inode: number,
    cookie: number,
    visit: (entry: DirectoryEntry) => boolean,
  ): MaybePromise<void> {
    if (isActive(inode)) return this.active.readdir(caller, inode, cookie, visit);
    if (isControl(inode)) return listControl(inode, cookie, this.source.keptSnapshots, visit);
    const slot = slotOf(inode);
    return this.vfsOf(inode).readdir(caller, innerOf(inode), cookie, (entry) =>
      visit({ ...entry, inode: shownInode(slot, entry.inode) }),
    );
  }

  getxattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<Uint8Array> {
    if (isControl(inode)) return fail("ENODATA");
    return this.vfsOf(inode).getxattr(caller, innerOf(inode), name);
  }

  setxattr(
    caller: Caller,
    inode: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
  ): MaybePromise<void> {
    requireActive(inode);
    return this.active.setxattr(caller, inode, name, value, flags);
  }

  listxattr(caller: Caller, inode: number): MaybePromise<Uint8Array[]> {
    return isControl(inode) ? [] : this.vfsOf(inode).listxattr(caller, innerOf(inode));
  }

  removexattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<void> {
    requireActive(inode);
    return this.active.removexattr(caller, inode, name);
  }

  statfs(): MaybePromise<FsStatistics> {
    return this.active.statfs();
  }

  /** What a snapshot holds needs nobody to hold it: it stays or goes as a whole. */
  hold(inode: number): void {
    if (isActive(inode)) this.active.hold(inode);
  }

  drop(inode: number): MaybePromise<void> {
    return isActive(inode) ? this.active.drop(inode) : undefined;
  }

  private vfsOf(inode: number): Vfs {
    return isActive(inode) ? this.active : this.shownAt(slotOf(inode)).vfs;
  }

  /** ESTALE when no snapshot has the slot. */
  private shownAt(slot: number): Shown {
    const known = this.shown.get(slot);
    if (known !== undefined && this.source.isKept(known.snapshot)) return known;
    this.shown.delete(slot);
    const snapshot = this.source.keptSnapshots.find((one) => one.slot === slot);
    if (snapshot === undefined) return fail("ESTALE");
    const vfs = new FileSystem(this.source.openSnapshot(snapshot), NOTHING_TO_WAIT_FOR);
    const shown = { snapshot, vfs };
    this.shown.set(slot, shown);
    return shown;
  }

  /** EBADF when no file of a snapshot is open so. */
  private require(handle: number): Opened {
    return this.opened.get(handle) ?? fail("EBADF");
  }
}

const NOTHING_TO_WAIT_FOR = { wait: () => undefined };

function shownAttributes(slot: number, found: MaybePromise<Attributes>): MaybePromise<Attributes> {
  return chain(found, (attributes) => ({
    ...attributes,
    inode: shownInode(slot, attributes.inode),
  }));
}

function requireActive(inode: number): void {
  if (!isActive(inode)) fail("EROFS");
}

/** The name may be made: EROFS, and EEXIST for `.smfs`. */
function requireNewName(parent: number, name: Uint8Array): void {
  requireActive(parent);
  if (isControlName(parent, name)) fail("EEXIST");
}

/** The name may be removed or replaced: EROFS, and EBUSY (as for a mount point) for `.smfs`. */
function requireOldName(parent: number, name: Uint8Array): void {
  requireActive(parent);
  if (isControlName(parent, name)) fail("EBUSY");
}
