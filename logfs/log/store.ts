/**
 * Segments as files in one directory: the real disk below a log (`SegmentStore`).
 *
 * - Names are durable before anything is written under them: the directory is synced when a file is
 *   made or removed.
 * - Space is taken with fallocate(2), or by writing zeros where the file system has no such call.
 * - `reserve` is a file of real blocks, given up to operations that free space.
 * - `lock` is held with flock(2) as long as the store is open for writing: one process, one writer.
 */
import {
  close,
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { EMPTY } from "../../lib/bytes.ts";
import { SmfsError } from "../../lib/errors.ts";
import { readCached } from "../../sys/cached-read.ts";
import { fallocate } from "../../sys/fallocate.ts";
import { tryLock } from "../../sys/lock.ts";
import type { Done, ReserveUse, SegmentInfo, SegmentStore } from "../core/log/api.ts";
import { asSmfsError, codeOf, guard, noSpace } from "./failures.ts";
import { type OpenFile, OpenFiles, segmentOfName, segmentPath } from "./files.ts";
import { copyBytes, syncDirectory } from "./transfer.ts";
import { readAll, writeAll, writeAllNow, writeBytesNow } from "./transfer.ts";

export interface FileStoreOptions {
  /** The segments and the reserve may take this much of the device; without it, all of it. */
  readonly capacityBytes?: number;
  readonly reserveBytes?: number;
  /** For looking at a store that another process may have open: no lock, no changes. */
  readonly readOnly?: boolean;
}

/** Less than the log asks for unless space is short. */
const SMALL_STEP_BYTES = 2 ** 20;
const DEFAULT_RESERVE_BYTES = 16 * 2 ** 20;
const ZEROS = new Uint8Array(2 ** 20);
const REWRITE_BYTES = 2 ** 20;
/** Of tmpfs (statfs(2)): all in memory, but it does not say so. */
const TMPFS_MAGIC = 0x01021994;
/** A removed file's blocks may be freed a moment later where so many times as many are free. */
const FREED_LATER_SHARE = 8;
/** Longest write that is done at once: what FUSE sends at most (1 MiB), with its record. */
const PROMPT_WRITE_BYTES = 2 ** 20 + 64 * 1024;
const PROMPT_WRITE_PARTS = 16;

export class FileSegmentStore implements SegmentStore {
  readonly directory: string;
  /** False where the platform has no flock: nothing keeps a second writer out. */
  readonly locked: boolean;
  private readonly readOnly: boolean;
  private readonly capacityBytes: number;
  private readonly reserveBytes: number;
  private readonly files: OpenFiles;
  private readonly sizes = new Map<number, number>();
  private reservedBytes = 0;
  /** Under way. */
  private syncs = 0;
  /** How it is known whether the kernel has something in memory. */
  private cached: "asked" | "isMemory" | "unknown" = "asked";
  private readonly lockFd: number;

  /** Throws `SmfsError` BUSY when another process has it open, NOT_FOUND, IO. */
  constructor(directory: string, options: FileStoreOptions = {}) {
    this.directory = directory;
    this.readOnly = options.readOnly ?? false;
    this.capacityBytes = options.capacityBytes ?? Infinity;
    this.reserveBytes = options.reserveBytes ?? DEFAULT_RESERVE_BYTES;
    if (!this.readOnly) mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (!existsSync(directory)) throw new SmfsError("NOT_FOUND", `${directory} does not exist`);
    this.lockFd = this.readOnly ? -1 : openSync(this.path("lock"), "a", 0o600);
    this.locked = this.readOnly ? false : this.lock();
    this.files = new OpenFiles(directory, { readOnly: this.readOnly });
    this.findFiles();
    if (!this.readOnly) this.restoreReserve();
  }

  private path(name: string): string {
    return join(this.directory, name);
  }

  private lock(): boolean {
    try {
      if (tryLock(this.lockFd)) return true;
    } catch (error) {
      if (error instanceof SmfsError && error.code === "UNSUPPORTED") return false;
      closeSync(this.lockFd);
      throw error;
    }
    closeSync(this.lockFd);
    throw new SmfsError("BUSY", `${this.directory} is open in another process`);
  }

  private findFiles(): void {
    for (const name of readdirSync(this.directory)) {
      const segment = segmentOfName(name);
      if (segment !== null) this.sizes.set(segment, statSync(this.path(name)).size);
    }
    const reserve = this.path("reserve");
    if (existsSync(reserve)) this.reservedBytes = statSync(reserve).size;
  }

  list(): SegmentInfo[] {
    return [...this.sizes]
      .map(([segment, bytes]) => ({ segment, bytes }))
      .toSorted((a, b) => a.segment - b.segment);
  }

  allocate(segment: number, bytes: number): void {
    const had = this.sizes.get(segment);
    const more = bytes - (had ?? 0);
    if (more <= 0 && had !== undefined) return;
    if (more > this.quotaLeft()) throw noSpace(`${this.directory} would pass its quota`);
    if (had === undefined) this.make(segment, bytes);
    else this.grow(this.open(segment).fd, had, bytes);
    this.sizes.set(segment, bytes);
  }

  /**
   * A power loss may take the file back to an earlier length. Recovery knows the lengths that whole
   * steps give; the small ones of a device short of space are made durable at once, and so is what
   * follows one: back at a small length, the file would look as if somebody had cut it short.
   */
  private grow(fd: number, had: number, bytes: number): void {
    takeSpace(fd, had, bytes);
    const mustSync = bytes - had < SMALL_STEP_BYTES || had % SMALL_STEP_BYTES !== 0;
    if (mustSync) guard("syncing a segment", () => fdatasyncSync(fd));
  }

  private make(segment: number, bytes: number): void {
    const path = segmentPath(this.directory, segment);
    const fd = guard(`making ${path}`, () => openSync(path, "wx+", 0o600));
    try {
      takeSpace(fd, 0, bytes);
      fsyncSync(fd);
      syncDirectory(this.directory);
    } catch (error) {
      closeSync(fd);
      unlinkSync(path);
      throw error;
    }
    this.files.add(segment, fd);
  }

  /** Zeros are written, not punched: the blocks stay taken whatever else wants them. */
  clear(segment: number, from: number): void {
    guard(`clearing segment ${segment}`, () => {
      if (fstatSync(this.open(segment).fd).nlink > 1) this.unshare(segment, from);
      const { fd } = this.open(segment);
      writeZeros(fd, from, this.sizeOf(segment));
      fdatasyncSync(fd);
    });
  }

  /** Gives the segment a file of its own: a fork has the other, and keeps its bytes. */
  private unshare(segment: number, keptBytes: number): void {
    const path = segmentPath(this.directory, segment);
    const own = `${path}.own`;
    const fd = openSync(own, "w+", 0o600);
    try {
      takeSpace(fd, 0, this.sizeOf(segment));
      copyBytes(this.open(segment).fd, fd, keptBytes);
      fsyncSync(fd);
      renameSync(own, path);
      syncDirectory(this.directory);
    } catch (error) {
      rmSync(own, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    this.files.close(segment);
  }

  rewrite(segment: number, from: number, to: number): void {
    guard(`writing segment ${segment} again`, () => {
      const { fd } = this.open(segment);
      for (let at = from; at < to; ) {
        const bytes = this.readSync(segment, at, Math.min(REWRITE_BYTES, to - at));
        if (bytes.length === 0) break;
        writeBytesNow(fd, at, bytes);
        at += bytes.length;
      }
      fdatasyncSync(fd);
    });
  }

  trim(segment: number, bytes: number): void {
    if (bytes >= this.sizeOf(segment)) return;
    guard(`trimming segment ${segment}`, () => ftruncateSync(this.open(segment).fd, bytes));
    this.sizes.set(segment, bytes);
  }

  /**
   * A write that is not long is done at once: a copy into the kernel's memory, from a cache that has
   * the bytes. Handing it to a thread and hearing of it costs some 60 µs, and for 1 MiB, which the
   * other processor has to fetch, 190. Not while a sync is under way, behind which the kernel may make
   * a write wait.
   */
  write(segment: number, offset: number, parts: readonly Uint8Array[], done: Done): void {
    if (this.syncs === 0 && isPrompt(parts)) return done(this.writeNow(segment, offset, parts));
    this.use(segment, done, (file, finish) => writeAll(file.fd, offset, parts, finish));
  }

  private writeNow(segment: number, offset: number, parts: readonly Uint8Array[]): Error | null {
    try {
      writeAllNow(this.open(segment).fd, offset, parts);
      return null;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  sync(segment: number, done: Done): void {
    this.syncs++;
    const finish: Done = (error) => {
      this.syncs--;
      done(error);
    };
    this.use(segment, finish, (file, end) => fdatasync(file.fd, end));
  }

  read(
    segment: number,
    offset: number,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void {
    let bytes: Uint8Array = EMPTY;
    const finish: Done = (error) => done(error, error === null ? bytes : EMPTY);
    this.use(segment, finish, (file, release) => {
      const target = new Uint8Array(this.clamp(segment, offset, length));
      readAll(file.fd, offset, target, (error, got) => {
        bytes = target.subarray(0, got);
        release(error);
      });
    });
  }

  readCached(segment: number, offset: number, into: Uint8Array): boolean {
    if (this.cached === "unknown" || offset + into.length > this.sizeOf(segment)) return false;
    const { fd } = this.open(segment);
    try {
      const isMemory = this.cached === "isMemory";
      const count = isMemory
        ? readSync(fd, into, 0, into.length, offset)
        : readCached(fd, offset, into);
      return count === into.length;
    } catch {
      // A file system or a platform that cannot tell; what fails for good fails again in `read`.
      this.cached = this.isMemory() ? "isMemory" : "unknown";
      return false;
    }
  }

  private isMemory(): boolean {
    return statfsSync(this.directory).type === TMPFS_MAGIC;
  }

  /** Runs an asynchronous call on an open file; a failure to open it calls back later, too. */
  private use(
    segment: number,
    done: Done,
    call: (file: OpenFile, finish: (error: Error | null) => void) => void,
  ): void {
    let file: OpenFile;
    try {
      file = this.open(segment);
    } catch (error) {
      process.nextTick(done, error instanceof Error ? error : new Error(String(error)));
      return;
    }
    file.users++;
    call(file, (error) => {
      this.files.release(file);
      done(error ?? null);
    });
  }

  readSync(segment: number, offset: number, length: number): Uint8Array {
    return guard(`reading segment ${segment} offset ${offset}`, () => {
      const { fd } = this.open(segment);
      const bytes = new Uint8Array(this.clamp(segment, offset, length));
      let got = 0;
      while (got < bytes.length) {
        const count = readSync(fd, bytes, got, bytes.length - got, offset + got);
        if (count === 0) break;
        got += count;
      }
      return bytes.subarray(0, got);
    });
  }

  remove(segment: number): void {
    const isLater = this.space().freeBytes > FREED_LATER_SHARE * this.sizeOf(segment);
    this.files.close(segment);
    this.sizes.delete(segment);
    guard(`removing segment ${segment}`, () => {
      const path = segmentPath(this.directory, segment);
      if (isLater) freeLater(path);
      unlinkSync(path);
      syncDirectory(this.directory);
    });
  }

  releaseReserve(bytes: number, use: ReserveUse): boolean {
    const kept = use === "epoch" ? 0 : this.reserveBytes / 4;
    const left = this.reservedBytes - bytes;
    if (left < kept) return false;
    guard("giving back reserved space", () => truncateSync(this.path("reserve"), left));
    this.reservedBytes = left;
    return true;
  }

  /** Leaves it as it is when there is no room: what is appended now matters more. */
  restoreReserve(): void {
    const missing = this.reserveBytes - this.reservedBytes;
    if (missing <= 0 || missing > this.quotaLeft()) return;
    const path = this.path("reserve");
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      takeSpace(fd, fstatSync(fd).size, this.reserveBytes);
      this.reservedBytes = this.reserveBytes;
    } catch (error) {
      if (!(error instanceof SmfsError) || error.code !== "NO_SPACE") throw error;
    } finally {
      closeSync(fd);
    }
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { bsize, blocks, bavail } = statfsSync(this.directory);
    const left = this.quotaLeft();
    return {
      totalBytes: Math.min(this.capacityBytes, bsize * blocks),
      freeBytes: Math.min(left, bsize * bavail),
    };
  }

  /** Lets go of files and lock. Close the log first; reads that are under way still come back. */
  close(): void {
    this.files.closeAll();
    if (this.lockFd >= 0) closeSync(this.lockFd);
  }

  /** Of the file that is kept back for operations that free space. */
  get reserveFileBytes(): number {
    return this.reservedBytes;
  }

  private quotaLeft(): number {
    let used = this.reservedBytes;
    for (const bytes of this.sizes.values()) used += bytes;
    return Math.max(0, this.capacityBytes - used);
  }

  /** Throws `SmfsError` NOT_FOUND for a segment that was removed, or never was. */
  private open(segment: number): OpenFile {
    if (!this.sizes.has(segment)) {
      throw new SmfsError("NOT_FOUND", `there is no segment ${segment}`);
    }
    try {
      return this.files.get(segment);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      // Only looked at here, and dropped by whoever writes.
      this.sizes.delete(segment);
      throw new SmfsError("NOT_FOUND", `segment ${segment} is gone`, error);
    }
  }

  private sizeOf(segment: number): number {
    return this.sizes.get(segment) ?? 0;
  }

  /** A read is never longer than the file: a wrong length cannot take memory. */
  private clamp(segment: number, offset: number, length: number): number {
    return Math.max(0, Math.min(length, this.sizeOf(segment) - offset));
  }
}

/** Grows a file with real blocks. Throws `SmfsError` NO_SPACE or IO, the file as it was. */
function takeSpace(fd: number, from: number, to: number): void {
  try {
    allocateOrWriteZeros(fd, from, to);
  } catch (error) {
    ftruncateSync(fd, from);
    throw asSmfsError("allocating space", error);
  }
}

function allocateOrWriteZeros(fd: number, from: number, to: number): void {
  try {
    fallocate(fd, from, to - from);
  } catch (error) {
    const code = codeOf(error);
    if (code !== "UNSUPPORTED" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
    writeZeros(fd, from, to);
  }
}

function writeZeros(fd: number, from: number, to: number): void {
  for (let at = from; at < to; ) {
    at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, to - at), at);
  }
}

/**
 * A file that is removed next has its blocks freed by a thread, with its last descriptor: for a
 * hundred megabytes that takes the kernel some milliseconds.
 */
function freeLater(path: string): void {
  const fd = openSync(path, "r");
  setImmediate(() => close(fd));
}

function isPrompt(parts: readonly Uint8Array[]): boolean {
  if (parts.length > PROMPT_WRITE_PARTS) return false;
  return parts.reduce((sum, part) => sum + part.length, 0) <= PROMPT_WRITE_BYTES;
}
