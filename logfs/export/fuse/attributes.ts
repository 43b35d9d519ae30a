/** Attributes as the kernel wants them, in the answers that carry them. */
import type { Attributes } from "../../core/vfs.ts";
import { Attr, AttrOut, EntryOut, Statx, STATX_BASIC_STATS, STATX_BTIME, StatxOut } from "./abi.ts";
import type { Context } from "./context.ts";
import type { Reply } from "./reply.ts";

const SECTOR_BYTES = 512;
/** Programs that buffer by st_blksize (stdio, cp) make this the size of their calls. */
const PREFERRED_IO_BYTES = 64 * 1024;
/** The kernel counts inodes of `Vfs` as its nodes, and numbers are never used twice. */
const GENERATION = 0;
const NO_CACHING = { entryMillis: 0, attributesMillis: 0 };

export function putAttributes(context: Context, reply: Reply, attributes: Attributes): void {
  const valid = duration(cachingOf(context, attributes.inode).attributesMillis);
  reply.put(AttrOut, { validSeconds: valid.seconds, validNanos: valid.nanos });
  reply.put(Attr, encodable(attributes));
}

/** As `putAttributes`, with the time of creation. */
export function putStatx(context: Context, reply: Reply, attributes: Attributes): void {
  const valid = duration(cachingOf(context, attributes.inode).attributesMillis);
  const { device, born, ...known } = { ...encodable(attributes), born: attributes.born };
  reply.put(StatxOut, { validSeconds: valid.seconds, validNanos: valid.nanos, flags: 0 });
  reply.put(Statx, {
    ...known,
    mask: STATX_BASIC_STATS | STATX_BTIME,
    attributes: 0,
    attributesMask: 0,
    btime: born.seconds,
    btimeNanos: born.nanoseconds,
    // The inverse of new_encode_dev (include/linux/kdev_t.h).
    deviceMajor: (device >>> 8) & 0xfff,
    deviceMinor: (device & 0xff) | ((device >>> 12) & 0xfff00),
    volumeMajor: 0,
    volumeMinor: 0,
  });
}

/** An inode under a name; the kernel's lookup count of it grows by one. */
export function putEntry(context: Context, reply: Reply, attributes: Attributes): void {
  putEntryHead(context, reply, attributes.inode);
  reply.put(Attr, encodable(attributes));
  context.holdings.remember(attributes.inode);
}

/** "No such name", which the kernel may believe for as long as a name. */
export function putNoEntry(context: Context, reply: Reply): void {
  putEntryHead(context, reply, 0);
  reply.put(Attr, NO_ATTRIBUTES);
}

function putEntryHead(context: Context, reply: Reply, node: number): void {
  const { entryMillis, attributesMillis } = cachingOf(context, node);
  const entry = duration(entryMillis);
  const attributes = duration(attributesMillis);
  reply.put(EntryOut, {
    node,
    generation: GENERATION,
    entryValidSeconds: entry.seconds,
    attrValidSeconds: attributes.seconds,
    entryValidNanos: entry.nanos,
    attrValidNanos: attributes.nanos,
  });
}

function cachingOf({ vfs, caching }: Context, node: number) {
  return vfs.isTransient?.(node) === true ? NO_CACHING : caching;
}

function duration(millis: number): { seconds: number; nanos: number } {
  return { seconds: Math.floor(millis / 1000), nanos: (millis % 1000) * 1e6 };
}

function encodable(attributes: Attributes) {
  return {
    inode: attributes.inode,
    size: attributes.size,
    blocks: Math.ceil(attributes.allocatedBytes / SECTOR_BYTES),
    atime: attributes.accessed.seconds,
    mtime: attributes.modified.seconds,
    ctime: attributes.changed.seconds,
    atimeNanos: attributes.accessed.nanoseconds,
    mtimeNanos: attributes.modified.nanoseconds,
    ctimeNanos: attributes.changed.nanoseconds,
    mode: attributes.mode,
    links: attributes.links,
    uid: attributes.uid,
    gid: attributes.gid,
    device: attributes.device,
    blockSize: PREFERRED_IO_BYTES,
    flags: 0,
  };
}

const EPOCH = { seconds: 0, nanoseconds: 0 };
const NO_ATTRIBUTES = encodable({
  inode: 0,
  mode: 0,
  links: 0,
  uid: 0,
  gid: 0,
  device: 0,
  size: 0,
  allocatedBytes: 0,
  accessed: EPOCH,
  modified: EPOCH,
  changed: EPOCH,
  born: EPOCH,
});
