/** What the file system counts; metrics are made of it in `cli/`. */
import type { Vfs } from "../vfs.ts";

export type OperationName = Exclude<keyof Vfs, "readOnly" | "isTransient">;

const NO_OPERATIONS: Record<OperationName, number> = {
  lookup: 0,
  getattr: 0,
  setattr: 0,
  access: 0,
  mknod: 0,
  mkdir: 0,
  symlink: 0,
  readlink: 0,
  link: 0,
  unlink: 0,
  rmdir: 0,
  rename: 0,
  create: 0,
  createUnnamed: 0,
  open: 0,
  release: 0,
  read: 0,
  write: 0,
  fsync: 0,
  seek: 0,
  fallocate: 0,
  copyRange: 0,
  readdir: 0,
  getxattr: 0,
  setxattr: 0,
  listxattr: 0,
  removexattr: 0,
  statfs: 0,
  hold: 0,
  drop: 0,
};

export class FsCounters {
  /** Calls, failed ones included. */
  readonly operations: Record<OperationName, number> = { ...NO_OPERATIONS };
  /** Given to readers, holes included. */
  readBytes = 0;
  writtenBytes = 0;
  /** Copied by sharing blocks. */
  sharedBytes = 0;
  /** Stored blocks whose bytes did not match their checksum: the read failed. */
  checksumFailures = 0;

  count(operation: OperationName): void {
    this.operations[operation]++;
  }
}
