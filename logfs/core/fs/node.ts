/**
 * A node of the tree: in memory, and as the block that a checkpoint writes.
 *
 * A leaf (level 0) holds items in ascending key order. An inner node holds children, each with a
 * lower bound of its keys; the first bound of the root is (0, 0). A block is a `NodeHeader`, then
 * for a leaf each `LeafItem` with its value behind it, for an inner node the `ChildItem`s. The
 * block's CRC-32C stands in the reference to it, so that a reference vouches for what it names
 * (Merkle, 1987): a stale or misdirected block is found out like a damaged one.
 */
import { EMPTY } from "../../../lib/bytes.ts";
import { type Infer, reserved, struct, u16, u32, u64, u8, viewOf } from "../../../lib/codec.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { MAX_VALUE_BYTES } from "./api.ts";

/** Default and largest encoded size: four pages, so that a miss is one small read. */
export const MAX_NODE_BYTES = 16384;
/** "SMFN" read as little-endian u32. */
const NODE_MAGIC = 0x4e464d53;
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

/** Keys in ascending order, as two lists of equal length. */
export interface Keys {
  readonly highs: readonly number[];
  readonly lows: readonly number[];
}

export class Node implements Keys {
  readonly level: number;
  readonly highs: number[] = [];
  readonly lows: number[] = [];
  /**
   * Leaves only, one for each key: a value of its own, or its place in `block` (`placeOf`). Most
   * values are never looked at between load and checkpoint; a view of each would burden the
   * garbage collector with a hundred objects per node.
   */
  readonly values: (Uint8Array | number)[] = [];
  /** What the places among `values` refer to. */
  block: Uint8Array = EMPTY;
  /** Inner nodes only, one for each key. */
  readonly children: Slot[] = [];
  /** Length of the encoded block. */
  bytes: number = NodeHeader.size;

  constructor(level: number) {
    this.level = level;
  }

  valueAt(index: number): Uint8Array {
    const value = this.values[index] as Uint8Array | number;
    if (typeof value !== "number") return value;
    const start = Math.floor(value / PLACE_STEP);
    return this.block.subarray(start, start + (value % PLACE_STEP));
  }

  /** Length of a value. */
  valueBytesAt(index: number): number {
    const value = this.values[index] as Uint8Array | number;
    return typeof value === "number" ? value % PLACE_STEP : value.length;
  }
}

/** More than the longest value. */
const PLACE_STEP = 8192;

function placeOf(start: number, length: number): number {
  return start * PLACE_STEP + length;
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

/** The node's block. Every child has a reference, by `referenceOf` when it is not its own yet. */
export function encodeNode(
  node: Node,
  referenceOf: (child: Slot) => NodeReference,
): { block: Uint8Array; checksum: number } {
  const block = new Uint8Array(node.bytes);
  const view = viewOf(block);
  const { level, bytes } = node;
  NodeHeader.encode(view, 0, { magic: NODE_MAGIC, level, count: node.highs.length, bytes });
  if (level === 0) encodeItems(node, block, view);
  else encodeChildren(node, view, referenceOf);
  return { block, checksum: crc32c(block) };
}

function encodeItems(node: Node, block: Uint8Array, view: DataView): void {
  let at = NodeHeader.size;
  for (let i = 0; i < node.highs.length; i++) {
    const value = node.valueAt(i);
    LeafItem.encode(view, at, {
      high: node.highs[i] as number,
      low: node.lows[i] as number,
      valueBytes: value.length,
    });
    block.set(value, at + LeafItem.size);
    at += LeafItem.size + value.length;
  }
}

function encodeChildren(
  node: Node,
  view: DataView,
  referenceOf: (child: Slot) => NodeReference,
): void {
  let at = NodeHeader.size;
  for (let i = 0; i < node.highs.length; i++) {
    const { segment, offset, length, checksum } = referenceOf(node.children[i] as Slot);
    const high = node.highs[i] as number;
    const low = node.lows[i] as number;
    ChildItem.encode(view, at, { high, low, segment, offset, length, checksum });
    at += ChildItem.size;
  }
}

/**
 * Verifies a block against the reference that led to it and takes it apart; the node keeps it.
 * Throws `SmfsError` DAMAGED with the address.
 */
export function decodeNode(block: Uint8Array, reference: NodeReference, level: number): Node {
  const problem = (what: string): never => {
    const where = `segment ${reference.segment} offset ${reference.offset}`;
    throw new SmfsError("DAMAGED", `tree node at ${where}: ${what}`);
  };
  if (block.length !== reference.length) problem(`${block.length} of ${reference.length} bytes`);
  if (crc32c(block) !== reference.checksum) problem("checksum differs");
  const view = viewOf(block);
  if (block.length < NodeHeader.size) problem("shorter than its header");
  const header = NodeHeader.decode(view, 0);
  if (header.magic !== NODE_MAGIC) problem("not a tree node");
  if (header.bytes !== block.length) problem(`says it is ${header.bytes} bytes long`);
  if (header.level !== level) problem(`level ${header.level} where ${level} belongs`);
  const node = new Node(level);
  if (level === 0) node.block = block;
  if (level === 0) decodeItems(node, header, block, view, problem);
  else decodeChildren(node, header, view, problem);
  node.bytes = block.length;
  return node;
}

/** A leaf that was just encoded as `block` keeps its values there: they need no memory of their own. */
export function rebaseLeaf(node: Node, block: Uint8Array): void {
  let at = NodeHeader.size;
  for (let i = 0; i < node.values.length; i++) {
    const length = node.valueBytesAt(i);
    node.values[i] = placeOf(at + LeafItem.size, length);
    at += LeafItem.size + length;
  }
  node.block = block;
}

type Header = Infer<typeof NodeHeader>;
type Problem = (what: string) => never;

function decodeItems(
  node: Node,
  header: Header,
  block: Uint8Array,
  view: DataView,
  problem: Problem,
): void {
  let at = NodeHeader.size;
  for (let i = 0; i < header.count; i++) {
    if (block.length - at < LeafItem.size) problem(`ends inside item ${i}`);
    const { high, low, valueBytes } = LeafItem.decode(view, at);
    at += LeafItem.size;
    if (block.length - at < valueBytes) problem(`ends inside the value of item ${i}`);
    pushKey(node, high, low, problem);
    if (valueBytes > MAX_VALUE_BYTES) problem(`a value of ${valueBytes} bytes`);
    node.values.push(placeOf(at, valueBytes));
    at += valueBytes;
  }
  if (at !== block.length) problem("has bytes behind its last item");
}

function decodeChildren(node: Node, header: Header, view: DataView, problem: Problem): void {
  if (header.bytes !== NodeHeader.size + header.count * ChildItem.size) problem("wrong length");
  if (header.count === 0) problem("an inner node without children");
  for (let i = 0; i < header.count; i++) {
    const item = ChildItem.decode(view, NodeHeader.size + i * ChildItem.size);
    const { high, low, ...reference } = item;
    if (reference.length > MAX_NODE_BYTES) problem(`child ${i} of ${reference.length} bytes`);
    pushKey(node, high, low, problem);
    node.children.push(new Slot(node.level - 1, reference, null));
  }
}

function pushKey(node: Node, high: number, low: number, problem: Problem): void {
  const last = node.highs.length - 1;
  if (last >= 0) {
    const h = node.highs[last] as number;
    if (h > high || (h === high && (node.lows[last] as number) >= low))
      problem("keys out of order");
  }
  node.highs.push(high);
  node.lows.push(low);
}
