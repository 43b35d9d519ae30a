/**
 * Checking one tree: the active one, or a snapshot's. The first walk looks at everything; further
 * ones, when memory is short, only at the names and inodes that did not fit (`check-table.ts`).
 */
import { FsError, messageOf, SmfsError } from "../../../lib/errors.ts";
import type { LogReader, SegmentInfo } from "../log/api.ts";
import type { BlockQueue, StoredBlock } from "./check-blocks.ts";
import type { CheckTotals, Findings } from "./check-findings.ts";
import { Graph } from "./check-graph.ts";
import { ItemChecker } from "./check-items.ts";
import { SharedBlocks } from "./check-shared.ts";
import { MARK } from "./check-table.ts";
import { isBoundaryFailure, isInside, type KeyRange, walkTree } from "./check-walk.ts";
import {
  BLOCK_BYTES,
  decodeEntry,
  decodeExtent,
  decodeInode,
  decodeXattr,
  inodeOf,
  ITEM,
  keyOf,
  kindOf,
  ORPHANS,
  TRUNCATIONS,
} from "./items.ts";
import { loadTable } from "./kept.ts";
import { LiveBytes } from "./live-bytes.ts";
import { type Node, type NodeReference, Slot } from "./node.ts";
import type { Runner } from "./runner.ts";
import type { Snapshot } from "./snapshot.ts";
import type { VolumeCounters, VolumeState } from "./state.ts";
import { Tree } from "./tree.ts";

export interface TreeToCheck {
  /** A snapshot's; null: the active tree. */
  readonly name: string | null;
  readonly tree: Tree;
  readonly counters: Readonly<VolumeCounters>;
  /** Its table; null when it cannot be read. */
  readonly live: LiveBytes | null;
  /** Blocks that its table counts and that are no part of the tree. */
  readonly others: readonly Pick<NodeReference, "segment" | "length">[];
}

/** Blocks that the next checkpoint replaces are alive until it does, as the snapshots' tables are. */
export function activeTree({ tree, counters, live, kept }: VolumeState): TreeToCheck {
  const others = [...tree.replaced, ...kept.list.map(({ table }) => table)];
  return { name: null, tree, counters, live, others };
}

export async function snapshotTree(
  log: Pick<LogReader, "read">,
  state: VolumeState,
  snapshot: Snapshot,
  findings: Findings,
): Promise<TreeToCheck> {
  const { name, root, height, nextInode, inodes, dataBytes, table } = snapshot;
  const tree = new Tree(state.cache, state.tree.nodeBytes, new Slot(height - 1, root, null));
  const counters = { nextInode, inodes, dataBytes };
  try {
    return { name, tree, counters, live: await loadTable(log, snapshot), others: [] };
  } catch (error) {
    if (!isBoundaryFailure(error)) throw error;
    findings.snapshot = name;
    findings.error("live-bytes", null, messageOf(error), { address: table });
    findings.snapshot = null;
    return { name, tree, counters, live: null, others: [] };
  }
}

export interface TreeCheckContext {
  readonly runner: Runner;
  readonly findings: Findings;
  readonly totals: CheckTotals;
  readonly segments: readonly SegmentInfo[];
  /** For the table of inodes. */
  readonly memoryBytes: number;
  /** Collects what is to be read; null: nothing is. */
  readonly blocks: BlockQueue | null;
  readonly onProgress: () => void;
}

/** What the tree holds, by its items. */
export interface Counted {
  readonly inodes: number;
  readonly dataBytes: number;
  readonly lastInode: number;
  /** Without blocks that the next checkpoint replaces. */
  readonly live: LiveBytes;
}

export class TreeCheck {
  private readonly subject: TreeToCheck;
  private readonly context: TreeCheckContext;
  private readonly items: ItemChecker;
  private readonly shared: SharedBlocks;
  /** Bytes of the log that the tree's own nodes take. */
  private readonly nodes = new LiveBytes();
  private readonly inodesBefore: number;
  private readonly dataBytesBefore: number;

