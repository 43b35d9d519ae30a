/**
 * `FileSystem`: the operations of `Vfs` over a volume and a committer.
 *
 * Each method is: check what needs no tree; run one operation (a function in the files beside this
 * one) as one record; then, and only then, change the tables of handles and used inodes; then wait
 * for the sync level asked for. Operations may be run several times, so they change nothing else.
 *
 * - When the volume answers from memory and the committer has nothing to wait for, no promise is
 *   made.
 * - Requests too large for one record are a chain of operations; removing what nobody can reach any
 *   more is one too, and a crash in between is finished at the next mount (`finishPending`).
 * - Access times change by utimens only, as on a Linux mount with `noatime`.
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
  NAME_MAX,
  type OpenOptions,
  ROOT_INODE,
  type SyncRequest,
  type Vfs,
} from "../vfs.ts";
import { requireAccess } from "./access.ts";
import type { Committer, SyncOptions, Volume } from "./api.ts";
import { changeAttributes } from "./attributes.ts";
import { Driver, type Space } from "./driver.ts";
import { attributesOf, loadInode } from "./inodes.ts";
import { LISTING_BATCH, visitEntries } from "./listing.ts";
import { chain } from "./maybe.ts";
import { isStored, S_IFDIR, S_IFLNK, W_OK } from "./modes.ts";
import type { Listed } from "./names.ts";
import {
  link,
  listDirectory,
  lookup,
  makeNode,
  type Naming,
  type Node,
  readSymlink,
  removeName,
} from "./namespace.ts";
import { OpenFiles } from "./openfiles.ts";
import { planAgain } from "./plan-again.ts";
import { freeInodesWithin, spaceWithin } from "./quota.ts";
import { readXattrValue } from "./reading.ts";
import { rename } from "./rename.ts";
import { FsCounters } from "./statistics.ts";
import { PENDING } from "./truncation.ts";
import { UsedInodes } from "./used.ts";
import { getXattr, listXattrs, removeXattr, setXattr } from "./xattrs.ts";

/** What a mount waits for when nothing else is said (ARCHITECTURE, "What an operation waits for"). */
const DEFAULT_SYNC: SyncOptions = {
  floor: "written",
  dataSync: "network",
  fsync: "network",
  osync: "network",
};

/** `statfs` counts in these. */
const STATFS_BLOCK_BYTES = 4096;

export class FileSystem implements Vfs {
  readonly readOnly: boolean;
  private readonly volume: Volume;
  private readonly driver: Driver;
  private readonly used = new UsedInodes();
  private readonly counters = new FsCounters();
  private readonly files: OpenFiles;

  constructor(volume: Volume, committer: Committer, sync: SyncOptions = DEFAULT_SYNC) {
    this.volume = volume;
    this.readOnly = volume.readOnly;
    this.driver = new Driver(volume, committer, sync, this.used);
    this.files = new OpenFiles(volume, this.driver, this.used, this.counters);
  }

  /** Monotonic counts, and three gauges: openHandles, heldInodes, orphans. */
  get statistics() {
    const { operations, readBytes, writtenBytes, sharedBytes, checksumFailures } = this.counters;
    return {
      operations: { ...operations },
      readBytes,
      writtenBytes,
      sharedBytes,
      checksumFailures,
      openHandles: this.files.count,
      heldInodes: this.used.held,
      orphans: this.used.orphaned,
    };
  }

  /** Finishes the removals that a crash interrupted. Once, before the first use; nothing on a read-only volume. */
  finishPending(): Promise<void> {
    return this.driver.finishPending();
  }

  lookup(caller: Caller, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    this.counters.count("lookup");
    return this.volume.view((view) => lookup(view, caller, parent, name));
  }

  getattr(inode: number): MaybePromise<Attributes> {
    this.counters.count("getattr");
    const remains = this.used.remainsOf(inode);
    if (remains !== undefined) return remains;
    return this.volume.view((view) => attributesOf(inode, loadInode(view, inode)));
  }

