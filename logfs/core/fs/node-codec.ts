/**
 * Nodes as blocks: what a checkpoint writes and a miss reads. Layouts in `node.ts`.
 *
 * The block's CRC-32C stands in the reference to it, so that a reference vouches for what it names
 * (Merkle, 1987): a stale or misdirected block is found out like a damaged one.
 */
import { type Infer, viewOf } from "../../../lib/codec.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { MAX_VALUE_BYTES } from "./api.ts";
import {
  ChildItem,
  LeafItem,
  MAX_NODE_BYTES,
  Node,
  NODE_MAGIC,
  NodeHeader,
  type NodeHead,
  type NodeReference,
  Slot,
} from "./node.ts";

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

/**
 * Items that stand one behind the other in the node's old block are copied as they are: a leaf with
 * one change among hundreds of items costs little more than its bytes.
 */
function encodeItems(node: Node, block: Uint8Array, view: DataView): void {
  let at = NodeHeader.size;
  for (let i = 0; i < node.highs.length; ) {
    const run = unchangedRun(node, i);
    if (run === null) at = encodeItem(node, i++, block, view, at);
    else {
      block.set(node.values.blockBytes(run.start, run.end), at);
      at += run.end - run.start;
      i = run.next;
    }
  }
}

/** The longest run of items from `index` on whose bytes are one piece of the old block. */
function unchangedRun(
  node: Node,
  index: number,
): { start: number; end: number; next: number } | null {
  const { values } = node;
  const first = values.blockStartOf(index);
  if (first === null) return null;
  const start = first - LeafItem.size;
  let end = first + values.bytesAt(index);
  let next = index + 1;
  for (; values.blockStartOf(next) === end + LeafItem.size; next++) {
    end += LeafItem.size + values.bytesAt(next);
  }
  return { start, end, next };
}

function encodeItem(
  node: Node,
  index: number,
  block: Uint8Array,
  view: DataView,
  at: number,
): number {
  const value = node.valueAt(index);
  LeafItem.encode(view, at, {
    high: node.highs[index] as number,
    low: node.lows[index] as number,
    valueBytes: value.length,
  });
  block.set(value, at + LeafItem.size);
  return at + LeafItem.size + value.length;
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
  if (level === 0) node.values.standIn(block);
  if (level === 0) decodeItems(node, header, block, view, problem);
  else decodeChildren(node, header, view, problem);
  node.bytes = block.length;
  return node;
}

/**
 * The head of a block, not verified: for finding out whether a tree still has the node. `start` has
 * its header and first item, or all of it when that is shorter; null when it is no node.
 */
export function readNodeHead(start: Uint8Array): (NodeHead & { readonly bytes: number }) | null {
  const view = viewOf(start);
  if (start.length < NodeHeader.size || view.getUint32(0, true) !== NODE_MAGIC) return null;
  const { level, count, bytes } = NodeHeader.decode(view, 0);
  if (bytes < NodeHeader.size) return null;
  if (count === 0) return { level, bytes, high: 0, low: 0 };
  // The keys stand first in a child's item too.
  const { high, low } = LeafItem.decode(view, NodeHeader.size);
  return { level, bytes, high, low };
}

/** A leaf that was just encoded as `block` keeps its values there: they need no memory of their own. */
export function rebaseLeaf({ values }: Node, block: Uint8Array): void {
  const lengths = Array.from({ length: values.length }, (_, i) => values.bytesAt(i));
  values.standIn(block);
  let at = NodeHeader.size;
  for (const length of lengths) {
    values.add(at + LeafItem.size, length);
    at += LeafItem.size + length;
  }
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
    node.values.add(at, valueBytes);
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
