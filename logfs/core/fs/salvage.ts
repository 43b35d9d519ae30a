/**
 * What stood in tree nodes that cannot be read any more, found again in the log. Every change of an
 * item is in some `update` record, and every older version of a leaf in some `nodes` record, as long
 * as their segments are there. Gone through in order:
 * - a leaf says everything about the keys from its first to its last;
 * - an update says what it puts and deletes.
 * With the whole log that gives exactly what was lost. Where segments were cleaned away, an item that
 * was removed long ago may come back; what does not fit then, the check that follows finds.
 *
 * Memory: the items of the lost ranges.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Item } from "./api.ts";
import { NodeCache } from "./cache.ts";
import { isBefore, type Key, type KeyRange } from "./check-walk.ts";
import { loaded } from "./miss.ts";
import { MAX_NODE_BYTES, type Node, NODE_MAGIC, NodeHeader, type Slot } from "./node.ts";
import { decodeNode } from "./node-codec.ts";
import { Tree } from "./tree.ts";
import type { Change } from "./update.ts";

export class Salvage {
  /** All of it is in memory: it never misses. */
  private readonly tree: Tree;
  private readonly ranges: readonly KeyRange[];
  private items = 0;

  /** `ranges` are ascending and do not overlap. */
  constructor(ranges: readonly KeyRange[], nodeBytes: number) {
    this.ranges = ranges;
    this.tree = new Tree(new NodeCache(Infinity), nodeBytes, null);
  }

  get count(): number {
    return this.items;
  }

  /** The changes of one update record. */
  update(changes: readonly Change[]): void {
    for (const { high, low, value } of changes) {
      if (!this.isWanted({ high, low })) continue;
      if (value === null) this.remove(high, low);
      else this.put(high, low, value);
    }
  }

  /** The body part of one `nodes` record, whose checksum was right. */
  nodes(body: Uint8Array): void {
    const view = viewOf(body);
    for (let at = 0; at + NodeHeader.size <= body.length; ) {
      const head = headAt(view, at);
      // Tables of snapshots stand among the nodes, and do not say how long they are.
      if (head === null) at++;
      else {
        const leaf = head.level === 0 ? tryDecode(body.slice(at, at + head.bytes)) : null;
        if (leaf !== null) this.leaf(leaf);
        at += head.bytes;
      }
    }
  }

  /** Everything found, in key order. */
  *found(): Generator<Item> {
    yield* itemsOf(this.tree.root);
  }

  private leaf(leaf: Node): void {
    const last = leaf.highs.length - 1;
    if (last < 0) return;
    const [first, end] = [keyOf(leaf, 0), keyOf(leaf, last)];
    if (!this.ranges.some(({ from, to }) => !isBefore(end, from) && isBefore(first, to))) return;
    const present = new Set(leaf.highs.map((high, i) => `${high}/${leaf.lows[i]}`));
    const gone = [...itemsBetween(this.tree.root, first, end)].filter(
      ({ high, low }) => !present.has(`${high}/${low}`),
    );
    for (const { high, low } of gone) this.remove(high, low);
    for (let i = 0; i <= last; i++) {
      const { high, low } = keyOf(leaf, i);
      if (this.isWanted({ high, low })) this.put(high, low, leaf.valueAt(i));
    }
  }

  private put(high: number, low: number, value: Uint8Array): void {
    if (value.length > this.tree.maxValueBytes) return;
    if (this.tree.get(high, low) === undefined) this.items++;
    this.tree.put(high, low, value.slice());
  }

  private remove(high: number, low: number): void {
    if (this.tree.get(high, low) === undefined) return;
    this.items--;
    this.tree.delete(high, low);
  }

  private isWanted(key: Key): boolean {
    return this.ranges.some(({ from, to }) => !isBefore(key, from) && isBefore(key, to));
  }
}

/** null where no node starts. */
function headAt(view: DataView, at: number): { level: number; bytes: number } | null {
  if (view.getUint32(at, true) !== NODE_MAGIC) return null;
  try {
    const { level, bytes } = NodeHeader.decode(view, at);
    const fits = bytes >= NodeHeader.size && bytes <= MAX_NODE_BYTES;
    return fits && at + bytes <= view.byteLength ? { level, bytes } : null;
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}

function tryDecode(block: Uint8Array): Node | null {
  try {
    const reference = { segment: 0, offset: 0, length: block.length, checksum: crc32c(block) };
    return decodeNode(block, reference, 0);
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}

function keyOf(node: Node, index: number): Key {
  return { high: node.highs[index] as number, low: node.lows[index] as number };
}

function* itemsOf(slot: Slot): Generator<Item> {
  const node = loaded(slot);
  if (node.level > 0) {
    for (const child of node.children) yield* itemsOf(child);
    return;
  }
  for (let i = 0; i < node.highs.length; i++) yield { ...keyOf(node, i), value: node.valueAt(i) };
}

/** Items with first ≤ key ≤ last. */
function* itemsBetween(slot: Slot, first: Key, last: Key): Generator<Item> {
  const node = loaded(slot);
  for (let i = 0; i < node.highs.length; i++) {
    const key = keyOf(node, i);
    if (isBefore(last, key)) return;
    if (node.level === 0) {
      if (!isBefore(key, first)) yield { ...key, value: node.valueAt(i) };
      continue;
    }
    const isBehind = i + 1 < node.highs.length && !isBefore(first, keyOf(node, i + 1));
    if (!isBehind) yield* itemsBetween(node.children[i] as Slot, first, last);
  }
}