  setattr(
    caller: Caller,
    inode: number,
    changes: AttributeChanges,
    handle?: number,
  ): MaybePromise<Attributes> {
    this.counters.count("setattr");
    const writable = handle !== undefined && this.files.isWritable(handle);
    const setter = { caller, through: writable ? "writableHandle" : "path" } as const;
    const run = (space: Space): MaybePromise<Attributes> =>
      this.driver.change(
        space,
        (transaction) => changeAttributes(transaction, inode, changes, setter, this.driver.now()),
        (changed, sequence) => {
          this.driver.touched(sequence, inode);
          if (changed === PENDING)
            return chain(this.driver.finishTruncation(inode), () => run(space));
          return this.driver.afterTruncation(changed);
        },
      );
    return chain(this.driver.spaceOf(inode, changes.size), run);
  }

  access(caller: Caller, inode: number, mask: number): MaybePromise<void> {
    this.counters.count("access");
    return this.volume.view((view) => {
      const item = loadInode(view, inode);
      if (this.readOnly && (mask & W_OK) !== 0 && isStored(item.mode)) fail("EROFS");
      requireAccess(item, caller, mask & 7);
    });
  }

  mknod(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    device: number,
  ): MaybePromise<Attributes> {
    this.counters.count("mknod");
    return this.make(caller, parent, name, { mode, device });
  }

  mkdir(caller: Caller, parent: number, name: Uint8Array, mode: number): MaybePromise<Attributes> {
    this.counters.count("mkdir");
    return this.make(caller, parent, name, { mode: S_IFDIR | (mode & 0o7777) });
  }

  symlink(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    target: Uint8Array,
  ): MaybePromise<Attributes> {
    this.counters.count("symlink");
    return this.make(caller, parent, name, { mode: S_IFLNK | 0o777, target });
  }

  readlink(inode: number): MaybePromise<Uint8Array> {
    this.counters.count("readlink");
    return this.volume.view((view) => readSymlink(view, inode));
  }

  link(caller: Caller, inode: number, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    this.counters.count("link");
    return this.driver.change(
      "takesSpace",
      (transaction) => link(transaction, this.driver.actor(caller), inode, parent, name),
      (attributes, sequence) => {
        this.driver.touched(sequence, parent, inode);
        this.used.named(inode);
        return attributes;
      },
    );
  }

  unlink(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void> {
    this.counters.count("unlink");
    return this.remove(caller, parent, name, "file");
  }

  rmdir(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void> {
    this.counters.count("rmdir");
    return this.remove(caller, parent, name, "directory");
  }

  rename(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): MaybePromise<void> {
    this.counters.count("rename");
    const from = { parent, name };
    const to = { parent: newParent, name: newName };
    return this.driver.change(
      "takesSpace",
      (transaction) =>
        rename(transaction, this.driver.actor(caller), from, to, flags, this.used.keeps),
      ({ moved, replaced }, sequence) => {
        this.driver.touched(sequence, parent, newParent, ...moved);
        return replaced === undefined ? undefined : this.driver.afterRemoval(replaced, sequence);
      },
    );
  }

  create(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    exclusive: boolean,
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    this.counters.count("create");
    return this.files.create(caller, { parent, name, mode, exclusive }, options);
  }

  createUnnamed(
    caller: Caller,
    parent: number,
    mode: number,
    naming: Naming,
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    this.counters.count("createUnnamed");
    return this.files.createUnnamed(caller, { parent, mode, naming }, options);
  }

  open(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    this.counters.count("open");
    return this.files.open(caller, inode, options);
  }

  release(handle: number): MaybePromise<void> {
    this.counters.count("release");
    return this.files.release(handle);
  }

  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]> {
    this.counters.count("read");
    return this.files.read(handle, offset, length);
  }

  write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest): MaybePromise<number> {
    this.counters.count("write");
    return this.files.write(handle, offset, data, sync);
  }

