/**
 * The kernel's side of FUSE: include/uapi/linux/fuse.h, protocol 7.31 … 7.45. Names follow the
 * header (`fuse_init_in` is `InitIn`).
 *
 * Padding of what the kernel sends is read and ignored (later kernels give it a meaning); padding
 * of what we send is `reserved` and zero. Fields that use all 64 bits (lock owners) are never
 * interpreted and stand as bytes. File offsets and times come from applications, up to 2^63: rounded
 * ones are past every limit of ours just as well.
 */
import {
  bytes,
  i32,
  i64,
  reserved,
  roundedI64,
  roundedU64,
  struct,
  u16,
  u32,
  u64,
} from "../../../lib/codec.ts";

export const KERNEL_MAJOR = 7;
/** 7.31 (Linux 5.4) is the oldest spoken here: what came before lacks large requests. */
export const OLDEST_MINOR = 31;
export const NEWEST_MINOR = 45;

/** Bytes of one WRITE, one READ and so of one request, without its headers. */
export const MAX_IO_BYTES = 1024 * 1024;
/** A request read from the device: the data, and room for headers and names before it. */
export const REQUEST_BUFFER_BYTES = MAX_IO_BYTES + 4096;
export const PAGE_BYTES = 4096;

export const OPCODES = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

export type OpcodeName = keyof typeof OPCODES;

/** INIT flags, named without FUSE_. */
export const INIT_FLAGS = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
} as const;

/** fuse_setattr_in.valid */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
} as const;

export const FOPEN_KEEP_CACHE = 1 << 1;
export const FSYNC_FDATASYNC = 1 << 0;

/** fcntl.h of x86 and arm64 (include/uapi/asm-generic/fcntl.h); O_SYNC contains O_DSYNC. */
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0;
export const O_WRONLY = 0o1;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
/** __FMODE_EXEC (include/linux/fs.h): the kernel opens the file to execute it. */
export const FMODE_EXEC = 0x20;
export const O_APPEND = 0o2000;
export const O_DSYNC = 0o10000;
export const O_SYNC = 0o4010000;

/** st_mode of a directory (include/uapi/linux/stat.h). */
export const S_IFDIR = 0o040000;

export const InHeader = struct("fuse_in_header", {
  length: u32("bytes of the whole request"),
  opcode: u32("what is asked"),
  unique: u64("names the request; the answer repeats it"),
  node: u64("inode it is about"),
  uid: u32("of the caller, for permissions (fsuid)"),
  gid: u32("of the caller (fsgid)"),
  pid: u32("thread of the caller; 0 from another pid namespace"),
  extensions: u32("length of extensions, none of which are negotiated"),
});

export const OutHeader = struct("fuse_out_header", {
  length: u32("bytes of the whole answer"),
  error: i32("0, or a negated errno"),
  unique: u64("that of the request"),
});

export const InitIn = struct("fuse_init_in", {
  major: u32("of the kernel"),
  minor: u32("of the kernel"),
  maxReadahead: u32("bytes"),
  flags: u32("what the kernel offers"),
});

export const InitOut = struct("fuse_init_out", {
  major: u32("spoken from here on"),
  minor: u32("spoken from here on"),
  maxReadahead: u32("bytes"),
  flags: u32("what is used of the offer"),
  maxBackground: u16("requests that nobody waits for, in flight together"),
  congestionThreshold: u16("of these, until readahead slows down"),
  maxWrite: u32("bytes of one WRITE"),
  timeGranularity: u32("nanoseconds"),
  maxPages: u16("pages of one request"),
  mapAlignment: u16("unused (DAX)"),
  flags2: u32("upper flags, none"),
  reserved: reserved(28),
});

/** fuse_attr */
export const Attr = struct("fuse_attr", {
  inode: u64("number"),
  size: u64("bytes"),
  blocks: u64("of 512 bytes"),
  atime: i64("seconds"),
  mtime: i64("seconds"),
  ctime: i64("seconds"),
  atimeNanos: u32("nanoseconds"),
  mtimeNanos: u32("nanoseconds"),
  ctimeNanos: u32("nanoseconds"),
  mode: u32("type and permissions"),
  links: u32("count"),
  uid: u32("owner"),
  gid: u32("group"),
  device: u32("of device files"),
  blockSize: u32("preferred bytes of one read or write"),
  flags: u32("none"),
});

