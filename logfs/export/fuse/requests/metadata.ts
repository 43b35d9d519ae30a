/** GETATTR, STATX, SETATTR, ACCESS, STATFS, SYNCFS. */
import {
  type AttributeChanges,
  type Attributes,
  type FsStatistics,
  ROOT_INODE,
} from "../../../core/vfs.ts";
import { AccessIn, FATTR, SetattrIn, StatfsOut } from "../abi.ts";
import type { Infer } from "../../../../lib/codec.ts";
import { putAttributes, putStatx } from "../attributes.ts";
import { operation } from "../context.ts";

export const getattr = operation<Attributes>({
  run: ({ vfs }, request) => vfs.getattr(request.node),
  encode: (context, reply, attributes) => putAttributes(context, reply, attributes),
});

export const statx = operation<Attributes>({
  run: ({ vfs }, request) => vfs.getattr(request.node),
  encode: (context, reply, attributes) => putStatx(context, reply, attributes),
});

export const setattr = operation<Attributes>({
  run({ vfs }, request) {
    const wanted = request.take(SetattrIn);
    const handle = (wanted.valid & FATTR.FH) === 0 ? undefined : wanted.handle;
    return vfs.setattr(request, request.node, changesOf(wanted), handle);
  },
  encode: (context, reply, attributes) => putAttributes(context, reply, attributes),
});

function changesOf(wanted: Infer<typeof SetattrIn>): AttributeChanges {
  const has = (bit: number): boolean => (wanted.valid & bit) !== 0;
  const changes: AttributeChanges = {};
  if (has(FATTR.MODE)) changes.mode = wanted.mode;
  if (has(FATTR.UID)) changes.uid = wanted.uid;
  if (has(FATTR.GID)) changes.gid = wanted.gid;
  if (has(FATTR.SIZE)) changes.size = wanted.size;
  if (has(FATTR.ATIME_NOW)) changes.accessed = "now";
  else if (has(FATTR.ATIME))
    changes.accessed = { seconds: wanted.atime, nanoseconds: wanted.atimeNanos };
  if (has(FATTR.MTIME_NOW)) changes.modified = "now";
  else if (has(FATTR.MTIME))
    changes.modified = { seconds: wanted.mtime, nanoseconds: wanted.mtimeNanos };
  return changes;
}

export const access = operation<void>({
  run: ({ vfs }, request) => vfs.access(request, request.node, request.take(AccessIn).mask),
});

/** syncfs(2); the kernel asks only some kinds of FUSE mounts. */
export const syncfs = operation<void>({ run: ({ vfs }) => vfs.fsync(ROOT_INODE, "full") });

export const statfs = operation<FsStatistics>({
  run: ({ vfs }) => vfs.statfs(),
  encode(_context, reply, statistics) {
    const { blockSize, totalBytes, freeBytes, inodes, freeInodes, nameMax } = statistics;
    const freeBlocks = Math.floor(freeBytes / blockSize);
    reply.put(StatfsOut, {
      blocks: Math.floor(totalBytes / blockSize),
      freeBlocks,
      availableBlocks: freeBlocks,
      files: inodes + freeInodes,
      freeFiles: freeInodes,
      blockSize,
      nameMax,
      fragmentSize: blockSize,
    });
  },
});