  fsync(inode: number, request: "data" | "full"): MaybePromise<void> {
    this.counters.count("fsync");
    if (this.readOnly) return undefined;
    const head = this.volume.headSequence;
    const sequence = inode === ROOT_INODE ? head : (this.used.sequenceOf(inode) ?? head);
    return this.driver.settled(
      undefined,
      sequence,
      this.driver.levelOf(request, this.driver.sync.fsync),
    );
  }

  seek(handle: number, offset: number, whence: 3 | 4): MaybePromise<number> {
    this.counters.count("seek");
    return this.files.seek(handle, offset, whence === 3 ? "data" : "hole");
  }

  fallocate(handle: number, offset: number, length: number, mode: number): MaybePromise<void> {
    this.counters.count("fallocate");
    return this.files.fallocate(handle, { offset, length, mode });
  }

  copyRange(from: FilePosition, to: FilePosition, length: number): MaybePromise<number> {
    this.counters.count("copyRange");
    return this.files.copyRange(from, to, length);
  }

  readdir(
    caller: Caller,
    inode: number,
    cookie: number,
    visit: (entry: DirectoryEntry) => boolean,
  ): MaybePromise<void> {
    this.counters.count("readdir");
    const list = (from: number): MaybePromise<Listed[]> =>
      this.volume.view((view) => listDirectory(view, caller, inode, from, LISTING_BATCH));
    return visitEntries(list, cookie, visit);
  }

  getxattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<Uint8Array> {
    this.counters.count("getxattr");
    return planAgain(() => {
      const value = this.volume.view((view) => getXattr(view, caller, inode, name));
      return chain(value, (found) => readXattrValue(this.volume, inode, found, this.counters));
    });
  }

  setxattr(
    caller: Caller,
    inode: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
  ): MaybePromise<void> {
    this.counters.count("setxattr");
    const xattr = { name, bytes: value, flags };
    return this.driver.change(
      "takesSpace",
      (transaction) => setXattr(transaction, this.driver.actor(caller), inode, xattr),
      (_, sequence) => this.driver.touched(sequence, inode),
    );
  }

  listxattr(caller: Caller, inode: number): MaybePromise<Uint8Array[]> {
    this.counters.count("listxattr");
    return this.volume.view((view) => listXattrs(view, caller, inode));
  }

  removexattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<void> {
    this.counters.count("removexattr");
    return this.driver.change(
      "freesSpace",
      (transaction) => removeXattr(transaction, this.driver.actor(caller), inode, name),
      (_, sequence) => this.driver.touched(sequence, inode),
    );
  }

  statfs(): FsStatistics {
    this.counters.count("statfs");
    const { quota, inodes, dataBytes } = this.volume.statistics;
    return {
      ...spaceWithin(quota, { dataBytes }, this.volume.space()),
      blockSize: STATFS_BLOCK_BYTES,
      inodes,
      freeInodes: freeInodesWithin(quota, { inodes }),
      nameMax: NAME_MAX,
    };
  }

  hold(inode: number): void {
    this.counters.count("hold");
    this.used.hold(inode, this.volume.headSequence);
  }

  drop(inode: number): MaybePromise<void> {
    this.counters.count("drop");
    return this.driver.afterUse(inode, this.used.dropped(inode));
  }

  private make(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    node: Node,
  ): MaybePromise<Attributes> {
    return this.driver.change(
      "takesSpace",
      (transaction) => makeNode(transaction, this.driver.actor(caller), parent, name, node),
      (attributes, sequence) => {
        this.driver.touched(sequence, parent);
        return attributes;
      },
    );
  }

  private remove(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    what: "file" | "directory",
  ): MaybePromise<void> {
    const { keeps } = this.used;
    return this.driver.change(
      "freesSpace",
      (transaction) =>
        removeName(transaction, this.driver.actor(caller), parent, name, what, keeps),
      (removal, sequence) => {
        this.driver.touched(sequence, parent);
        return this.driver.afterRemoval(removal, sequence);
      },
    );
  }
}
