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
  FALLOC_PUNCH_HOLE,
  type FsStatistics,
  type MaybePromise,
  NAME_MAX,
  type OpenOptions,
  ROOT_INODE,
  type SyncLevel,
  type SyncRequest,
  type Vfs,
} from "../vfs.ts";
import { requireAccess } from "./access.ts";
import type { Committer, ItemView, SyncOptions, Transaction, Volume } from "./api.ts";
import { type AttributesChanged, changeAttributes } from "./attributes.ts";
import { Driver, type Space } from "./driver.ts";
import { Handles } from "./handles.ts";
import { attributesOf, loadInode } from "./inodes.ts";
import { timestampOf } from "./items.ts";
import { LISTING_BATCH, visitEntries } from "./listing.ts";
import { chain } from "./maybe.ts";
import { isStored, S_IFDIR, S_IFLNK, W_OK } from "./modes.ts";
import type { Listed } from "./names.ts";
import {
  type Actor,
  link,
  listDirectory,
  lookup,
  makeNode,
  type Node,
  readSymlink,
  removeName,
} from "./namespace.ts";
import { checkOpen, createFile, openAndTruncate } from "./openfile.ts";
import { executeRead, planRead, readXattrValue } from "./reading.ts";
import { rename } from "./rename.ts";
import { FsCounters } from "./statistics.ts";
import { PENDING, type Pending } from "./truncation.ts";
import { UsedInodes } from "./used.ts";
import { allocatePart, checkAllocation, seekTo, type Writer, writePart } from "./writing.ts";
import { getXattr, listXattrs, removeXattr, setXattr } from "./xattrs.ts";

