/**
 * Walking a tree from its root, node by node in key order: every node's checksum and order
 * (`decodeNode`), and its keys within the bounds that the parent gives. What cannot be read is
 * handed out, too, with the range of keys that it stood for, and the walk goes on behind it.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { loaded } from "./miss.ts";
import type { Node, Slot } from "./node.ts";
import type { Runner } from "./runner.ts";

export interface Key {
  readonly high: number;
  readonly low: number;
}

/** Keys from ≤ key < to. */
export interface KeyRange {
  readonly from: Key;
  readonly to: Key;
}

export interface WalkVisitor {
  /** A node that was read, before what stands below it. */
  readonly onNode?: (slot: Slot, node: Node, range: KeyRange) => void | Promise<void>;
  /** The leaf's items are in order. */
  readonly onLeaf: (leaf: Node) => void | Promise<void>;
  /** Neither the node nor anything below it is visited. */
  readonly onUnreadable: (slot: Slot, range: KeyRange, error: Error) => void | Promise<void>;
  /** Whether to go into what stands for these keys; without it, into everything. */
  readonly isWanted?: (range: KeyRange) => boolean;
}

const EVERYTHING: KeyRange = {
  from: { high: 0, low: 0 },
  to: { high: Infinity, low: Infinity },
};

/** Depth is bounded by MAX_HEIGHT. Rejects only for bugs and for what a visitor throws. */
export async function walkTree(
  runner: Pick<Runner, "run">,
  root: Slot,
  visitor: WalkVisitor,
): Promise<void> {
  await visit(root, EVERYTHING);

  async function visit(slot: Slot, range: KeyRange): Promise<void> {
    if (visitor.isWanted?.(range) === false) return;
    const node = await load(runner, slot);
    if (node instanceof Error) return visitor.onUnreadable(slot, range, node);
    await visitor.onNode?.(slot, node, range);
    if (node.level === 0) return visitor.onLeaf(node);
    for (const [i, child] of node.children.entries()) {
      await visit(child, { from: keyAt(node, i), to: keyBehind(node, i, range) });
    }
  }
}

/** The keys that child `index` stands for end here. */
function keyBehind(node: Node, index: number, range: KeyRange): Key {
  return index + 1 < node.highs.length ? keyAt(node, index + 1) : range.to;
}

function keyAt(node: Node, index: number): Key {
  return { high: node.highs[index] as number, low: node.lows[index] as number };
}

/** All keys of the node within the range? */
export function isInside(node: Node, { from, to }: KeyRange): boolean {
  if (node.highs.length === 0) return true;
  const last = keyAt(node, node.highs.length - 1);
  return !isBefore(keyAt(node, 0), from) && isBefore(last, to);
}

export function isBefore(a: Key, b: Key): boolean {
  return a.high < b.high || (a.high === b.high && a.low < b.low);
}

async function load(runner: Pick<Runner, "run">, slot: Slot): Promise<Node | Error> {
  try {
    return await runner.run(() => loaded(slot));
  } catch (error) {
    if (isBoundaryFailure(error)) return error;
    throw error;
  }
}

/** A failure of the disk or of what stands on it; anything else is a bug, to be thrown on. */
export function isBoundaryFailure(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return error instanceof SmfsError || (error as { code?: unknown }).code !== undefined;
}
