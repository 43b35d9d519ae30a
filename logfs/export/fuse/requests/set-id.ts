/**
 * Set-id bits after a change of data or owner (HANDLE_KILLPRIV_V2, fuse.h): the kernel leaves it
 * to us, and says by a flag when the caller has no right to keep them (CAP_FSETID).
 */
import type { Attributes, Caller, MaybePromise } from "../../../core/vfs.ts";
import { S_IFDIR, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from "../abi.ts";
import type { Context } from "../context.ts";
import { andThen } from "../maybe-promise.ts";

/** The kernel decided; the file system must not ask whether the caller owns the file. */
const KERNEL: Caller = { uid: 0, gid: 0, groups: () => [] };

/** The mode without set-user-id, and without set-group-id where the group may execute. */
export function withoutSetId(mode: number): number {
  const group = (mode & S_IXGRP) === 0 ? 0 : S_ISGID;
  return mode & ~(S_ISUID | group);
}

export function isDirectory(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

/** Clears what `withoutSetId` clears, if it is set. */
export function killSetId(context: Context, inode: number): MaybePromise<void> {
  return andThen(context.vfs.getattr(inode), (attributes) =>
    andThen(clear(context, attributes), () => undefined),
  );
}

/** As `killSetId`, for who has the attributes; gives them as they are then. */
export function clear(context: Context, attributes: Attributes): MaybePromise<Attributes> {
  const mode = withoutSetId(attributes.mode);
  if (mode === attributes.mode || isDirectory(mode)) return attributes;
  return context.vfs.setattr(KERNEL, attributes.inode, { mode });
}
