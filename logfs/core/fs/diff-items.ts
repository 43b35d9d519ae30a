/**
 * Which items differ between two trees of one volume. Subtrees that both share, by the address of
 * their node, are passed over unread, so the cost is what changed and the way to it.
 *
 * Two cursors go through the trees in key order. Each stands before a subtree, with the lower bound
 * of its keys, or before an item. The same subtree at both is skipped; otherwise whoever is behind
 * goes on: into its subtree, or past its item, which the other tree then does not have. Bounds of
 * one shared node may differ between the trees: then one of them is entered, and its children meet.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import type { Node, Slot } from "./node.ts";
import { loaded } from "./miss.ts";
import type { Runner } from "./runner.ts";
import type { TreeAccess } from "./snapshot-volume.ts";

/** An item that one tree has and the other has not, or has otherwise. */
export interface ItemChange {
  readonly high: number;
  readonly low: number;
  readonly before: Uint8Array | null;
  readonly after: Uint8Array | null;
}

/** In key order. Rejects with what loading a node does. */
export async function* diffItems(
  before: TreeAccess,
  after: TreeAccess,
): AsyncGenerator<ItemChange> {
  const a = new Cursor(before);
  const b = new Cursor(after);
  while (!a.atEnd || !b.atEnd) {
    if (isShared(a.slot, b.slot)) {
      a.skip();
      b.skip();
      continue;
    }
    const order = compare(a, b);
    const step = stepOf(a, b, order);
    if (step === "enter both") {
      await a.enter();
      await b.enter();
    } else if (step === "enter before") await a.enter();
    else if (step === "enter after") await b.enter();
    else {
      const change = itemChange(a, b, order);
      if (order <= 0) a.skip();
      if (order >= 0) b.skip();
      if (change !== null) yield change;
    }
  }
}

type Step = "enter both" | "enter before" | "enter after" | "compare items";

/** `order`: how the keys compare, that of `a` with that of `b`. */
function stepOf(a: Cursor, b: Cursor, order: number): Step {
  const { slot: slotA } = a;
  const { slot: slotB } = b;
  if (slotA !== null && slotB !== null && order === 0 && slotA.level === slotB.level) {
    return "enter both";
  }
  if (slotA !== null && (order < 0 || (order === 0 && slotA.level >= (slotB?.level ?? 0)))) {
    return "enter before";
  }
  if (slotB !== null && order >= 0) return "enter after";
  return "compare items";
}

function isShared(a: Slot | null, b: Slot | null): boolean {
  const [one, other] = [a?.reference ?? null, b?.reference ?? null];
  if (one === null || other === null) return false;
  return (
    one.segment === other.segment && one.offset === other.offset && one.length === other.length
  );
}

function compare(a: Cursor, b: Cursor): number {
  return a.high === b.high ? Math.sign(a.low - b.low) || 0 : Math.sign(a.high - b.high);
}

/** null when both trees have the item, with the same value. */
function itemChange(a: Cursor, b: Cursor, order: number): ItemChange | null {
  const before = order <= 0 ? a.value() : null;
  const after = order >= 0 ? b.value() : null;
  if (before !== null && after !== null && equalBytes(before, after)) return null;
  const { high, low } = order <= 0 ? a : b;
  return { high, low, before, after };
}

interface Level {
  readonly node: Node;
  index: number;
}

/** A place in a tree: before a subtree, before an item, or at the end. */
class Cursor {
  /** The key of the item, or the lower bound of the subtree; Infinity at the end. */
  high = 0;
  low = 0;
  /** The subtree; null before an item and at the end. */
  slot: Slot | null;
  private readonly runner: Runner;
  /** From the root down; at most MAX_HEIGHT. */
  private readonly levels: Level[] = [];

  constructor({ tree, runner }: TreeAccess) {
    this.runner = runner;
    this.slot = tree.root;
  }

  get atEnd(): boolean {
    return this.high === Infinity;
  }

  /** Before an item. */
  value(): Uint8Array {
    const { node, index } = this.levels.at(-1) as Level;
    return node.valueAt(index);
  }

  /** Into the subtree. The node stays in memory by this reference, whatever the cache does. */
  async enter(): Promise<void> {
    const slot = this.slot as Slot;
    const node = await this.runner.run(() => loaded(slot));
    this.levels.push({ node, index: 0 });
    this.arrive();
  }

  /** Past the subtree or the item. */
  skip(): void {
    const level = this.levels.at(-1);
    if (level !== undefined) level.index++;
    this.arrive();
  }

  private arrive(): void {
    for (let top = this.levels.at(-1); top !== undefined; top = this.levels.at(-1)) {
      const { node, index } = top;
      if (index < node.highs.length) {
        this.high = node.highs[index] as number;
        this.low = node.lows[index] as number;
        this.slot = node.level === 0 ? null : (node.children[index] as Slot);
        return;
      }
      this.levels.pop();
      const above = this.levels.at(-1);
      if (above !== undefined) above.index++;
    }
    this.slot = null;
    this.high = Infinity;
    this.low = Infinity;
  }
}
