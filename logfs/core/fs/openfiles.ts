/**
 * `OpenFiles`: what is done through handles. A handle says what it may do (`Handles`); the mode of
 * the file was asked when it was opened, and is not asked again.
 *
 * A request that takes more than one record is a chain of operations: each gives how far it came.
 */
import { concatBytes } from "../../../lib/bytes.ts";
import { fail } from "../../../lib/errors.ts";
import {
  type Attributes,
  type Caller,
  FALLOC_PUNCH_HOLE,
  type FilePosition,
  type MaybePromise,
  type OpenOptions,
  type SyncLevel,
  type SyncRequest,
} from "../vfs.ts";
import type { Transaction, Volume } from "./api.ts";
import type { AttributesChanged } from "./attributes.ts";
import { copyPart, type CopyRequest } from "./copying.ts";
import type { Driver, Space } from "./driver.ts";
import { type Handle, Handles } from "./handles.ts";
import { chain } from "./maybe.ts";
import { makeUnnamed, type Naming } from "./namespace.ts";
import { checkOpen, createFile, type Creation, openAndTruncate } from "./opening.ts";
import { planAgain } from "./plan-again.ts";
import { executeRead, planRead } from "./reading.ts";
import type { FsCounters } from "./statistics.ts";
import { PENDING, type Pending } from "./truncation.ts";
import type { UsedInodes } from "./used.ts";
import {
  allocatePart,
  type Allocation,
  checkAllocation,
  seekTo,
  type Writer,
  writePart,
} from "./writing.ts";

/** The largest read of FUSE is 1 MiB, and its blocks may reach beyond it at both ends. */
const SCRATCH_BYTES = 2 * 2 ** 20;

export interface Opened {
  readonly attributes: Attributes;
  readonly handle: number;
}

export interface UnnamedCreation {
  readonly parent: number;
  /** Permission bits. */
  readonly mode: number;
  readonly naming: Naming;
}

/** An open that changes something. */
interface Opening {
  readonly caller: Caller;
  readonly options: OpenOptions;
  readonly space: Space;
  /** The directory that may get a new name. */
  readonly parent?: number;
}

export class OpenFiles {
  private readonly volume: Volume;
  private readonly driver: Driver;
  private readonly used: UsedInodes;
  private readonly counters: FsCounters;
  private readonly handles = new Handles();
  /** Made at the first read. */
  private scratch: Uint8Array | undefined;

  constructor(volume: Volume, driver: Driver, used: UsedInodes, counters: FsCounters) {
    this.volume = volume;
    this.driver = driver;
    this.used = used;
    this.counters = counters;
  }

  get count(): number {
    return this.handles.size;
  }

  isWritable(handle: number): boolean {
    return this.handles.get(handle).write;
  }

  create(caller: Caller, creation: Creation, options: OpenOptions): MaybePromise<Opened> {
    this.handles.requireRoom();
    const { isUsed } = this.used;
    const opening = { caller, options, space: "takesSpace", parent: creation.parent } as const;
    return this.openBy(opening, (transaction) =>
      createFile(transaction, this.driver.actor(caller), creation, options, isUsed),
    );
  }

  createUnnamed(
    caller: Caller,
    { parent, mode, naming }: UnnamedCreation,
    options: OpenOptions,
  ): MaybePromise<Opened> {
    this.handles.requireRoom();
    return this.openBy({ caller, options, space: "takesSpace" }, (transaction) => {
      const actor = this.driver.actor(caller);
      const attributes = makeUnnamed(transaction, actor, parent, mode, naming);
      return { attributes, truncating: false };
    });
  }

  open(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    this.handles.requireRoom();
    const { isUsed } = this.used;
    if (this.volume.readOnly && (options.write || options.truncate)) fail("EROFS");
    if (options.truncate) return this.openTruncated(caller, inode, options);
    const checked = this.volume.view((view) => checkOpen(view, caller, inode, options, isUsed));
    return chain(checked, () => this.openHandle(caller, inode, options, this.volume.headSequence));
  }

  private openTruncated(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    const { isUsed } = this.used;
    const opened = chain(this.driver.spaceOf(inode, 0), (space) =>
      this.openBy({ caller, options, space }, (transaction) =>
        openAndTruncate(transaction, this.driver.actor(caller), inode, options, isUsed),
      ),
    );
    return chain(opened, ({ handle }) => handle);
  }

