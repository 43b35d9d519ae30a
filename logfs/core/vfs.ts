/**
 * `Vfs`: the one interface between the file system and every front-end (FUSE now, NFS and 9P
 * later). Inode-based; a front-end translates its protocol to these calls and nothing else.
 *
 * - A method answers at once or with a promise: front-ends test for a promise, so that the common
 *   answer from memory costs no turn of the event loop. Failures are thrown or rejected `FsError`s.
 * - Names are bytes (1 … 255 of them, no "/" and no NUL), never strings. "." and ".." are the
 *   front-end's to resolve, except that `lookup` answers "..".
 * - Permissions are checked here, against `Caller`, whoever asks; a front-end whose kernel has
 *   checked already passes the same caller and gets the same answer.
 * - Set-id bits are cleared here, as Linux does: by chown, and by writing and truncating unless root.
 * - Inode numbers are never used twice, and are the same at a mirror and after every mount: where a
 *   protocol has a generation number (FUSE, NFS file handles), it is constant.
 * - An inode lives while it has links, open handles or holds. A front-end that promises its client
 *   that an inode number stays good (FUSE's lookup count) takes one `hold` and later `drop`s it. A
 *   file that is only held goes with its last name, except for its attributes: opening it is ESTALE.
 * - A mutating call resolves when what its sync level asks for has happened (`SyncLevel`).
 */

export type MaybePromise<T> = T | Promise<T>;

export const ROOT_INODE = 1;
/** Bytes of one name (Linux NAME_MAX). */
export const NAME_MAX = 255;

/**
 * What an operation waits for (DESIGN, "Sync modes"), weakest first. `written` is what a plain
 * write or create on any local file system gives: it survives the death of this process (its record
 * is in the kernel's page cache of the segment file), and reaches the disk within the commit
 * interval or at the next fsync.
 */
export const SYNC_LEVELS = ["written", "local", "network", "remote"] as const;
export type SyncLevel = (typeof SYNC_LEVELS)[number];

/** What the call itself asked for; the file system maps it to a level by its mount options. */
export type SyncRequest = "none" | "data" | "full";

export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups; asked only when an answer depends on them. */
  groups(): readonly number[];
}

export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface Attributes {
  inode: number;
  /** Type and permission bits, as st_mode. */
  mode: number;
  links: number;
  uid: number;
  gid: number;
  /** Linux's 32-bit encoding of major and minor (new_encode_dev). */
  device: number;
  size: number;
  /** Bytes stored, holes not counted. */
  allocatedBytes: number;
  accessed: Timestamp;
  modified: Timestamp;
  changed: Timestamp;
  /** Creation. */
  born: Timestamp;
}

/** Absent fields stay as they are. `"now"` is the file system's own time. */
export interface AttributeChanges {
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  accessed?: Timestamp | "now";
  modified?: Timestamp | "now";
}

export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly inode: number;
  /** st_mode's type bits (S_IFMT). */
  readonly type: number;
  /** Pass as `cookie` to continue behind this entry; stable while other entries come and go. */
  readonly cookie: number;
}

export interface FsStatistics {
  readonly blockSize: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly inodes: number;
  /** That may still be made. */
  readonly freeInodes: number;
  readonly nameMax: number;
}

export interface OpenOptions {
  readonly read: boolean;
  readonly write: boolean;
  readonly append: boolean;
  readonly truncate: boolean;
  /** What copies and allocations through the handle ask for (O_SYNC, O_DSYNC); a write says it itself. */
  readonly sync?: SyncRequest;
  /** Opened to be run (execve): needs the right to execute in place of the right to read. */
  readonly execute?: boolean;
}

/** A place in an open file. */
export interface FilePosition {
  readonly handle: number;
  /** Bytes. */
  readonly offset: number;
}

/** Linux's renameat2 flags. */
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;

/** Linux's fallocate(2) mode bits. */
export const FALLOC_KEEP_SIZE = 0x01;
export const FALLOC_PUNCH_HOLE = 0x02;
export const FALLOC_ZERO_RANGE = 0x10;

