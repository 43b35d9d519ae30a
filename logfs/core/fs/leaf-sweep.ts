/**
 * Writing dirty leaves ahead of a checkpoint, some at a time between operations, in the order of
 * their keys: the checkpoint itself is one step, and then finds little left to write.
 *
 * A leaf that was written ahead is clean below a parent that stays dirty; the next checkpoint names
 * it. Until then it is no part of what is on disk: a crash leaves dead bytes. When it changes again
 * first, its block is one that the checkpoint no longer refers to, like any other (`Tree.replaced`).
 */
import type { LogWriter } from "../log/api.ts";
import { BlockWriter } from "./block-writer.ts";
import { childIndex, type Node, type Slot } from "./node.ts";
import { encodeNode, rebaseLeaf } from "./node-codec.ts";
import type { VolumeState } from "./state.ts";

/** A leaf's place, and the lower bound of the keys behind it; null when it is the last. */
interface Found {
  readonly slot: Slot;
  readonly node: Node;
  readonly next: Bound | null;
}

interface Bound {
  readonly high: number;
  readonly low: number;
}

export class LeafSweep {
  private next: Bound | null = { high: 0, low: 0 };

  /** Everything has been passed once. */
  get done(): boolean {
    return this.next === null;
  }

  /** Writes about `budgetBytes` of dirty leaves. Throws what the log throws. */
  step(log: LogWriter, state: VolumeState, budgetBytes: number): void {
    const blocks = new BlockWriter(log);
    let bytes = 0;
    while (this.next !== null && bytes < budgetBytes) {
      const found = findDirtyLeaf(state.tree.root, this.next, null);
      if (found !== null) bytes += writeAhead(blocks, state, found);
      this.next = found === null ? null : found.next;
    }
    blocks.flush();
    state.cache.trim();
  }
}

function writeAhead(blocks: BlockWriter, state: VolumeState, { slot, node }: Found): number {
  const { block, checksum } = encodeNode(node, neverAsked);
  blocks.add(block, checksum, (reference) => {
    state.tree.wroteAhead(slot, reference);
    rebaseLeaf(node, block);
    state.cache.charge(slot);
  });
  return block.length;
}

/** A leaf has no children. */
function neverAsked(): never {
  throw new Error("a leaf has no children");
}

/** The first dirty leaf whose keys are not all below `from`. Only what is dirty is looked at. */
function findDirtyLeaf(slot: Slot, from: Bound, upper: Bound | null): Found | null {
  const { node, reference } = slot;
  if (reference !== null || node === null) return null;
  if (node.level === 0) return { slot, node, next: upper };
  for (let i = childIndex(node, from.high, from.low); i < node.children.length; i++) {
    const child = node.children[i] as Slot;
    const found = findDirtyLeaf(child, from, boundBehind(node, i) ?? upper);
    if (found !== null) return found;
  }
  return null;
}

function boundBehind(node: Node, index: number): Bound | null {
  const high = node.highs[index + 1];
  const low = node.lows[index + 1];
  return high === undefined || low === undefined ? null : { high, low };
}
