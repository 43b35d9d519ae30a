/**
 * Snapshots' trees rewritten for what was moved: extents and long values point to the new places, and
 * nodes that stand in victims are written somewhere else. Copy on write: old nodes stay as they are
 * until the checkpoint names the new roots.
 *
 * 1. `planRewrite` loads the nodes that may change, each once, however many trees have it.
 * 2. `TreeRewriter` makes new ones, leaves first. Only values change and none becomes longer, so a node
 *    keeps its keys: what it becomes depends on nothing but the node, and stays in common.
 * 3. `finishTree`: items of shared blocks have addresses as keys. They are moved in the tree of each
 *    snapshot as a transaction would; equal nodes that come of it are written once.
 */
import { assert } from "../../../../lib/assert.ts";
import { crc32c } from "../../../../lib/crc32c.ts";
import { addressKey } from "../address-key.ts";
import type { BlockWriter } from "../block-writer.ts";
import {
  decodeExtent,
  decodeXattr,
  encodeExtent,
  type ExtentItem,
  inodeOf,
  ITEM,
  kindOf,
} from "../items.ts";
import type { Node, NodeReference, Slot } from "../node.ts";
import { decodeNode, encodeNode } from "../node-codec.ts";
import type { KnownBlocks } from "../node-writer.ts";
import { applyChanges, prepareChanges, type Relocation } from "../relocating.ts";
import {
  type AddressMap,
  type KeptPiece,
  LiveChange,
  type MovedBlock,
  movedExtent,
  movedXattr,
  segmentIn,
  sharedChanges,
} from "../relocation.ts";
import type { CleanableVolume } from "./api.ts";
import { ForestWalk, type NodeReader, type Root } from "./forest.ts";
import type { KeySpans } from "./key-ranges.ts";

interface Planned {
  readonly node: Node;
  readonly reference: NodeReference;
  readonly children: readonly (Planned | null)[];
  /** null before it was written, or found to stay. */
  outcome: Outcome | null;
}

interface Outcome {
  readonly reference: NodeReference;
  /** What the tables of trees that have it gain and lose by it, and by what stands below. */
  readonly live: LiveChange;
  /** Pieces below it of blocks that several files own: what they cover together counts once. */
  readonly shared: readonly KeptPiece[];
  readonly nodes: number;
}

export interface RewritePlan {
  readonly levels: readonly Planned[][];
  readonly roots: ReadonlyMap<string, Planned>;
}

/** Ends a walk. */
class PlanTooLarge extends Error {
  override name = "PlanTooLarge";
}

/**
 * The nodes on the ways to `spans`; null when their blocks are more than `mostBytes`. Rejects with what
 * reading the log rejects, DAMAGED.
 */
export async function planRewrite(
  reader: NodeReader,
  roots: readonly Root[],
  spans: KeySpans,
  mostBytes: number,
): Promise<RewritePlan | null> {
  const levels: Planned[][] = [];
  const tops = new Map<string, Planned>();
  let bytes = 0;
  const walk = new ForestWalk<Planned>(reader, spans, (node, reference, children) => {
    const planned: Planned = { node, reference, children, outcome: null };
    while (levels.length <= node.level) levels.push([]);
    levels[node.level]?.push(planned);
    bytes += node.bytes;
    if (bytes > mostBytes) throw new PlanTooLarge();
    return planned;
  });
  try {
    for (const root of roots) tops.set(addressKey(root.reference), await walk.walk(root));
  } catch (error) {
    if (error instanceof PlanTooLarge) return null;
    throw error;
  }
  return { levels, roots: tops };
}

export interface RewriteTarget {
  readonly map: AddressMap;
  /** Segments that are to be empty. */
  readonly victims: ReadonlySet<number>;
  readonly blocks: BlockWriter;
  readonly known: KnownBlocks;
  readonly nowSeconds: number;
}

/** Writes what changes of the plan's nodes. Throws what the log throws, `SmfsError` BUSY. */
export function rewriteNodes(plan: RewritePlan, target: RewriteTarget): void {
  const rewriter = new TreeRewriter(target);
  for (const level of plan.levels) {
    for (const planned of level) rewriter.rewrite(planned);
    target.blocks.flush();
  }
}

class TreeRewriter {
  private readonly target: RewriteTarget;

  constructor(target: RewriteTarget) {
    this.target = target;
  }

  /** Its children have their places. */
  rewrite(planned: Planned): void {
    const { node } = planned;
    const live = new LiveChange();
    const shared: KeptPiece[] = [];
    const block =
      node.level === 0 ? this.leaf(planned, live, shared) : inner(planned, live, shared);
    const nodes = planned.children.reduce((sum, child) => sum + (child?.outcome?.nodes ?? 0), 0);
    const settle = (reference: NodeReference, written: number): void => {
      planned.outcome = { reference, live, shared, nodes: nodes + written };
    };
    const isMoving = this.target.victims.has(planned.reference.segment);
    if (block === null && !isMoving) settle(planned.reference, 0);
    else this.write(planned, block ?? encodeAsIs(node), live, settle);
  }

  private write(
    { reference: old }: Planned,
    block: Uint8Array,
    live: LiveChange,
    settle: (reference: NodeReference, written: number) => void,
  ): void {
    const { blocks, known, nowSeconds } = this.target;
    const checksum = crc32c(block);
    const placed = (reference: NodeReference): void => {
      known.note(block, reference);
      live.add(old.segment, -old.length, 0);
      live.add(reference.segment, reference.length, nowSeconds);
      settle(reference, 1);
    };
    const same = known.find(block, checksum);
    if (same === null) blocks.add(block, checksum, placed);
    else placed(same);
  }