/** fuse_entry_out without its fuse_attr, which follows. */
export const EntryOut = struct("fuse_entry_out", {
  node: u64("inode; 0: no such name, and that may be cached"),
  generation: u64("0: inode numbers are never used again"),
  entryValidSeconds: u64("how long the name may be cached"),
  attrValidSeconds: u64("how long the attributes may be cached"),
  entryValidNanos: u32("nanoseconds"),
  attrValidNanos: u32("nanoseconds"),
});

/** fuse_attr_out without its fuse_attr, which follows. */
export const AttrOut = struct("fuse_attr_out", {
  validSeconds: u64("how long they may be cached"),
  validNanos: u32("nanoseconds"),
  padding: reserved(4),
});

/** fuse_statx_out without its fuse_statx, which follows. */
export const StatxOut = struct("fuse_statx_out", {
  validSeconds: u64("how long they may be cached"),
  validNanos: u32("nanoseconds"),
  flags: u32("none"),
  spare: reserved(16),
});

/** statx.stx_mask (include/uapi/linux/stat.h) */
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;

/** fuse_statx, of 7.39 on */
export const Statx = struct("fuse_statx", {
  mask: u32("STATX bits of what is filled in"),
  blockSize: u32("preferred bytes of one read or write"),
  attributes: u64("STATX_ATTR bits, none"),
  links: u32("count"),
  uid: u32("owner"),
  gid: u32("group"),
  mode: u16("type and permissions"),
  spare: reserved(2),
  inode: u64("number"),
  size: u64("bytes"),
  blocks: u64("of 512 bytes"),
  attributesMask: u64("STATX_ATTR bits that are known, none"),
  atime: i64("seconds"),
  atimeNanos: u32("nanoseconds"),
  atimePadding: reserved(4),
  btime: i64("seconds"),
  btimeNanos: u32("nanoseconds"),
  btimePadding: reserved(4),
  ctime: i64("seconds"),
  ctimeNanos: u32("nanoseconds"),
  ctimePadding: reserved(4),
  mtime: i64("seconds"),
  mtimeNanos: u32("nanoseconds"),
  mtimePadding: reserved(4),
  deviceMajor: u32("of device files"),
  deviceMinor: u32("of device files"),
  volumeMajor: u32("the kernel fills it in"),
  volumeMinor: u32("the kernel fills it in"),
  room: reserved(112),
});

export const SetattrIn = struct("fuse_setattr_in", {
  valid: u32("FATTR bits of the fields that count"),
  padding: u32("-"),
  handle: u64("open handle, with FATTR_FH"),
  size: roundedU64("bytes"),
  lockOwner: bytes(8, "opaque"),
  atime: roundedI64("seconds"),
  mtime: roundedI64("seconds"),
  ctime: roundedI64("seconds"),
  atimeNanos: u32("nanoseconds"),
  mtimeNanos: u32("nanoseconds"),
  ctimeNanos: u32("nanoseconds"),
  mode: u32("type and permissions"),
  unused4: u32("-"),
  uid: u32("owner"),
  gid: u32("group"),
  unused5: u32("-"),
});

export const MknodIn = struct("fuse_mknod_in", {
  mode: u32("type and permissions, the umask applied"),
  device: u32("of device files"),
  umask: u32("applied already"),
  padding: u32("-"),
});

export const MkdirIn = struct("fuse_mkdir_in", {
  mode: u32("permissions, the umask applied"),
  umask: u32("applied already"),
});

export const RenameIn = struct("fuse_rename_in", { newParent: u64("inode") });

export const Rename2In = struct("fuse_rename2_in", {
  newParent: u64("inode"),
  flags: u32("renameat2(2)"),
  padding: u32("-"),
});

export const LinkIn = struct("fuse_link_in", { oldNode: u64("inode that gets another name") });

export const OpenIn = struct("fuse_open_in", {
  flags: u32("open(2), without O_CREAT and O_EXCL"),
  openFlags: u32("whether set-id bits go, which the file system knows"),
});

export const CreateIn = struct("fuse_create_in", {
  flags: u32("open(2)"),
  mode: u32("type and permissions, the umask applied"),
  umask: u32("applied already"),
  openFlags: u32("whether set-id bits go, which the file system knows"),
});

