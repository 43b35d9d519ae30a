/**
 * Which operation serves which opcode. What is missing is answered ENOSYS, which the kernel takes
 * as "never ask again": FLUSH on purpose (there is no write-back cache to flush, and locks are the
 * kernel's), OPENDIR and RELEASEDIR likewise (see directories.ts).
 */
import { OPCODES, type OpcodeName } from "../abi.ts";
import type { Operation } from "../context.ts";
import * as directories from "./directories.ts";
import * as files from "./files.ts";
import * as init from "./init.ts";
import * as metadata from "./metadata.ts";
import * as names from "./names.ts";
import * as xattrs from "./xattrs.ts";

const SERVED: Partial<Record<OpcodeName, Operation<unknown>>> = {
  INIT: init.init,
  DESTROY: init.destroy,
  LOOKUP: names.lookup,
  MKNOD: names.mknod,
  MKDIR: names.mkdir,
  SYMLINK: names.symlink,
  LINK: names.link,
  UNLINK: names.unlink,
  RMDIR: names.rmdir,
  RENAME: names.rename,
  RENAME2: names.rename2,
  READLINK: names.readlink,
  GETATTR: metadata.getattr,
  SETATTR: metadata.setattr,
  ACCESS: metadata.access,
  STATX: metadata.statx,
  STATFS: metadata.statfs,
  SYNCFS: metadata.syncfs,
  OPEN: files.open,
  CREATE: files.create,
  READ: files.read,
  WRITE: files.write,
  RELEASE: files.releaseFile,
  FSYNC: files.fsync,
  FSYNCDIR: files.fsync,
  FALLOCATE: files.fallocate,
  LSEEK: files.lseek,
  COPY_FILE_RANGE: files.copyFileRange,
  COPY_FILE_RANGE_64: files.copyFileRange64,
  TMPFILE: files.tmpfile,
  IOCTL: files.ioctl,
  READDIR: directories.readdir,
  READDIRPLUS: directories.readdirplus,
  SETXATTR: xattrs.setxattr,
  GETXATTR: xattrs.getxattr,
  LISTXATTR: xattrs.listxattr,
  REMOVEXATTR: xattrs.removexattr,
};

interface Row {
  readonly name: OpcodeName;
  readonly operation: Operation<unknown> | undefined;
}

const ROWS = new Map<number, Row>(
  (Object.keys(OPCODES) as OpcodeName[]).map((name) => [
    OPCODES[name],
    { name, operation: SERVED[name] },
  ]),
);

export function rowOf(opcode: number): Row | undefined {
  return ROWS.get(opcode);
}
