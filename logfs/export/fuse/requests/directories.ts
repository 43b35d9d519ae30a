/**
 * READDIR and READDIRPLUS (a listing with attributes, each of which is a lookup).
 *
 * Offsets: 1 continues behind ".", 2 behind "..", and what `Vfs` calls cookie c is offset c + 2.
 * Open directories have no state here: OPENDIR is answered ENOSYS, after which the kernel sends
 * neither it nor RELEASEDIR (NO_OPENDIR_SUPPORT), and caches listings by itself.
 */
import { latin1 } from "../../../../lib/bytes.ts";
import { FsError } from "../../../../lib/errors.ts";
import type { Attributes, DirectoryEntry, MaybePromise } from "../../../core/vfs.ts";
import * as abi from "../abi.ts";
import { putEntry, putNoEntry } from "../attributes.ts";
import { operation, type Context } from "../context.ts";
import { andThen, orElse } from "../maybe-promise.ts";
import { REPLY_BYTES } from "../reply.ts";
import type { Reply } from "../reply.ts";
import type { Request } from "../request.ts";

const DOTS = [latin1("."), latin1("..")] as const;
const ALIGNMENT = 8;
const ENTRY_BYTES = abi.EntryOut.size + abi.Attr.size;

/** An entry of a listing, with the offset behind it. */
interface Listed {
  readonly name: Uint8Array;
  readonly inode: number;
  readonly type: number;
  readonly offset: number;
  attributes?: Attributes;
}

/** Collects entries until the room that the kernel gave is used up. */
class Listing {
  readonly entries: Listed[] = [];
  private room: number;
  private readonly perEntryBytes: number;

  constructor(room: number, perEntryBytes: number) {
    this.room = Math.min(room, REPLY_BYTES);
    this.perEntryBytes = perEntryBytes;
  }

  /** False when there is no more room, and the entry was not taken. */
  add(entry: Listed): boolean {
    const unaligned = this.perEntryBytes + abi.Dirent.size + entry.name.length;
    const needed = Math.ceil(unaligned / ALIGNMENT) * ALIGNMENT;
    if (needed > this.room) return false;
    this.room -= needed;
    this.entries.push(entry);
    return true;
  }
}

function list(context: Context, request: Request, perEntryBytes: number): MaybePromise<Listing> {
  const { offset, size } = request.take(abi.ReadWriteIn);
  const listing = new Listing(size, perEntryBytes);
  return andThen(addDots(context, request, offset, listing), (full) => {
    if (full) return listing;
    const cookie = Math.max(0, offset - DOTS.length);
    const visited = context.vfs.readdir(request, request.node, cookie, (entry) =>
      listing.add(listed(entry)),
    );
    return andThen(visited, () => listing);
  });
}

/** The name may be a view of the file system's own memory: it is copied. */
function listed({ name, inode, type, cookie }: DirectoryEntry): Listed {
  return { name: name.slice(), inode, type, offset: cookie + DOTS.length };
}

/** Gives whether the listing is full already. */
function addDots(
  { vfs }: Context,
  request: Request,
  offset: number,
  listing: Listing,
): MaybePromise<boolean> {
  if (offset >= DOTS.length) return false;
  const directory = abi.S_IFDIR;
  const self = { name: DOTS[0], inode: request.node, type: directory, offset: 1 };
  if (offset === 0 && !listing.add(self)) return true;
  return andThen(
    vfs.lookup(request, request.node, DOTS[1]),
    ({ inode }) => !listing.add({ name: DOTS[1], inode, type: directory, offset: 2 }),
  );
}

function putDirent(reply: Reply, { name, inode, type, offset }: Listed): void {
  reply.put(abi.Dirent, { inode, offset, nameLength: name.length, type: type >>> 12 });
  reply.putBytes(name, ALIGNMENT);
}

export const readdir = operation<Listing>({
  run: (context, request) => list(context, request, 0),
  encode(_context, reply, { entries }) {
    for (const entry of entries) putDirent(reply, entry);
  },
});

export const readdirplus = operation<Listing>({
  run: (context, request) =>
    andThen(list(context, request, ENTRY_BYTES), (listing) =>
      andThen(addAttributes(context, listing.entries, 0), () => listing),
    ),
  encode(context, reply, { entries }) {
    for (const entry of entries) {
      if (entry.attributes === undefined) putNoEntry(context, reply);
      else putEntry(context, reply, entry.attributes);
      putDirent(reply, entry);
    }
  },
  undo({ holdings }, { entries }) {
    for (const { attributes } of entries) {
      if (attributes !== undefined) holdings.forget(attributes.inode, 1);
    }
  },
});

/**
 * Fills in attributes from `index` on. The kernel wants none for "." and "..", and an entry whose
 * inode went away meanwhile is listed without.
 */
function addAttributes(
  context: Context,
  entries: readonly Listed[],
  index: number,
): MaybePromise<void> {
  for (let i = index; i < entries.length; i++) {
    const entry = entries[i] as Listed;
    if (entry.offset <= DOTS.length && DOTS.includes(entry.name)) continue;
    const found = orElse(() => context.vfs.getattr(entry.inode), gone);
    if (found instanceof Promise) {
      return found.then((attributes) => {
        setAttributes(entry, attributes);
        return addAttributes(context, entries, i + 1);
      });
    }
    setAttributes(entry, found);
  }
}

function setAttributes(entry: Listed, attributes: Attributes | undefined): void {
  if (attributes !== undefined) entry.attributes = attributes;
}

function gone(error: unknown): undefined {
  if (error instanceof FsError && (error.code === "ENOENT" || error.code === "ESTALE")) return;
  throw error;
}
