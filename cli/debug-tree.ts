/** The tree of a file system in words, node by node, as a checkpoint left it. */
import { messageOf, SmfsError } from "../lib/errors.ts";
import { NodeCache } from "../logfs/core/fs/cache.ts";
import { type KeyRange, walkTree } from "../logfs/core/fs/check-walk.ts";
import { inodeOf } from "../logfs/core/fs/items.ts";
import { type Node, type NodeReference, Slot } from "../logfs/core/fs/node.ts";
import { newestCheckpoint, readerOf } from "../logfs/core/fs/repair-tree.ts";
import { RepairReport } from "../logfs/core/fs/repair-report.ts";
import { Runner } from "../logfs/core/fs/runner.ts";
import { summarizeLog } from "../logfs/core/log/mend.ts";
import { describeItem, textOf } from "./debug-items.ts";
import type { OfflineStore } from "./offline.ts";
import type { Output } from "./output.ts";

export interface TreeRequest {
  readonly inode?: number;
  readonly at?: number;
  readonly snapshot?: string;
}

const CACHE_BYTES = 16 * 2 ** 20;

/** Throws `SmfsError` NOT_FOUND when there is no such checkpoint or snapshot. */
export async function describeTree(
  { files, placement }: OfflineStore,
  request: TreeRequest,
  output: Output,
): Promise<void> {
  const { root, height, sequence } = rootOf(files, placement.id, request);
  const runner = new Runner(readerOf(files), new NodeCache(CACHE_BYTES));
  const text = `tree of height ${height} at #${sequence}`;
  await output.print({ text, fields: { type: "tree", height, sequence, root } });
  await walkTree(runner, new Slot(height - 1, root, null), {
    onNode: ({ reference }, node) => printNode(reference, node, request, output),
    onLeaf: (leaf) => printItems(leaf, request, output),
    onUnreadable: ({ reference, level }, range, error) => {
      if (!isAbout(range, request)) return;
      const message = messageOf(error);
      const fields = { type: "damage", reference, level, range, problem: message };
      return output.print({ text: `DAMAGED: ${message}`, fields });
    },
    isWanted: (range) => !output.isClosed && isAbout(range, request),
  });
}

interface FoundRoot {
  readonly root: NodeReference;
  readonly height: number;
  readonly sequence: number;
}

function rootOf(
  files: OfflineStore["files"],
  logId: Uint8Array,
  { at = Infinity, snapshot }: TreeRequest,
): FoundRoot {
  const summary = summarizeLog(files, logId);
  const checkpoints = summary.checkpoints.filter(({ sequence }) => sequence <= at);
  if (checkpoints.length === 0) throw new SmfsError("NOT_FOUND", "there is no checkpoint then");
  const found = newestCheckpoint(files, { ...summary, checkpoints }, new RepairReport(() => {}));
  if (snapshot === undefined) return { ...found.checkpoint, sequence: found.at.sequence };
  const one = found.checkpoint.snapshots.find(({ name }) => name === snapshot);
  if (one === undefined) throw new SmfsError("NOT_FOUND", `there is no snapshot ${snapshot}`);
  return one;
}

function isAbout({ from, to }: KeyRange, { inode }: TreeRequest): boolean {
  return inode === undefined || (inodeOf(from.high) <= inode && inode <= inodeOf(to.high));
}

function printNode(
  reference: NodeReference | null,
  node: Node,
  { inode }: TreeRequest,
  output: Output,
): Promise<void> | undefined {
  if (inode !== undefined || reference === null) return undefined;
  const { level } = node;
  const count = node.highs.length;
  const where = `${reference.segment}:${reference.offset}, ${reference.length} bytes`;
  const kind = level === 0 ? `leaf of ${count} items` : `node of level ${level}, ${count} children`;
  return output.print({
    text: `${kind} at ${where}`,
    fields: { type: "node", level, count, ...reference },
  });
}

async function printItems(leaf: Node, { inode }: TreeRequest, output: Output): Promise<void> {
  for (const [i, high] of leaf.highs.entries()) {
    if (output.isClosed) return;
    if (inode !== undefined && inodeOf(high) !== inode) continue;
    const item = describeItem(high, leaf.lows[i] as number, leaf.valueAt(i));
    await output.print({ text: `  ${textOf(item)}`, fields: { type: "item", ...item } });
  }
}