export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

export interface Vfs {
  readonly readOnly: boolean;

  /**
   * Whether the inode's name and attributes, and the names in it, may change without its front-end's
   * doing: those must not be cached. Without this method none may.
   */
  isTransient?(inode: number): boolean;

  lookup(caller: Caller, parent: number, name: Uint8Array): MaybePromise<Attributes>;
  getattr(inode: number): MaybePromise<Attributes>;
  /** `handle`, when given, is an open handle whose right to write replaces a permission check. */
  setattr(
    caller: Caller,
    inode: number,
    changes: AttributeChanges,
    handle?: number,
  ): MaybePromise<Attributes>;
  /** `mask` is R_OK 4, W_OK 2, X_OK 1; throws EACCES. */
  access(caller: Caller, inode: number, mask: number): MaybePromise<void>;

  mknod(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    device: number,
  ): MaybePromise<Attributes>;
  mkdir(caller: Caller, parent: number, name: Uint8Array, mode: number): MaybePromise<Attributes>;
  symlink(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    target: Uint8Array,
  ): MaybePromise<Attributes>;
  readlink(inode: number): MaybePromise<Uint8Array>;
  link(caller: Caller, inode: number, parent: number, name: Uint8Array): MaybePromise<Attributes>;
  unlink(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void>;
  rmdir(caller: Caller, parent: number, name: Uint8Array): MaybePromise<void>;
  rename(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): MaybePromise<void>;

  /** Atomically looks up or makes a regular file and opens it. */
  create(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    exclusive: boolean,
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }>;
  /**
   * O_TMPFILE: makes a regular file without a name and opens it. It goes with its last handle and
   * hold, unless `naming` is `possible` and `link` gave it a name before.
   */
  createUnnamed(
    caller: Caller,
    parent: number,
    mode: number,
    naming: "possible" | "never",
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }>;
  open(caller: Caller, inode: number, options: OpenOptions): MaybePromise<number>;
  release(handle: number): MaybePromise<void>;
  /**
   * At most `length` bytes from `offset`; fewer only at the end of the file. The pieces, in order,
   * belong to the caller only until the next call of any method: send or copy them at once, without
   * waiting for anything in between, not even for an answer that is there already.
   */
  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]>;
  /** `data` is not kept after the call returns (before its promise resolves). All of it is written, or an error. */
  write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest): MaybePromise<number>;
  /** `data`: fdatasync; `full`: fsync. Of a directory too, by its inode. */
  fsync(inode: number, request: "data" | "full"): MaybePromise<void>;
  /** Linux SEEK_DATA (3) and SEEK_HOLE (4); ENXIO past the end. */
  seek(handle: number, offset: number, whence: 3 | 4): MaybePromise<number>;
  fallocate(handle: number, offset: number, length: number, mode: number): MaybePromise<void>;
  /**
   * copy_file_range(2): gives the bytes copied, fewer than `length` at the end of the source or
   * when the rest takes another call; 0 only at the end. Within one file the ranges must not overlap.
   */
  copyRange(from: FilePosition, to: FilePosition, length: number): MaybePromise<number>;

  /**
   * Calls `visit` for each entry behind `cookie` (0: from the start; "." and ".." are not
   * included) until it returns false.
   */
  readdir(
    caller: Caller,
    inode: number,
    cookie: number,
    visit: (entry: DirectoryEntry) => boolean,
  ): MaybePromise<void>;

  getxattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<Uint8Array>;
  setxattr(
    caller: Caller,
    inode: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
  ): MaybePromise<void>;
  listxattr(caller: Caller, inode: number): MaybePromise<Uint8Array[]>;
  removexattr(caller: Caller, inode: number, name: Uint8Array): MaybePromise<void>;

  statfs(): MaybePromise<FsStatistics>;

  hold(inode: number): void;
  drop(inode: number): MaybePromise<void>;
}
