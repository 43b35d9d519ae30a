/**
 * The B-tree of items, as it stands in memory over the nodes of the last checkpoint.
 *
 * "Copy-on-write" is about the log: a changed node never returns to its old place. In memory a node
 * is changed where it is; its slot loses the reference, and with it all slots above. The next
 * checkpoint gives them new ones (`checkpoint.ts`), and what they replaced is free.
 *
 * Reading throws `Miss` when a node is not loaded. Changing must not: `prepare` is called for every
 * key of an operation first, then the puts are done, then the deletes. In that order no put can be
 * led to a leaf that `prepare` has not seen (a delete may empty a leaf and so move its range to a
 * neighbour). Nodes split by bytes when they pass `nodeBytes`; below a quarter of it they are joined
 * with a neighbour, and split again when that is too much for one.
 */
import { assert } from "../../../lib/assert.ts";
import type { Address } from "../log/api.ts";
import { type Item, type ItemView, MAX_VALUE_BYTES } from "./api.ts";
import type { NodeCache } from "./cache.ts";
import {
  ChildItem,
  childIndex,
  keyAt,
  LeafItem,
  lowerBound,
  Node,
  type NodeHead,
  NodeHeader,
  type NodeReference,
  itemsBytes,
  moveItems,
  Slot,
  splitIndex,
} from "./node.ts";
import { loaded } from "./miss.ts";

/** A leaf with the bounds its keys have by its place in the tree: lower ≤ key < upper. */
interface Fenced {
  leaf: Node;
  lowerHigh: number;
  lowerLow: number;
  upperHigh: number;
  upperLow: number;
}

export class Tree implements ItemView {
  root: Slot;
  /** Encoded size of the nodes that are not in the log yet. */
  dirtyBytes = 0;
  /** Blocks of the last checkpoint that the next one no longer refers to. */
  replaced: NodeReference[] = [];
  /** Blocks of leaves that were written since then, ahead of the next one (`leaf-sweep.ts`). */
  ahead: NodeReference[] = [];
  readonly cache: NodeCache;
  readonly nodeBytes: number;
  readonly maxValueBytes: number;
  private readonly minBytes: number;
  /** Slots from the root to the leaf of the change under way, and each one's index in its parent. */
  private readonly path: Slot[] = [];
  private readonly indexes: number[] = [];

  /** `root` null: an empty tree. `nodeBytes`: largest encoded size of a node. */
  constructor(cache: NodeCache, nodeBytes: number, root: Slot | null) {
    this.cache = cache;
    this.nodeBytes = nodeBytes;
    this.minBytes = Math.floor(nodeBytes / 4);
    // A node that is too big by one item must split into two that fit: an item takes at most a third.
    const third = Math.floor(nodeBytes / 3) - NodeHeader.size - LeafItem.size;
    this.maxValueBytes = Math.min(MAX_VALUE_BYTES, third);
    assert(this.maxValueBytes > 0, "nodes must hold three items");
    this.root = root ?? this.emptyRoot();
  }

  /** Levels of nodes; 1 when the root is a leaf. */
  get height(): number {
    return this.root.level + 1;
  }

  /** Another tree in this one's place, nothing of it changed yet. The cache must have been cleared. */
  switchTo(root: Slot): void {
    this.root = root;
    this.dirtyBytes = 0;
    this.replaced = [];
    this.ahead = [];
  }

  get(high: number, low: number): Uint8Array | undefined {
    const leaf = this.leafOf(high, low);
    const at = lowerBound(leaf, high, low);
    return keyAt(leaf, at, high, low) ? leaf.valueAt(at) : undefined;
  }

  floor(high: number, low: number): Item | undefined {
    let key = low;
    for (;;) {
      const { leaf, lowerHigh, lowerLow } = this.fencedLeafOf(high, key);
      const at = lowerBound(leaf, high, key);
      const found = keyAt(leaf, at, high, key) ? at : at - 1;
      if (found >= 0) return itemAt(leaf, found, high);
      if (lowerHigh < high || lowerLow === 0) return undefined;
      key = lowerLow - 1;
    }
  }

  scan(
    high: number,
    from: number,
    to: number,
    visit: (low: number, value: Uint8Array) => boolean,
  ): void {
    let start = from;
    for (;;) {
      const { leaf, upperHigh, upperLow } = this.fencedLeafOf(high, start);
      for (let i = lowerBound(leaf, high, start); i < leaf.highs.length; i++) {
        const low = leaf.lows[i] as number;
        if (leaf.highs[i] !== high || low >= to) return;
        if (!visit(low, leaf.valueAt(i))) return;
      }
      if (upperHigh !== high || upperLow >= to) return;
      start = upperLow;
    }
  }