  /** The leaf's new block; null when nothing in it changes. */
  private leaf(
    { node, reference }: Planned,
    live: LiveChange,
    shared: KeptPiece[],
  ): Uint8Array | null {
    let changed: Node | null = null;
    for (const [i, high] of node.highs.entries()) {
      const value = this.moved(high, node.lows[i] as number, node.valueAt(i), live, shared);
      if (value === null) continue;
      // The node itself is in the reader's cache, and stays what it is.
      changed ??= decodeNode(blockOf(node), reference, 0);
      changed.bytes += value.length - changed.values.bytesAt(i);
      changed.values.set(i, value);
    }
    return changed === null ? null : encodeNode(changed, referenceOf).block;
  }

  /** The item's new value; null when it stays as it is. */
  private moved(
    high: number,
    low: number,
    value: Uint8Array,
    live: LiveChange,
    shared: KeptPiece[],
  ): Uint8Array | null {
    const kind = kindOf(high);
    if (kind !== ITEM.extent && kind !== ITEM.xattr) return null;
    if (!this.target.victims.has(segmentIn(value))) return null;
    if (kind === ITEM.xattr) return this.movedValue(value, live);
    const extent = decodeExtent(value);
    const moved = this.target.map.at(extent.segment, extent.offset);
    if (moved === undefined) return null;
    const { skip, length } = extent;
    const piece = { from: skip, to: skip + length };
    if (moved.isShared) shared.push({ ...piece, owner: ownerAt(high, low, extent), moved });
    else live.move(moved, [piece]);
    return encodeExtent(movedExtent(extent, moved));
  }

  private movedValue(item: Uint8Array, live: LiveChange): Uint8Array | null {
    const { value } = decodeXattr(item);
    if (value.kind === "inline") return null;
    const moved = this.target.map.at(value.segment, value.offset);
    if (moved === undefined) return null;
    live.move(moved, [{ from: 0, to: moved.block.storedBytes }]);
    return movedXattr(item, moved);
  }
}

function ownerAt(high: number, low: number, { skip }: ExtentItem) {
  return { inode: inodeOf(high), start: low - skip };
}

/** As `TreeRewriter.leaf`, of a node above the leaves. */
function inner(
  { node, children }: Planned,
  live: LiveChange,
  shared: KeptPiece[],
): Uint8Array | null {
  const moved = new Map<Slot, NodeReference>();
  for (const [i, child] of children.entries()) {
    if (child === null) continue;
    const { outcome } = child;
    assert(outcome !== null, "children are written before their parents");
    live.merge(outcome.live);
    for (const piece of outcome.shared) shared.push(piece);
    if (outcome.reference !== child.reference) {
      moved.set(node.children[i] as Slot, outcome.reference);
    }
  }
  if (moved.size === 0) return null;
  return encodeNode(node, (slot) => moved.get(slot) ?? referenceOf(slot)).block;
}

function encodeAsIs(node: Node): Uint8Array {
  return node.level === 0 ? blockOf(node) : encodeNode(node, referenceOf).block;
}

/** Of a leaf as it was read. */
function blockOf({ values, bytes }: Node): Uint8Array {
  return values.blockBytes(0, bytes);
}

function referenceOf({ reference }: Slot): NodeReference {
  assert(reference !== null, "a node that was read names where its children stand");
  return reference;
}

/** A snapshot's tree after the rewrite. */
export interface RewrittenTree {
  readonly root: NodeReference;
  readonly height: number;
  readonly live: LiveChange;
  readonly nodes: number;
}

/** null when the tree stays where it is. Rejects with what the log rejects, BUSY. */
export async function finishTree(
  volume: Pick<CleanableVolume, "treeAt">,
  relocation: Relocation,
  plan: RewritePlan,
  before: { readonly root: NodeReference; readonly height: number },
  { map, nowSeconds }: Pick<RewriteTarget, "map" | "nowSeconds">,
): Promise<RewrittenTree | null> {
  const outcome = plan.roots.get(addressKey(before.root))?.outcome;
  if (!outcome || outcome.reference === before.root) return null;
  const live = new LiveChange();
  live.merge(outcome.live);
  const { height } = before;
  const { reference: root, nodes, shared } = outcome;
  if (shared.length === 0) return { root, height, live, nodes };
  const pieces = byBlock(shared);
  for (const [moved, own] of pieces) live.move(moved, own);
  const { tree, runner } = volume.treeAt({ height, root });
  await runner.run(() => {
    const changes = sharedChanges(tree, map, pieces);
    prepareChanges(tree, changes);
    applyChanges(tree, changes);
  });
  const done = relocation.appendTree(tree);
  for (const { segment, length } of tree.replaced) live.add(segment, -length, 0);
  for (const { segment, length } of done.written) live.add(segment, length, nowSeconds);
  return { root: done.root, height: tree.height, live, nodes: nodes + done.written.length };
}

function byBlock(pieces: readonly KeptPiece[]): Map<MovedBlock, KeptPiece[]> {
  const blocks = new Map<MovedBlock, KeptPiece[]>();
  for (const piece of pieces) {
    const known = blocks.get(piece.moved);
    if (known === undefined) blocks.set(piece.moved, [piece]);
    else known.push(piece);
  }
  return blocks;
}
