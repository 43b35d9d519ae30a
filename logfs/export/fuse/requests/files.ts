/** Open files: OPEN, CREATE, READ, WRITE, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, TMPFILE, IOCTL. */
import { fail } from "../../../../lib/errors.ts";
import type { Attributes, MaybePromise, OpenOptions, SyncRequest } from "../../../core/vfs.ts";
import * as abi from "../abi.ts";
import { putEntry } from "../attributes.ts";
import { type Context, operation } from "../context.ts";
import type { Request } from "../request.ts";

function optionsOf(flags: number): OpenOptions {
  const mode = flags & abi.O_ACCMODE;
  return {
    read: mode !== abi.O_WRONLY,
    write: mode !== abi.O_RDONLY,
    append: (flags & abi.O_APPEND) !== 0,
    truncate: (flags & abi.O_TRUNC) !== 0,
    sync: syncRequestOf(flags),
    execute: (flags & abi.FMODE_EXEC) !== 0,
  };
}

/** What the call asked for: O_SYNC contains the bit of O_DSYNC and is looked for first. */
function syncRequestOf(flags: number): SyncRequest {
  if ((flags & abi.O_SYNC) === abi.O_SYNC) return "full";
  return (flags & abi.O_DSYNC) === 0 ? "none" : "data";
}

/** With `kept` the pages of earlier opens stay; with `checked` the kernel looks at the times first. */
const OPEN_FLAGS = abi.FOPEN_KEEP_CACHE;

export const open = operation<number>({
  run({ vfs }, request) {
    const { flags } = request.take(abi.OpenIn);
    return vfs.open(request, request.node, optionsOf(flags));
  },
  encode({ holdings }, reply, handle) {
    holdings.opened(handle);
    reply.put(abi.OpenOut, { handle, openFlags: OPEN_FLAGS });
  },
  undo: ({ holdings }, handle) => holdings.release(handle),
});

interface Created {
  attributes: Attributes;
  handle: number;
}

export const create = operation<Created>({
  run({ vfs }, request) {
    const { flags, mode } = request.take(abi.CreateIn);
    const exclusive = (flags & abi.O_EXCL) !== 0;
    const name = request.takeName();
    return vfs.create(request, request.node, name, mode, exclusive, optionsOf(flags));
  },
  encode(context, reply, { attributes, handle }) {
    putEntry(context, reply, attributes);
    context.holdings.opened(handle);
    reply.put(abi.OpenOut, { handle, openFlags: OPEN_FLAGS });
  },
  undo({ holdings }, { attributes, handle }) {
    holdings.release(handle);
    holdings.forget(attributes.inode, 1);
  },
});

/** The kernel's name for what has none is of no use. O_EXCL says that it must not get one. */
export const tmpfile = operation<Created>({
  ...create,
  run({ vfs }, request) {
    const { flags, mode } = request.take(abi.CreateIn);
    const naming = (flags & abi.O_EXCL) === 0 ? "possible" : "never";
    return vfs.createUnnamed(request, request.node, mode, naming, optionsOf(flags));
  },
});

export const read = operation<Uint8Array[]>({
  run({ vfs }, request) {
    const { handle, offset, size } = request.take(abi.ReadWriteIn);
    if (size > abi.MAX_IO_BYTES) fail("EINVAL");
    return vfs.read(handle, offset, size);
  },
  encode({ statistics }, reply, pieces) {
    for (const piece of pieces) statistics.readBytes += piece.length;
    reply.append(pieces);
  },
});

export const write = operation<number>({
  run({ vfs }, request) {
    const { handle, offset, size, flags } = request.take(abi.ReadWriteIn);
    return vfs.write(handle, offset, request.takeBytes(size), syncRequestOf(flags));
  },
  encode({ statistics }, reply, size) {
    statistics.writtenBytes += size;
    reply.put(abi.WriteOut, { size });
  },
});

export const releaseFile = operation<void>({
  run({ vfs, holdings }, request) {
    const { handle } = request.take(abi.ReleaseIn);
    holdings.released(handle);
    return vfs.release(handle);
  },
});

export const fsync = operation<void>({
  run({ vfs }, request) {
    const { fsyncFlags } = request.take(abi.FsyncIn);
    const dataOnly = (fsyncFlags & abi.FSYNC_FDATASYNC) !== 0;
    return vfs.fsync(request.node, dataOnly ? "data" : "full");
  },
});

export const fallocate = operation<void>({
  run({ vfs }, request) {
    const { handle, offset, length, mode } = request.take(abi.FallocateIn);
    return vfs.fallocate(handle, offset, length, mode);
  },
});

export const lseek = operation<number>({
  run({ vfs }, request) {
    const { handle, offset, whence } = request.take(abi.LseekIn);
    if (whence !== 3 && whence !== 4) fail("EINVAL");
    return vfs.seek(handle, offset, whence);
  },
  encode: (_context, reply, offset) => reply.put(abi.LseekOut, { offset }),
});

function copyRange({ vfs }: Context, request: Request): MaybePromise<number> {
  const { handle, offset, targetHandle, targetOffset, length, flags } = request.take(
    abi.CopyFileRangeIn,
  );
  if (flags !== 0) fail("EINVAL");
  const target = { handle: targetHandle, offset: targetOffset };
  return vfs.copyRange({ handle, offset }, target, Math.min(length, abi.COPY_BYTES_MAX));
}

export const copyFileRange = operation<number>({
  run: copyRange,
  encode: (_context, reply, size) => reply.put(abi.WriteOut, { size }),
});

export const copyFileRange64 = operation<number>({
  run: copyRange,
  encode: (_context, reply, copied) => reply.put(abi.CopyFileRangeOut, { copied }),
});

/** No file has any control of its own. */
export const ioctl = operation<never>({ run: () => fail("ENOTTY") });
