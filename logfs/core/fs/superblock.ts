/**
 * The superblock: the metadata part of a `checkpoint` record. With the blocks its root leads to it
 * is the whole file system at that point of the log. A table of live bytes follows it, one
 * `LiveSegment` for each segment that something still refers to, in ascending order.
 */
import { bytes, type Infer, reserved, struct, u16, u32, u64, viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { MAX_HEIGHT, MAX_NODE_BYTES, NodeHeader, type NodeReference } from "./node.ts";

const SUPERBLOCK_VERSION = 1;
/** Smallest node size that a volume may have; real volumes use `MAX_NODE_BYTES`. */
const MIN_NODE_BYTES = 256;

export const Superblock = struct("Superblock", {
  version: u16("format version of the tree, 1"),
  height: u16("levels of nodes, 1 when the root is a leaf"),
  nodeBytes: u32("largest length of a node's block"),
  volumeId: bytes(16, "random, given when the volume was made"),
  createdMicros: u64("when the volume was made, microseconds since 1970"),
  rootSegment: u32("where the root's block stands"),
  rootOffset: u32("byte offset in the segment"),
  rootLength: u32("length of the block, bytes"),
  rootChecksum: u32("CRC-32C of the block"),
  nextInode: u64("the next inode number"),
  inodes: u64("inodes that exist"),
  dataBytes: u64("bytes of data that files hold"),
  segments: u32("entries of the live-bytes table"),
  room: reserved(28),
});

export const LiveSegment = struct("LiveSegment", {
  segment: u32("number of the segment"),
  bytes: u32("bytes of it that extents, long attribute values or tree nodes refer to"),
});

export interface Checkpoint {
  readonly height: number;
  readonly nodeBytes: number;
  readonly volumeId: Uint8Array;
  readonly createdMicros: number;
  readonly root: NodeReference;
  readonly nextInode: number;
  readonly inodes: number;
  readonly dataBytes: number;
  readonly live: LiveBytes;
}

/** Bytes that are still referred to, by segment. */
export class LiveBytes {
  private readonly segments: Map<number, number>;

  constructor(segments: Iterable<readonly [number, number]> = []) {
    this.segments = new Map(segments);
  }

  /** Segments with live bytes, ascending. */
  get entries(): [number, number][] {
    return [...this.segments].toSorted(([a], [b]) => a - b);
  }

  get count(): number {
    return this.segments.size;
  }

  of(segment: number): number {
    return this.segments.get(segment) ?? 0;
  }

  /** `deltaBytes` may be negative; what would fall below zero is for fsck to find, not to spread. */
  add(segment: number, deltaBytes: number): void {
    const sum = this.of(segment) + deltaBytes;
    if (sum > 0) this.segments.set(segment, sum);
    else this.segments.delete(segment);
  }

  copy(): LiveBytes {
    return new LiveBytes(this.segments);
  }
}

/** Length of the encoded checkpoint. */
export function checkpointBytes(live: LiveBytes): number {
  return Superblock.size + live.count * LiveSegment.size;
}

/** `target` is exactly `checkpointBytes` long. */
export function encodeCheckpoint(target: Uint8Array, checkpoint: Checkpoint): void {
  const view = viewOf(target);
  const { root, live, ...rest } = checkpoint;
  Superblock.encode(view, 0, {
    ...rest,
    version: SUPERBLOCK_VERSION,
    rootSegment: root.segment,
    rootOffset: root.offset,
    rootLength: root.length,
    rootChecksum: root.checksum,
    segments: live.count,
  });
  let at = Superblock.size;
  for (const [segment, liveBytes] of live.entries) {
    LiveSegment.encode(view, at, { segment, bytes: liveBytes });
    at += LiveSegment.size;
  }
}

/** Throws `SmfsError` DAMAGED, SHORT or NEWER_VERSION. Keeps nothing of `metadata`. */
export function decodeCheckpoint(metadata: Uint8Array): Checkpoint {
  const view = viewOf(metadata);
  if (metadata.length >= 2) refuseNewer(view.getUint16(Superblock.offsetOf("version"), true));
  const block: Infer<typeof Superblock> = Superblock.decode(view, 0);
  const { height, nodeBytes, createdMicros, nextInode, inodes, dataBytes } = block;
  if (block.version !== SUPERBLOCK_VERSION) damaged(`version ${block.version}`);
  if (height < 1 || height > MAX_HEIGHT) damaged(`height ${height}`);
  if (nodeBytes < MIN_NODE_BYTES || nodeBytes > MAX_NODE_BYTES) damaged(`nodes of ${nodeBytes}`);
  const { rootSegment: segment, rootOffset: offset, rootLength: length } = block;
  if (length < NodeHeader.size || length > nodeBytes) damaged(`a root of ${length} bytes`);
  const root = { segment, offset, length, checksum: block.rootChecksum };
  const live = decodeLive(metadata, view, block.segments);
  const volumeId = block.volumeId.slice();
  return { height, nodeBytes, volumeId, createdMicros, root, nextInode, inodes, dataBytes, live };
}

function decodeLive(metadata: Uint8Array, view: DataView, count: number): LiveBytes {
  if (metadata.length - Superblock.size !== count * LiveSegment.size) damaged("wrong length");
  const entries: [number, number][] = [];
  for (let at = Superblock.size; at < metadata.length; at += LiveSegment.size) {
    const { segment, bytes: liveBytes } = LiveSegment.decode(view, at);
    if (segment <= (entries.at(-1)?.[0] ?? 0)) damaged("segments out of order");
    entries.push([segment, liveBytes]);
  }
  return new LiveBytes(entries);
}

function refuseNewer(version: number): void {
  if (version <= SUPERBLOCK_VERSION) return;
  const text = `the volume has format ${version}, this program knows ${SUPERBLOCK_VERSION}`;
  throw new SmfsError("NEWER_VERSION", text);
}

function damaged(what: string): never {
  throw new SmfsError("DAMAGED", `superblock: ${what}`);
}
