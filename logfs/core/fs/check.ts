/**
 * fsck, read-only: is the file system at the end of this log whole?
 *
 * It believes the log alone: it rebuilds the state from a checkpoint and the records behind it, as
 * opening would, in memory of its own, and so it can run beside a mounted volume. Then it
 * 1. walks every node: checksum and order (`decodeNode`), keys within the bounds the parent gives;
 * 2. walks every item (`check-items.ts`), and with `depth: "data"` reads what they refer to;
 * 3. compares names with inodes (`check-graph.ts`), sums with counters, references with live bytes.
 * A node that cannot be read ends 3: what stands below it would only be reported as missing.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader, SegmentInfo } from "../log/api.ts";
import { NodeCache } from "./cache.ts";
import {
  type CheckTotals,
  DEFAULT_MAX_FINDINGS,
  emptyTotals,
  type Finding,
  Findings,
} from "./check-findings.ts";
import { ItemChecker, type StoredBlock } from "./check-items.ts";
import type { Node, Slot } from "./node.ts";
import { readLog } from "./reading-log.ts";
import { Replica } from "./replica.ts";
import type { VolumeState } from "./state.ts";
import { LiveBytes } from "./live-bytes.ts";
import { loaded } from "./miss.ts";
import { checkpointSequence } from "./volume-open.ts";
import { DEFAULT_LIMITS } from "./volume.ts";

export interface CheckOptions {
  /** The segments that exist (`SegmentStore.list`). */
  readonly segments: readonly SegmentInfo[];
  /** "data" also reads every stored block and verifies its checksum. */
  readonly depth: "structure" | "data";
  /** Findings kept; the rest is only counted. */
  readonly maxFindings?: number;
  /** Bytes of tree nodes kept in memory. */
  readonly cacheBytes?: number;
  /** Called after each leaf, with totals that go on growing. */
  readonly onProgress?: (totals: Readonly<CheckTotals>) => void;
}

export interface CheckReport {
  /** The state checked is that after this record. */
  readonly sequence: number;
  /** False when something could not be read, so that not everything was looked at. */
  readonly complete: boolean;
  readonly errors: number;
  readonly warnings: number;
  /** The first of them. */
  readonly findings: readonly Finding[];
  readonly totals: Readonly<CheckTotals>;
}

/** `checkpoint`: the newest one of `log`. Rejects only for bugs: what cannot be read is a finding. */
export async function checkVolume(
  log: LogReader,
  checkpoint: Address,
  options: CheckOptions,
): Promise<CheckReport> {
  const findings = new Findings(options.maxFindings ?? DEFAULT_MAX_FINDINGS);
  const totals = emptyTotals();
  const replica = await rebuild(log, checkpoint, options, findings);
  const rebuilt = findings.errors === 0;
  if (replica?.state) {
    const check = new Check(log, replica, replica.state, options, findings, totals);
    await check.run();
  }
  const { errors, warnings, list, unread } = findings;
  const sequence = replica?.appliedSequence ?? 0;
  const complete = rebuilt && unread === 0;
  return { sequence, complete, errors, warnings, findings: list, totals };
}

/** The state at the end of the log, or as far as its records can be applied. */
async function rebuild(
  log: LogReader,
  checkpoint: Address,
  { cacheBytes }: CheckOptions,
  findings: Findings,
): Promise<Replica | null> {
  const end = log.head.sequence;
  let replica: Replica | null = null;
  try {
    const first = await checkpointSequence(log, checkpoint);
    const cache = new NodeCache(cacheBytes ?? DEFAULT_LIMITS.cacheBytes);
    const made = new Replica(log, cache, first, checkpoint);
    replica = made;
    await made.catchUp(() => made.appliedSequence < end);
  } catch (error) {
    const place = replica === null ? "the checkpoint" : `record ${replica.appliedSequence + 1}`;
    findings.error(null, `${place}: ${failureText(error)}`, checkpoint);
  }
  return replica;
}

class Check {
  private readonly log: LogReader;
  private readonly replica: Replica;
  private readonly state: VolumeState;
  private readonly options: CheckOptions;
  private readonly findings: Findings;
  private readonly totals: CheckTotals;
  private readonly items: ItemChecker;
  /** Bytes of the log that the tree's own nodes take. */
  private readonly nodes = new LiveBytes();
  private lastBlock: StoredBlock | null = null;

  constructor(
    log: LogReader,
    replica: Replica,
    state: VolumeState,
    options: CheckOptions,
    findings: Findings,
    totals: CheckTotals,
  ) {
    this.log = log;
    this.replica = replica;
    this.state = state;
    this.options = options;
    this.findings = findings;
    this.totals = totals;
    this.items = new ItemChecker(findings, totals, options.segments);
  }