  /**
   * Makes sure that `put` (or with `removes` true `delete`) of this key finds all it needs in memory;
   * tells whether the key is there. Throws `Miss`. A delete that leaves little behind needs a neighbour too.
   */
  prepare(high: number, low: number, removes: boolean): boolean {
    let parent: Node | null = null;
    let index = 0;
    let node = loaded(this.root);
    while (node.level > 0) {
      parent = node;
      index = childIndex(node, high, low);
      node = loaded(node.children[index] as Slot);
    }
    const at = lowerBound(node, high, low);
    const found = keyAt(node, at, high, low);
    if (found && removes && parent !== null && parent.children.length > 1) {
      const left = node.bytes - LeafItem.size - node.values.bytesAt(at);
      if (left < this.minBytes) loaded(parent.children[index === 0 ? 1 : index - 1] as Slot);
    }
    return found;
  }

  /** `value` is copied. */
  put(high: number, low: number, value: Uint8Array): void {
    assert(value.length <= this.maxValueBytes, `a value of ${value.length} bytes`);
    const leaf = this.openLeaf(high, low);
    const at = lowerBound(leaf, high, low);
    if (keyAt(leaf, at, high, low)) {
      this.resize(leaf, value.length - leaf.values.bytesAt(at));
      leaf.values.set(at, value);
    } else {
      leaf.highs.splice(at, 0, high);
      leaf.lows.splice(at, 0, low);
      leaf.values.insert(at, value);
      this.resize(leaf, LeafItem.size + value.length);
    }
    if (leaf.bytes > this.nodeBytes) this.splitPath();
    else if (leaf.bytes < this.minBytes) this.rebalancePath();
  }

  /** The key is there. */
  delete(high: number, low: number): void {
    const leaf = this.openLeaf(high, low);
    const at = lowerBound(leaf, high, low);
    assert(keyAt(leaf, at, high, low), "a delete names an item that is there");
    this.resize(leaf, -LeafItem.size - leaf.values.bytesAt(at));
    leaf.highs.splice(at, 1);
    leaf.lows.splice(at, 1);
    leaf.values.remove(at);
    if (leaf.bytes < this.minBytes) this.rebalancePath();
  }

  /**
   * Makes a node dirty, and with it what is above it, when its block is the one at `at`: the next
   * checkpoint writes it somewhere else. Gives whether it is. Throws `Miss`.
   */
  touch(at: Address, { level, high, low }: NodeHead): boolean {
    const above: Slot[] = [];
    let slot = this.root;
    while (slot.level > level) {
      const node = loaded(slot);
      above.push(slot);
      slot = node.children[childIndex(node, high, low)] as Slot;
    }
    const { reference } = slot;
    const isThere = reference?.segment === at.segment && reference.offset === at.offset;
    if (!isThere || slot.level !== level) return false;
    loaded(slot);
    for (const one of above) this.makeDirty(one);
    this.makeDirty(slot);
    return true;
  }

  /** A dirty leaf is in the log now. */
  wroteAhead(slot: Slot, reference: NodeReference): void {
    slot.reference = reference;
    this.ahead.push(reference);
    this.dirtyBytes -= reference.length;
  }

  private leafOf(high: number, low: number): Node {
    let node = loaded(this.root);
    while (node.level > 0) {
      node = loaded(node.children[childIndex(node, high, low)] as Slot);
    }
    return node;
  }

  private fencedLeafOf(high: number, low: number): Fenced {
    const leaf = loaded(this.root);
    const fenced = { leaf, lowerHigh: 0, lowerLow: 0, upperHigh: Infinity, upperLow: Infinity };
    while (fenced.leaf.level > 0) {
      const { highs, lows, children } = fenced.leaf;
      const index = childIndex(fenced.leaf, high, low);
      if (index > 0) {
        fenced.lowerHigh = highs[index] as number;
        fenced.lowerLow = lows[index] as number;
      }
      fenced.upperHigh = highs[index + 1] ?? fenced.upperHigh;
      fenced.upperLow = lows[index + 1] ?? fenced.upperLow;
      fenced.leaf = loaded(children[index] as Slot);
    }
    return fenced;
  }

  /** The leaf of a key with everything on the way to it made dirty and noted in `path`. */
  private openLeaf(high: number, low: number): Node {
    this.path.length = 0;
    this.indexes.length = 0;
    let slot = this.root;
    let index = 0;
    for (;;) {
      const node = loaded(slot);
      this.makeDirty(slot);
      this.path.push(slot);
      this.indexes.push(index);
      if (node.level === 0) return node;
      index = childIndex(node, high, low);
      slot = node.children[index] as Slot;
    }
  }

