/**
 * A node of the tree: how it stands in memory, and the layouts of the block that a checkpoint writes.
 *
 * A leaf (level 0) holds items in ascending key order. An inner node holds children, each with a
 * lower bound of its keys; the first bound of the root is (0, 0). A block is a `NodeHeader`, then
 * for a leaf each `LeafItem` with its value behind it, for an inner node the `ChildItem`s
 * (`node-codec.ts`).
 */
import { reserved, struct, u16, u32, u64, u8 } from "../../../lib/codec.ts";
import { LeafValues } from "./leaf-values.ts";

/** Default and largest encoded size: four pages, so that a miss is one small read. */
export const MAX_NODE_BYTES = 16384;
/** "SMFN" read as little-endian u32. */
export const NODE_MAGIC = 0x4e464d53;
/** Far above any real height: 2^20 levels could not be addressed; a bound for damaged input. */
export const MAX_HEIGHT = 16;

export const NodeHeader = struct("NodeHeader", {
  magic: u32("0x4e464d53, the bytes SMFN"),
  level: u8("0: leaf; otherwise one more than the level of the children"),
  flags: reserved(1),
  count: u16("items or children"),
  bytes: u32("encoded length of the whole block"),
  unused: reserved(4),
});

export const LeafItem = struct("LeafItem", {
  high: u64("first half of the key: inode × 16 + kind"),
  low: u64("second half"),
  valueBytes: u16("length of the value, which follows"),
});

export const ChildItem = struct("ChildItem", {
  high: u64("lower bound of the child's keys, first half"),
  low: u64("second half"),
  segment: u32("where the child's block stands"),
  offset: u32("byte offset in the segment"),
  length: u32("length of the block, bytes"),
  checksum: u32("CRC-32C of the block"),
});

export interface NodeReference {
  readonly segment: number;
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** CRC-32C of the block. */
  readonly checksum: number;
}

/** Enough of a node's block to find the node in a tree: the walk to its first key passes it. */
export interface NodeHead {
  readonly level: number;
  readonly high: number;
  readonly low: number;
}

/** Keys in ascending order, as two lists of equal length. */
export interface Keys {
  readonly highs: readonly number[];
  readonly lows: readonly number[];
}

export class Node implements Keys {
  readonly level: number;
  readonly highs: number[] = [];
  readonly lows: number[] = [];
  /** Leaves only, one for each key. */
  readonly values = new LeafValues();
  /** Inner nodes only, one for each key. */
  readonly children: Slot[] = [];
  /** Length of the encoded block. */
  bytes: number = NodeHeader.size;

  constructor(level: number) {
    this.level = level;
  }

  valueAt(index: number): Uint8Array {
    return this.values.at(index);
  }
}

/**
 * The place of a node: what its parent (or the tree, for the root) holds.
 * With a reference it is clean, and the node may be absent; without one it is dirty, and loaded.
 * Everything above a dirty slot is dirty.
 */
export class Slot {
  reference: NodeReference | null;
  node: Node | null;
  /** Level that the node must have. */
  readonly level: number;
  /** Touched since the cache's hand last passed. */
  referenced = true;
  /** Operations under way that need the node to stay. */
  pins = 0;
  /** Bytes charged to the cache; 0 while absent or dirty. */
  chargedBytes = 0;
  inCache = false;

  constructor(level: number, reference: NodeReference | null, node: Node | null) {
    this.level = level;
    this.reference = reference;
    this.node = node;
  }
}

/** First index whose key is ≥ (high, low). */
export function lowerBound(keys: Keys, high: number, low: number): number {
  const { highs, lows } = keys;
  let from = 0;
  let to = highs.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    const h = highs[middle] as number;
    if (h < high || (h === high && (lows[middle] as number) < low)) from = middle + 1;
    else to = middle;
  }
  return from;
}

export function keyAt(keys: Keys, index: number, high: number, low: number): boolean {
  return keys.highs[index] === high && keys.lows[index] === low;
}

/** The child that a key belongs to: the last one whose bound is not above it. */
export function childIndex(node: Node, high: number, low: number): number {
  const at = lowerBound(node, high, low);
  return at > 0 && !keyAt(node, at, high, low) ? at - 1 : Math.min(at, node.children.length - 1);
}

/** Items from index `at` on go to the end of another node of the same level; sizes are the caller's. */
export function moveItems(from: Node, at: number, to: Node): void {
  from.values.moveTo(at, to.values);
  to.highs.push(...from.highs.splice(at));
  to.lows.push(...from.lows.splice(at));
  to.children.push(...from.children.splice(at));
}

/** Encoded length of items or children [from, to). */
export function itemsBytes(node: Node, from: number, to: number): number {
  if (node.level > 0) return (to - from) * ChildItem.size;
  let bytes = 0;
  for (let i = from; i < to; i++) bytes += LeafItem.size + node.values.bytesAt(i);
  return bytes;
}

/** The longest run of items that is at most half of the node, but never none. */
export function splitIndex(node: Node): number {
  if (node.level > 0) return node.highs.length >>> 1;
  const half = (node.bytes - NodeHeader.size) / 2;
  let at = 0;
  for (let bytes = 0; at < node.highs.length; at++) {
    bytes += itemsBytes(node, at, at + 1);
    if (bytes > half) break;
  }
  return Math.max(1, at);
}