  release(handle: number): MaybePromise<void> {
    const { inode } = this.handles.close(handle);
    return this.driver.afterUse(inode, this.used.closed(inode));
  }

  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]> {
    const { inode } = this.handles.readable(handle);
    if (!(offset >= 0) || !(length >= 0)) fail("EINVAL");
    return this.readFrom(inode, offset, length, []);
  }

  private readFrom(
    inode: number,
    offset: number,
    length: number,
    before: Uint8Array[],
  ): MaybePromise<Uint8Array[]> {
    // What is answered later must not stand in memory that a read in between uses again.
    let scratch = this.scratchFor(before);
    const part = planAgain(() => {
      const plan = this.volume.view((view) => planRead(view, inode, offset, length));
      return chain(plan, (planned) => {
        const memory = planned.next === undefined ? scratch : undefined;
        const read = executeRead(this.volume, planned, this.counters, memory);
        return chain(read, (pieces) => ({ planned, pieces }));
      });
    });
    scratch = undefined;
    return chain(part, ({ planned: { next }, pieces }) => {
      const all = before.length === 0 ? pieces : before.concat(pieces);
      return next === undefined ? all : this.readFrom(inode, next, offset + length - next, all);
    });
  }

  /** Only a read of one plan may leave its bytes in memory that the next one uses. */
  private scratchFor(before: readonly Uint8Array[]): Uint8Array | undefined {
    if (before.length > 0) return undefined;
    this.scratch ??= new Uint8Array(SCRATCH_BYTES);
    return this.scratch;
  }

  write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest): MaybePromise<number> {
    const writer = this.handles.writable(handle);
    if (data.length === 0) return 0;
    const { driver } = this;
    const level = driver.levelOf(sync, driver.sync.osync);
    return chain(this.writeFrom(writer, offset, data, level), () => data.length);
  }

  seek(handle: number, offset: number, what: "data" | "hole"): MaybePromise<number> {
    const { inode } = this.handles.get(handle);
    return this.volume.view((view) => seekTo(view, inode, offset, what));
  }

  fallocate(handle: number, request: Allocation): MaybePromise<void> {
    const writer = this.handles.writable(handle);
    checkAllocation(request);
    const isPlain = request.mode === 0;
    if (isPlain && request.length > this.volume.space().freeBytes) fail("ENOSPC");
    return this.allocateFrom(writer, request);
  }

  /** EBADF for a source that is not open for reading, and for a target that appends or is not open for writing. */
  copyRange(from: FilePosition, to: FilePosition, length: number): MaybePromise<number> {
    const { inode: source } = this.handles.readable(from.handle);
    const target = this.handles.writable(to.handle);
    if (target.append) fail("EBADF");
    if (!(from.offset >= 0) || !(length >= 0)) fail("EINVAL");
    const offsets = { sourceOffset: from.offset, targetOffset: to.offset };
    return this.copyFrom({ source, target, length, ...offsets }, this.levelOf(target));
  }

  /** What a change through the handle waits for when the call itself asks for nothing. */
  private levelOf({ sync }: Handle): SyncLevel {
    return this.driver.levelOf(sync, this.driver.sync.osync);
  }

  private copyFrom(request: CopyRequest, level: SyncLevel): MaybePromise<number> {
    const { source, target } = request;
    const changed = this.volume.change((transaction) =>
      copyPart(transaction, request, this.driver.now()),
    );
    return chain(changed, ({ value, sequence }) => {
      if (value === PENDING) {
        const finished = this.driver.finishTruncation(target.inode);
        return chain(finished, () => this.copyFrom(request, level));
      }
      if (value.kind === "crowded") return this.copyBytes(request, value.bytes, level);
      this.driver.touched(sequence, source, target.inode);
      this.counters.sharedBytes += value.bytes;
      return this.driver.settled(value.bytes, sequence, level);
    });
  }

  /** At most a block of them. */
  private copyBytes(request: CopyRequest, length: number, level: SyncLevel): MaybePromise<number> {
    const { source, sourceOffset, target, targetOffset } = request;
    return chain(this.readFrom(source, sourceOffset, length, []), (pieces) => {
      const data = concatBytes(pieces);
      if (data.length === 0) return 0;
      const written = this.writeFrom(target, targetOffset, data, level);
      return chain(written, () => data.length);
    });
  }

  /** Opens what `operation` made or found; a handle whose record cannot reach its level is closed again. */
  private openBy(
    { caller, options, space, parent }: Opening,
    operation: (transaction: Transaction) => AttributesChanged,
  ): MaybePromise<Opened> {
    const changed = this.volume.change(operation, space === "freesSpace");
    return chain(changed, ({ value, sequence }) => {
      if (parent !== undefined) this.driver.touched(sequence, parent);
      this.driver.touched(sequence, value.attributes.inode);
      const handle = this.openHandle(caller, value.attributes.inode, options, sequence);
      if (value.attributes.links === 0) this.used.orphan(value.attributes.inode);
      const ready = chain(this.driver.afterTruncation(value), (attributes) =>
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
      writePart(transaction, writer, offset, data, this.driver.now()),
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

  private allocateFrom(writer: Handle, request: Allocation): MaybePromise<void> {
    const { offset, length, mode } = request;
    const end = offset + length;
    const next = (value: number | Pending, sequence: number): MaybePromise<void> => {
      this.driver.touched(sequence, writer.inode);
      const goOn = (from: number) =>
        this.allocateFrom(writer, { offset: from, length: end - from, mode });
      if (value === PENDING) {
        return chain(this.driver.finishTruncation(writer.inode), () => goOn(offset));
      }
      return value === end ? undefined : goOn(value);
    };
    return this.driver.change(
      (mode & FALLOC_PUNCH_HOLE) === 0 ? "takesSpace" : "freesSpace",
      (transaction) => allocatePart(transaction, writer, request, this.driver.now()),
      next,
      this.levelOf(writer),
    );
  }
}