/** What a mount waits for when nothing else is said (ARCHITECTURE, "What an operation waits for"). */
export const DEFAULT_SYNC: SyncOptions = {
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
  private readonly handles = new Handles();
  private readonly used = new UsedInodes();
  private readonly counters = new FsCounters();

  constructor(volume: Volume, committer: Committer, sync: SyncOptions = DEFAULT_SYNC) {
    this.volume = volume;
    this.readOnly = volume.readOnly;
    this.driver = new Driver(volume, committer, sync, this.used);
  }

  /** Monotonic counts, and three gauges: openHandles, heldInodes, orphans. */
  get statistics() {
    const { operations, readBytes, writtenBytes, checksumFailures } = this.counters;
    return {
      operations: { ...operations },
      readBytes,
      writtenBytes,
      checksumFailures,
      openHandles: this.handles.size,
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
    return this.volume.view((view) => attributesOf(inode, loadInode(view, inode)));
  }

  setattr(
    caller: Caller,
    inode: number,
    changes: AttributeChanges,
    handle?: number,
  ): MaybePromise<Attributes> {
    this.counters.count("setattr");
    const writable = handle !== undefined && this.handles.get(handle).write;
    const setter = { caller, through: writable ? "writableHandle" : "path" } as const;
    const run = (space: Space): MaybePromise<Attributes> =>
      this.driver.change(
        space,
        (transaction) => changeAttributes(transaction, inode, changes, setter, this.now()),
        (changed, sequence) => {
          this.driver.touched(sequence, inode);
          if (changed === PENDING)
            return chain(this.driver.finishTruncation(inode), () => run(space));
          return this.afterTruncation(changed);
        },
      );
    return chain(this.spaceOf(inode, changes), run);
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
      (transaction) => link(transaction, this.actor(caller), inode, parent, name),
      (attributes, sequence) => {
        this.driver.touched(sequence, parent, inode);
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
      (transaction) => rename(transaction, this.actor(caller), from, to, flags, this.used.isUsed),
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
    this.handles.requireRoom();
    const creation = { parent, name, mode, exclusive };
    return this.openBy(caller, options, "takesSpace", (transaction) =>
      createFile(transaction, this.actor(caller), creation, options, this.used.isUsed),
    );
  }

  open(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    this.counters.count("open");
    this.handles.requireRoom();
    const { isUsed } = this.used;
    if (this.readOnly && (options.write || options.truncate)) fail("EROFS");
    if (options.truncate) {
      const opened = chain(this.spaceOf(inode, { size: 0 }), (space) =>
        this.openBy(caller, options, space, (transaction) =>
          openAndTruncate(transaction, this.actor(caller), inode, options, isUsed),
        ),
      );
      return chain(opened, ({ handle }) => handle);
    }
    const checked = this.volume.view((view) => checkOpen(view, caller, inode, options, isUsed));
    return chain(checked, () => this.openHandle(caller, inode, options, this.volume.headSequence));
  }

  release(handle: number): MaybePromise<void> {
    this.counters.count("release");
    const { inode } = this.handles.close(handle);
    return this.driver.afterUse(inode, this.used.closed(inode));
  }

  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]> {
    this.counters.count("read");
    const { inode } = this.handles.readable(handle);
    if (!(offset >= 0) || !(length >= 0)) fail("EINVAL");
    const plan = this.volume.view((view) => planRead(view, inode, offset, length));
    return chain(plan, (planned) => executeRead(this.volume, planned, this.counters));
  }

  write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest): MaybePromise<number> {
    this.counters.count("write");
    const writer = this.handles.writable(handle);
    if (data.length === 0) return 0;
    const written = this.writeFrom(
      writer,
      offset,
      data,
      this.driver.levelOf(sync, this.driver.sync.osync),
    );
    return chain(written, () => data.length);
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
    const { inode } = this.handles.get(handle);
    const what = whence === 3 ? "data" : "hole";
    return this.volume.view((view) => seekTo(view, inode, offset, what));
  }

  fallocate(handle: number, offset: number, length: number, mode: number): MaybePromise<void> {
    this.counters.count("fallocate");
    const writer = this.handles.writable(handle);
    checkAllocation(offset, length, mode);
    if (mode === 0 && length > this.volume.space().freeBytes) fail("ENOSPC");
    return this.allocateFrom(writer, offset, length, mode);
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
    const value = this.volume.view((view) => getXattr(view, caller, inode, name));
    return chain(value, (found) => readXattrValue(this.volume, inode, found, this.counters));
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
      (transaction) => setXattr(transaction, this.actor(caller), inode, xattr),
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
      (transaction) => removeXattr(transaction, this.actor(caller), inode, name),
      (_, sequence) => this.driver.touched(sequence, inode),
    );
  }

  statfs(): FsStatistics {
    this.counters.count("statfs");
    const { totalBytes, freeBytes } = this.volume.space();
    const { inodes } = this.volume.statistics;
    return { blockSize: STATFS_BLOCK_BYTES, totalBytes, freeBytes, inodes, nameMax: NAME_MAX };
  }

  hold(inode: number): void {
    this.counters.count("hold");
    this.used.hold(inode, this.volume.headSequence);
  }

  drop(inode: number): MaybePromise<void> {
    this.counters.count("drop");
    return this.driver.afterUse(inode, this.used.dropped(inode));
  }

  private now() {
    return timestampOf(this.volume.nowMicros());
  }

  private actor(caller: Caller): Actor {
    return { caller, now: this.now() };
  }

  /** A change that makes the file shorter frees space. */
  private spaceOf(inode: number, { size }: AttributeChanges): MaybePromise<Space> {
    if (size === undefined) return "takesSpace";
    const current = this.volume.view((view: ItemView) => loadInode(view, inode).size);
    return chain(current, (now) => (size < now ? "freesSpace" : "takesSpace"));
  }

  private make(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    node: Node,
  ): MaybePromise<Attributes> {
    return this.driver.change(
      "takesSpace",
      (transaction) => makeNode(transaction, this.actor(caller), parent, name, node),
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
    const { isUsed } = this.used;
    return this.driver.change(
      "freesSpace",
      (transaction) => removeName(transaction, this.actor(caller), parent, name, what, isUsed),
      (removal, sequence) => {
        this.driver.touched(sequence, parent);
        return this.driver.afterRemoval(removal, sequence);
      },
    );
  }

  private afterTruncation({ attributes, truncating }: AttributesChanged): MaybePromise<Attributes> {
    if (!truncating) return attributes;
    return chain(this.driver.finishTruncation(attributes.inode), () =>
      this.getattr(attributes.inode),
    );
  }

  /** Opens what `operation` made or found; a handle whose record cannot reach its level is closed again. */
  private openBy(
    caller: Caller,
    options: OpenOptions,
    space: Space,
    operation: (transaction: Transaction) => AttributesChanged,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    const changed = this.volume.change(operation, space === "freesSpace");
    return chain(changed, ({ value, sequence }) => {
      this.driver.touched(sequence, value.attributes.inode);
      const handle = this.openHandle(caller, value.attributes.inode, options, sequence);
      const ready = chain(this.afterTruncation(value), (attributes) =>
        this.driver.settled({ attributes, handle }, sequence, this.driver.sync.floor),
      );
      return ready instanceof Promise
        ? ready.catch((error) => this.undoOpen(handle, error))
        : ready;
    });
  }

  private async undoOpen(handle: number, error: unknown): Promise<never> {
    await this.release(handle);
    throw error;
  }

  private openHandle(
    caller: Caller,
    inode: number,
    options: OpenOptions,
    sequence: number,
  ): number {
    const handle = this.handles.open(caller, inode, options);
    this.used.opened(inode, sequence);
    return handle;
  }

  private writeFrom(
    writer: Writer,
    offset: number,
    data: Uint8Array,
    level: SyncLevel,
  ): MaybePromise<void> {
    const changed = this.volume.change((transaction) =>
      writePart(transaction, writer, offset, data, this.now()),
    );
    return chain(changed, ({ value, sequence }) => {
      this.driver.touched(sequence, writer.inode);
      if (value === PENDING) {
        const finished = this.driver.finishTruncation(writer.inode);
        return chain(finished, () => this.writeFrom(writer, offset, data, level));
      }
      this.counters.writtenBytes += value;
      if (value === data.length) return this.driver.settled(undefined, sequence, level);
      return this.writeFrom(writer, offset + value, data.subarray(value), level);
    });
  }

  private allocateFrom(
    writer: Writer,
    offset: number,
    length: number,
    mode: number,
  ): MaybePromise<void> {
    const end = offset + length;
    const next = (value: number | Pending, sequence: number): MaybePromise<void> => {
      this.driver.touched(sequence, writer.inode);
      const go = (from: number) => this.allocateFrom(writer, from, end - from, mode);
      if (value === PENDING)
        return chain(this.driver.finishTruncation(writer.inode), () => go(offset));
      return value === end ? undefined : go(value);
    };
    const request = { offset, length, mode };
    return this.driver.change(
      (mode & FALLOC_PUNCH_HOLE) === 0 ? "takesSpace" : "freesSpace",
      (transaction) => allocatePart(transaction, writer, request, this.now()),
      next,
    );
  }
}