export const OpenOut = struct("fuse_open_out", {
  handle: u64("handle"),
  openFlags: u32("FOPEN bits"),
  padding: reserved(4),
});

export const ReleaseIn = struct("fuse_release_in", {
  handle: u64("handle"),
  flags: u32("open(2)"),
  releaseFlags: u32("-"),
  lockOwner: bytes(8, "opaque"),
});

/** fuse_read_in; fuse_write_in has the same layout with its own flags. */
export const ReadWriteIn = struct("fuse_read_in", {
  handle: u64("handle"),
  offset: roundedU64("bytes"),
  size: u32("bytes"),
  ioFlags: u32("FUSE_READ or FUSE_WRITE bits"),
  lockOwner: bytes(8, "opaque"),
  flags: u32("open(2), with the call's own RWF_SYNC and RWF_DSYNC"),
  padding: u32("-"),
});

export const WriteOut = struct("fuse_write_out", { size: u32("bytes"), padding: reserved(4) });

/** fuse_kstatfs */
export const StatfsOut = struct("fuse_statfs_out", {
  blocks: u64("all"),
  freeBlocks: u64("free"),
  availableBlocks: u64("free for those who are not root"),
  files: u64("inodes, free ones included"),
  freeFiles: u64("inodes that can be made"),
  blockSize: u32("bytes of a good transfer"),
  nameMax: u32("bytes"),
  fragmentSize: u32("bytes of a block counted above"),
  padding: reserved(28),
});

export const FsyncIn = struct("fuse_fsync_in", {
  handle: u64("handle"),
  fsyncFlags: u32("FUSE_FSYNC_FDATASYNC"),
  padding: u32("-"),
});

/** fuse_setxattr_in in its short form (FUSE_COMPAT_SETXATTR_IN_SIZE): SETXATTR_EXT is not used. */
export const SetxattrIn = struct("fuse_setxattr_in", {
  size: u32("bytes of the value"),
  flags: u32("setxattr(2)"),
});

export const GetxattrIn = struct("fuse_getxattr_in", {
  size: u32("room for the answer; 0 asks how much it needs"),
  padding: u32("-"),
});

export const GetxattrOut = struct("fuse_getxattr_out", {
  size: u32("bytes that the answer needs"),
  padding: reserved(4),
});

export const AccessIn = struct("fuse_access_in", { mask: u32("access(2)"), padding: u32("-") });

export const FallocateIn = struct("fuse_fallocate_in", {
  handle: u64("handle"),
  offset: roundedU64("bytes"),
  length: roundedU64("bytes"),
  mode: u32("fallocate(2)"),
  padding: u32("-"),
});

export const LseekIn = struct("fuse_lseek_in", {
  handle: u64("handle"),
  offset: roundedU64("bytes"),
  whence: u32("SEEK_DATA 3, SEEK_HOLE 4"),
  padding: u32("-"),
});

export const LseekOut = struct("fuse_lseek_out", { offset: u64("bytes") });

export const CopyFileRangeIn = struct("fuse_copy_file_range_in", {
  handle: u64("handle read from"),
  offset: roundedU64("bytes"),
  targetNode: u64("inode"),
  targetHandle: u64("handle written to"),
  targetOffset: roundedU64("bytes"),
  length: roundedU64("bytes"),
  flags: u64("none yet"),
});

/** One call's bytes, so that the short form of the answer holds what it did. */
export const COPY_BYTES_MAX = 2 ** 31;

export const CopyFileRangeOut = struct("fuse_copy_file_range_out", { copied: u64("bytes") });

export const ForgetIn = struct("fuse_forget_in", { lookups: u64("count to take off") });

export const BatchForgetIn = struct("fuse_batch_forget_in", {
  count: u32("fuse_forget_one that follow"),
  padding: u32("-"),
});

export const ForgetOne = struct("fuse_forget_one", {
  node: u64("inode"),
  lookups: u64("count to take off"),
});

export const InterruptIn = struct("fuse_interrupt_in", { unique: u64("of the request meant") });

/** fuse_dirent without its name, which follows and is padded to a multiple of 8. */
export const Dirent = struct("fuse_dirent", {
  inode: u64("number"),
  offset: u64("where to go on behind this entry"),
  nameLength: u32("bytes"),
  type: u32("S_IFMT bits >> 12, as DT_ in dirent.h"),
});