  async run(): Promise<void> {
    const { tree, counters } = this.state;
    await this.visit(tree.root, [0, 0], [Infinity, Infinity]);
    if (this.findings.unread > 0) return;
    this.items.finish(counters.nextInode);
    this.compareCounters();
    this.compareLive();
  }

  /** Keys below a slot are from `lower` on and before `upper`. Depth is bounded by MAX_HEIGHT. */
  private async visit(slot: Slot, lower: Key, upper: Key): Promise<void> {
    const node = await this.load(slot);
    if (node === null) return;
    this.countNode(slot, node);
    const keys = node.highs.map((high, i): Key => [high, node.lows[i] as number]);
    const [first, last] = [keys[0], keys.at(-1)];
    if (first !== undefined && last !== undefined) {
      const inside = !isBefore(first, lower) && isBefore(last, upper);
      if (!inside) this.findings.error(null, "a tree node holds keys of another", slot.reference);
    } else if (slot !== this.state.tree.root) {
      this.findings.error(null, "an empty tree node", slot.reference);
    }
    if (node.level === 0) return this.leaf(node, keys);
    for (const [i, child] of node.children.entries()) {
      await this.visit(child, keys[i] as Key, keys[i + 1] ?? upper);
    }
  }

  private async load(slot: Slot): Promise<Node | null> {
    try {
      return await this.replica.runner.run(() => loaded(slot));
    } catch (error) {
      this.findings.unread++;
      this.items.gap();
      this.findings.error(null, failureText(error), slot.reference);
      return null;
    }
  }

  private countNode(slot: Slot, node: Node): void {
    this.totals.treeNodes++;
    this.totals.treeBytes += node.bytes;
    const { reference } = slot;
    if (reference !== null) this.nodes.add(reference.segment, reference.length);
  }

  private async leaf(node: Node, keys: readonly Key[]): Promise<void> {
    for (const [i, [high, low]] of keys.entries()) {
      this.items.item(high, low, node.valueAt(i));
    }
    const { blocks } = this.items;
    this.items.blocks = [];
    if (this.options.depth === "data") for (const block of blocks) await this.verify(block);
    this.options.onProgress?.(this.totals);
  }

  /** Parts of one block are neighbours mostly: it is read once for them. */
  private async verify(block: StoredBlock): Promise<void> {
    const last = this.lastBlock;
    if (last?.segment === block.segment && last.offset === block.offset) return;
    this.lastBlock = block;
    const { inode, segment, offset, length } = block;
    this.totals.verifiedBlocks++;
    try {
      const bytes = await readLog(this.log, { segment, offset }, length);
      if (crc32c(bytes) === block.checksum) return;
      this.findings.error(inode, `${length} bytes of data: checksum differs`, { segment, offset });
    } catch (error) {
      this.findings.error(inode, failureText(error), { segment, offset });
    }
  }

  private compareCounters(): void {
    const { inodes, dataBytes } = this.state.counters;
    const counted = this.totals;
    if (inodes !== counted.inodes) {
      this.findings.warning(null, `the volume counts ${inodes} inodes, has ${counted.inodes}`);
    }
    if (dataBytes !== counted.dataBytes) {
      const text = `the volume counts ${dataBytes} bytes of data, has ${counted.dataBytes}`;
      this.findings.warning(null, text);
    }
  }

  /** Blocks that the next checkpoint replaces are alive until it does. */
  private compareLive(): void {
    const { tree, live, kept } = this.state;
    for (const { segment, length } of tree.replaced) this.nodes.add(segment, length);
    for (const { table } of kept.list) this.nodes.add(table.segment, table.length);
    const numbers = [live, this.nodes, this.items.live].flatMap(({ entries }) => entries);
    for (const segment of new Set(numbers.map((entry) => entry.segment))) {
      const used = this.nodes.of(segment) + this.items.live.of(segment);
      if (live.of(segment) === used) continue;
      const text = `segment ${segment} counts ${live.of(segment)} live bytes, has ${used}`;
      this.findings.warning(null, text);
    }
  }
}

type Key = readonly [high: number, low: number];

function isBefore(a: Key, b: Key): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}

/** A finding's text for a failed read. Anything but a boundary's error is a bug, thrown on. */
function failureText(error: unknown): string {
  if (error instanceof SmfsError) return messageOf(error);
  if ((error as { code?: unknown } | null)?.code !== undefined) return messageOf(error);
  throw error;
}