  constructor(subject: TreeToCheck, context: TreeCheckContext) {
    this.subject = subject;
    this.context = context;
    const { findings, totals, segments } = context;
    this.items = new ItemChecker(findings, totals, segments);
    this.shared = new SharedBlocks(context.runner, subject.tree, findings);
    this.inodesBefore = totals.inodes;
    this.dataBytesBefore = totals.dataBytes;
  }

  /** null when something could not be read: what stands below it would only be reported as missing. */
  async run(): Promise<Counted | null> {
    const { findings, blocks } = this.context;
    const { name } = this.subject;
    findings.snapshot = name;
    blocks?.startTree(name);
    const unreadBefore = findings.unread;
    const graph = await this.checkItems();
    const isWhole = findings.unread === unreadBefore;
    if (isWhole) await this.checkNames(graph);
    const counted = isWhole ? this.count() : null;
    if (counted !== null) this.compare(counted);
    findings.snapshot = null;
    return counted;
  }

  /** Only collects the blocks to be read. */
  async collect(blocks: BlockQueue): Promise<void> {
    blocks.startTree(this.subject.name);
    await this.walkAgain((leaf) => this.noteBlocks(leaf, blocks));
  }

  private async checkItems(): Promise<Graph> {
    const { runner, findings, memoryBytes, totals, blocks, onProgress } = this.context;
    const graph = new Graph(findings, 1, memoryBytes);
    totals.passes++;
    await walkTree(runner, this.subject.tree.root, {
      onNode: (slot, node, range) => this.checkNode(slot, node, range),
      onLeaf: async (leaf) => {
        for (const [i, high] of leaf.highs.entries()) {
          this.items.item(high, leaf.lows[i] as number, leaf.valueAt(i));
        }
        noteNames(leaf, graph);
        if (blocks !== null) this.noteBlocks(leaf, blocks);
        await this.shared.check(leaf);
        onProgress();
      },
      onUnreadable: (slot, range, error) => this.unreadable(slot, range, error),
    });
    this.items.finish();
    return graph;
  }

  private async checkNames(first: Graph): Promise<void> {
    const { findings, memoryBytes } = this.context;
    const { nextInode } = this.subject.counters;
    await first.finish(nextInode, (inode) => this.parentOf(inode));
    let { end } = first.table;
    while (end < Infinity) {
      const graph = new Graph(findings, end, memoryBytes);
      await this.walkAgain((leaf) => noteNames(leaf, graph));
      await graph.finish(nextInode, (inode) => this.parentOf(inode));
      end = graph.table.end;
    }
  }

  /** Everything can be read, or that was reported. */
  private async walkAgain(onLeaf: (leaf: Node) => void): Promise<void> {
    const { runner, totals } = this.context;
    totals.passes++;
    await walkTree(runner, this.subject.tree.root, { onLeaf, onUnreadable: () => {} });
  }

  private checkNode(slot: Slot, node: Node, range: KeyRange): void {
    const { totals, findings } = this.context;
    const { reference } = slot;
    totals.treeNodes++;
    totals.treeBytes += node.bytes;
    if (reference !== null) this.nodes.add(reference.segment, reference.length);
    if (!isInside(node, range)) {
      findings.error("node", null, "a tree node holds keys of another", { address: reference });
    } else if (node.highs.length === 0 && slot !== this.subject.tree.root) {
      findings.error("node", null, "an empty tree node", { address: reference });
    }
  }

  private unreadable({ reference }: Slot, _range: KeyRange, error: Error): void {
    this.context.findings.unread++;
    this.items.gap();
    this.context.findings.error("node", null, messageOf(error), { address: reference });
  }

  private async parentOf(inode: number): Promise<number | null> {
    const { tree } = this.subject;
    try {
      return await this.context.runner.run(() => {
        const value = tree.get(keyOf(inode, ITEM.attributes), 0);
        return value === undefined ? null : decodeInode(value).parent;
      });
    } catch (error) {
      if (isBoundaryFailure(error)) return null;
      throw error;
    }
  }