  private makeDirty(slot: Slot): void {
    if (slot.reference === null) return;
    this.cache.discharge(slot);
    this.replaced.push(slot.reference);
    slot.reference = null;
    this.dirtyBytes += loaded(slot).bytes;
  }

  /** `node` is dirty, and its encoded size changes. */
  private resize(node: Node, deltaBytes: number): void {
    node.bytes += deltaBytes;
    this.dirtyBytes += deltaBytes;
  }

  private splitPath(): void {
    for (let depth = this.path.length - 1; depth >= 0; depth--) {
      const node = loaded(this.path[depth] as Slot);
      if (node.bytes <= this.nodeBytes) return;
      const right = this.splitNode(node);
      const parent = depth === 0 ? this.raiseRoot() : loaded(this.path[depth - 1] as Slot);
      this.insertChild(parent, (this.indexes[depth] as number) + 1, right);
    }
  }

  /** Moves the upper half of a node, by bytes, to a new one. */
  private splitNode(node: Node): Slot {
    const at = splitIndex(node);
    const right = new Node(node.level);
    moveItems(node, at, right);
    right.bytes += itemsBytes(right, 0, right.highs.length);
    node.bytes -= right.bytes - NodeHeader.size;
    this.dirtyBytes += NodeHeader.size;
    return new Slot(node.level, null, right);
  }

  private insertChild(parent: Node, index: number, child: Slot): void {
    const first = loaded(child);
    parent.highs.splice(index, 0, first.highs[0] as number);
    parent.lows.splice(index, 0, first.lows[0] as number);
    parent.children.splice(index, 0, child);
    this.resize(parent, ChildItem.size);
  }

  private raiseRoot(): Node {
    const node = new Node(this.root.level + 1);
    node.highs.push(0);
    node.lows.push(0);
    node.children.push(this.root);
    this.root = new Slot(node.level, null, node);
    this.dirtyBytes += NodeHeader.size;
    this.resize(node, ChildItem.size);
    return node;
  }

  /** Joins what has become small with a neighbour that is in memory, from the leaf up. */
  private rebalancePath(): void {
    for (let depth = this.path.length - 1; depth > 0; depth--) {
      const node = loaded(this.path[depth] as Slot);
      if (node.bytes >= this.minBytes) break;
      const parent = loaded(this.path[depth - 1] as Slot);
      const index = this.indexes[depth] as number;
      if (node.highs.length === 0) this.removeChild(parent, index);
      else if (isLoaded(parent.children[index - 1])) this.join(parent, index - 1);
      else if (isLoaded(parent.children[index + 1])) this.join(parent, index);
      else break;
    }
    this.lowerRoot();
  }

  /** Children `index` and the next become one, or two of about equal size. */
  private join(parent: Node, index: number): void {
    const left = parent.children[index] as Slot;
    const right = parent.children[index + 1] as Slot;
    this.makeDirty(left);
    this.makeDirty(right);
    const [into, from] = [loaded(left), loaded(right)];
    const moved = from.bytes - NodeHeader.size;
    moveItems(from, 0, into);
    this.removeChild(parent, index + 1);
    this.resize(into, moved);
    if (into.bytes > this.nodeBytes) this.insertChild(parent, index + 1, this.splitNode(into));
  }

  /** The range of a removed child goes to the one before it, or the first one's to the next. */
  private removeChild(parent: Node, index: number): void {
    const [child] = parent.children.splice(index, 1);
    const bound = index === 0 && parent.children.length > 0 ? 1 : index;
    parent.highs.splice(bound, 1);
    parent.lows.splice(bound, 1);
    this.resize(parent, -ChildItem.size);
    this.dirtyBytes -= loaded(child as Slot).bytes;
  }

  private lowerRoot(): void {
    for (let node = this.root.node; node !== null && node.level > 0; node = this.root.node) {
      if (node.children.length > 1) return;
      this.makeDirty(this.root);
      this.dirtyBytes -= node.bytes;
      this.root = node.children[0] ?? this.emptyRoot();
    }
  }

  private emptyRoot(): Slot {
    const node = new Node(0);
    this.dirtyBytes += node.bytes;
    return new Slot(0, null, node);
  }
}

function isLoaded(slot: Slot | undefined): boolean {
  return slot !== undefined && slot.node !== null;
}

function itemAt(leaf: Node, index: number, high: number): Item | undefined {
  if (leaf.highs[index] !== high) return undefined;
  return { high, low: leaf.lows[index] as number, value: leaf.valueAt(index) };
}
