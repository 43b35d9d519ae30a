/** LOOKUP and everything that makes, removes or moves a name. */
import { FsError } from "../../../../lib/errors.ts";
import { latin1, equalBytes } from "../../../../lib/bytes.ts";
import type { Attributes, MaybePromise } from "../../../core/vfs.ts";
import { LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn } from "../abi.ts";
import { putEntry, putNoEntry } from "../attributes.ts";
import { operation, type Context } from "../context.ts";
import { orElse } from "../maybe-promise.ts";
import type { Request } from "../request.ts";

const DOT = latin1(".");

function entry(run: (context: Context, request: Request) => MaybePromise<Attributes>) {
  return operation<Attributes>({
    run,
    encode: (context, reply, attributes) => putEntry(context, reply, attributes),
    undo: (context, attributes) => context.holdings.forget(attributes.inode, 1),
  });
}

export const lookup = operation<Attributes | undefined>({
  run({ vfs, caching }, request) {
    const name = request.takeName();
    // EXPORT_SUPPORT: an NFS server on the mount asks for an inode by number as "."
    if (equalBytes(name, DOT)) return vfs.getattr(request.node);
    const find = () => vfs.lookup(request, request.node, name);
    const cacheable = caching.entryMillis > 0 && vfs.isTransient?.(request.node) !== true;
    return cacheable ? orElse(find, absent) : find();
  },
  encode(context, reply, attributes) {
    if (attributes === undefined) putNoEntry(context, reply);
    else putEntry(context, reply, attributes);
  },
  undo(context, attributes) {
    if (attributes !== undefined) context.holdings.forget(attributes.inode, 1);
  },
});

function absent(error: unknown): undefined {
  if (error instanceof FsError && error.code === "ENOENT") return undefined;
  throw error;
}

export const mknod = entry(({ vfs }, request) => {
  const { mode, device } = request.take(MknodIn);
  return vfs.mknod(request, request.node, request.takeName(), mode, device);
});

export const mkdir = entry(({ vfs }, request) => {
  const { mode } = request.take(MkdirIn);
  return vfs.mkdir(request, request.node, request.takeName(), mode);
});

export const symlink = entry(({ vfs }, request) => {
  const name = request.takeName();
  return vfs.symlink(request, request.node, name, request.takeText());
});

export const link = entry(({ vfs }, request) => {
  const { oldNode } = request.take(LinkIn);
  return vfs.link(request, oldNode, request.node, request.takeName());
});

export const unlink = operation<void>({
  run: ({ vfs }, request) => vfs.unlink(request, request.node, request.takeName()),
});

export const rmdir = operation<void>({
  run: ({ vfs }, request) => vfs.rmdir(request, request.node, request.takeName()),
});

export const rename = operation<void>({
  run: (context, request) => move(context, request, request.take(RenameIn).newParent, 0),
});

export const rename2 = operation<void>({
  run(context, request) {
    const { newParent, flags } = request.take(Rename2In);
    return move(context, request, newParent, flags);
  },
});

function move({ vfs }: Context, request: Request, newParent: number, flags: number) {
  const name = request.takeName();
  return vfs.rename(request, request.node, name, newParent, request.takeName(), flags);
}

export const readlink = operation<Uint8Array>({
  run: ({ vfs }, request) => vfs.readlink(request.node),
  encode: (_context, reply, target) => reply.append([target]),
});