  private count(): Counted {
    const live = this.items.live.copy();
    for (const { segment, bytes } of this.nodes.entries) live.add(segment, bytes);
    for (const { segment, bytes } of this.shared.countedTwice.entries) live.add(segment, -bytes);
    const { inodes, dataBytes } = this.context.totals;
    return {
      inodes: inodes - this.inodesBefore,
      dataBytes: dataBytes - this.dataBytesBefore,
      lastInode: this.items.lastInode,
      live,
    };
  }

  private compare({ inodes, dataBytes, live }: Counted): void {
    const { findings } = this.context;
    const { counters, others, live: table } = this.subject;
    if (counters.inodes !== inodes) {
      findings.warning(
        "counters",
        null,
        `the volume counts ${counters.inodes} inodes, has ${inodes}`,
      );
    }
    if (counters.dataBytes !== dataBytes) {
      const text = `the volume counts ${counters.dataBytes} bytes of data, has ${dataBytes}`;
      findings.warning("counters", null, text);
    }
    if (table === null) return;
    const used = live.copy();
    for (const { segment, length } of others) used.add(segment, length);
    compareLive(table, used, findings);
  }

  /** What is not there was reported when it was referred to. */
  private noteBlocks(leaf: Node, blocks: BlockQueue): void {
    for (const block of blocksOf(leaf)) if (this.items.isThere(block)) blocks.add(block);
  }
}

/** A segment that counts too little may be dropped while it is needed; too much is only waste. */
function compareLive(table: LiveBytes, used: LiveBytes, findings: Findings): void {
  const numbers = [...table.entries, ...used.entries].map(({ segment }) => segment);
  for (const segment of new Set(numbers)) {
    const [says, has] = [table.of(segment), used.of(segment)];
    const text = `segment ${segment} counts ${says} live bytes, has ${has}`;
    const details = { address: { segment, offset: 0 } };
    if (says < has) findings.error("live-bytes", null, text, details);
    else if (says > has) findings.warning("live-bytes", null, text, details);
  }
}

function noteNames(leaf: Node, graph: Graph): void {
  for (const [i, high] of leaf.highs.entries()) {
    const low = leaf.lows[i] as number;
    if (high === ORPHANS) graph.mark(low, MARK.orphan);
    else if (high === TRUNCATIONS) graph.mark(low, MARK.truncation);
    else if (kindOf(high) === ITEM.attributes && low === 0) {
      const item = decoded(() => decodeInode(leaf.valueAt(i)));
      if (item !== null) graph.inode(inodeOf(high), item);
    } else if (kindOf(high) === ITEM.entry) {
      const entry = decoded(() => decodeEntry(leaf.valueAt(i)));
      if (entry !== null) graph.entry(inodeOf(high), entry.inode, entry.type);
    }
  }
}

function* blocksOf(leaf: Node): Generator<StoredBlock> {
  for (const [i, high] of leaf.highs.entries()) {
    const inode = inodeOf(high);
    if (kindOf(high) === ITEM.extent) {
      const extent = decoded(() => decodeExtent(leaf.valueAt(i)));
      if (extent === null || extent.storedBytes > BLOCK_BYTES) continue;
      const { segment, offset, storedBytes: length, checksum, length: fileBytes, skip } = extent;
      const fileOffset = leaf.lows[i] as number;
      yield { segment, offset, length, checksum, inode, fileOffset, fileBytes, skip };
    } else if (kindOf(high) === ITEM.xattr) {
      const value = decoded(() => decodeXattr(leaf.valueAt(i)))?.value;
      if (value?.kind === "located")
        yield { ...value, inode, fileOffset: 0, fileBytes: 0, skip: 0 };
    }
  }
}

/** null for what cannot be decoded: `ItemChecker` has said so. */
function decoded<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    if (error instanceof SmfsError || error instanceof FsError) return null;
    throw error;
  }
}
