/**
 * fsck, read-only: is the file system at the end of this log whole?
 *
 * It believes the log alone: it rebuilds the state from a checkpoint and the records behind it, as
 * opening would, in memory of its own, and so it can run beside a mounted volume. Then, for the
 * active tree and each snapshot's (`check-tree.ts`), it
 * 1. walks every node and every item, and compares names with inodes and sums with tables;
 * 2. with `depth: "data"` reads what they refer to, in the order of the device (`check-blocks.ts`).
 * Memory is bounded by `memoryBytes`: what does not fit is left to further walks.
 */
import { messageOf } from "../../../lib/errors.ts";
import type { Address, LogReader, SegmentInfo } from "../log/api.ts";
import { NodeCache } from "./cache.ts";
import { type BlockInUse, BlockQueue } from "./check-blocks.ts";
import {
  type CheckTotals,
  DEFAULT_MAX_FINDINGS,
  emptyTotals,
  type Finding,
  Findings,
} from "./check-findings.ts";
import { findPaths } from "./check-paths.ts";
import {
  activeTree,
  type Counted,
  TreeCheck,
  type TreeToCheck,
  snapshotTree,
} from "./check-tree.ts";
import { isBoundaryFailure } from "./check-walk.ts";
import { sharedKey } from "./items.ts";
import type { LiveBytes } from "./live-bytes.ts";
import { Replica } from "./replica.ts";
import { isSameOwner, ownersOf } from "./sharing.ts";
import type { VolumeState } from "./state.ts";
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
  /** Bytes for what is noted of inodes, and as many again for blocks to be read. */
  readonly memoryBytes?: number;
  /** Find the path of each inode that a finding is about. */
  readonly paths?: "find" | "omit";
  /** Called after each leaf and each read of data. */
  readonly onProgress?: (progress: CheckProgress) => void;
}

export interface CheckProgress {
  /** Grow while the check runs. */
  readonly totals: Readonly<CheckTotals>;
  /** Of everything that is to be looked at, as far as it is known: 0 … 1. */
  readonly share: number;
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
  /** What the active tree really holds; null when not everything was looked at. */
  readonly counted: CountedVolume | null;
}

/** What the counters and tables of the superblock should say. */
interface CountedVolume {
  readonly inodes: number;
  readonly dataBytes: number;
  readonly nextInode: number;
  readonly live: LiveBytes;
}

/** About 700,000 inodes, or 1.5 million blocks, in one walk. */
const DEFAULT_MEMORY_BYTES = 64 * 2 ** 20;

/** `checkpoint`: the newest one of `log`. Rejects only for bugs: what cannot be read is a finding. */
export async function checkVolume(
  log: LogReader,
  checkpoint: Address,
  options: CheckOptions,
): Promise<CheckReport> {
  const findings = new Findings(options.maxFindings ?? DEFAULT_MAX_FINDINGS);
  const totals = emptyTotals();
  const replica = await rebuild(log, checkpoint, options, findings);
  const wasRebuilt = findings.errors === 0;
  let counted: CountedVolume | null = null;
  if (replica?.state) {
    const check = new Check(log, replica, replica.state, options, findings, totals);
    counted = await check.run();
  }
  const { errors, warnings, list, unread } = findings;
  const sequence = replica?.appliedSequence ?? 0;
  const complete = wasRebuilt && unread === 0;
  return { sequence, complete, errors, warnings, findings: list, totals, counted };
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
    if (!isBoundaryFailure(error)) throw error;
    const place = replica === null ? "the checkpoint" : `record ${replica.appliedSequence + 1}`;
    findings.error("log", null, `${place}: ${messageOf(error)}`, { address: checkpoint });
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
  private readonly memoryBytes: number;
  private readonly expected: { readonly inodes: number; readonly dataBytes: number };

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
    this.memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY_BYTES;
    const trees = [state.counters, ...state.kept.list];
    const inodes = trees.reduce((sum, tree) => sum + tree.inodes, 0);
    // Snapshots share most of their data: each block is read once, about.
    this.expected = { inodes, dataBytes: state.counters.dataBytes };
  }

  async run(): Promise<CountedVolume | null> {
    const { state } = this;
    this.countDead();
    let blocks = this.options.depth === "data" ? new BlockQueue(this.memoryBytes) : null;
    const counted = await this.tree(activeTree(state), blocks);
    for (const snapshot of state.kept.list) {
      const tree = await snapshotTree(this.log, this.state, snapshot, this.findings);
      await this.tree(tree, blocks);
    }
    while (blocks !== null) blocks = await this.verify(blocks);
    if (this.options.paths === "find") await this.namePaths();
    if (counted === null) return null;
    const nextInode = Math.max(state.counters.nextInode, counted.lastInode + 1);
    return { ...counted, nextInode };
  }

  /** Left over is what stands before the newest checkpoint's segment and is needed by nobody. */
  private countDead(): void {
    const { needed, checkpointSegment } = this.state;
    for (const { segment, bytes } of this.options.segments) {
      if (segment >= checkpointSegment || needed.has(segment)) continue;
      this.totals.deadSegments++;
      this.totals.deadBytes += bytes;
    }
  }

  private async tree(tree: TreeToCheck, blocks: BlockQueue | null): Promise<Counted | null> {
    this.totals.trees++;
    return this.checkOf(tree, blocks).run();
  }

  private checkOf(tree: TreeToCheck, blocks: BlockQueue | null): TreeCheck {
    const { findings, totals, memoryBytes } = this;
    const { runner } = this.replica;
    const { segments } = this.options;
    const onProgress = (): void => this.progress();
    return new TreeCheck(tree, {
      runner,
      findings,
      totals,
      segments,
      memoryBytes,
      blocks,
      onProgress,
    });
  }

  /** Gives the queue of the blocks that did not fit, collected from all trees; null for none. */
  private async verify(blocks: BlockQueue): Promise<BlockQueue | null> {
    await blocks.verify(this.log, this.findings, this.totals, () => this.progress());
    for (const block of blocks.inUseByMany()) {
      if (block.tree === null) await this.checkOwners(block);
    }
    if (blocks.end.segment === Infinity) return null;
    const rest = new BlockQueue(this.memoryBytes, blocks.end);
    await this.checkOf(activeTree(this.state), null).collect(rest);
    for (const snapshot of this.state.kept.list) {
      const tree = await snapshotTree(this.log, this.state, snapshot, new Findings(0));
      await this.checkOf(tree, null).collect(rest);
    }
    return rest;
  }

  /** Whoever points into a block that others point into, too, is listed: else its bytes may be freed. */
  private async checkOwners({ segment, offset, owners }: BlockInUse): Promise<void> {
    const { tree } = this.state;
    const listed = await this.replica.runner.run(() => ownersOf(tree, segment, offset));
    const missing = owners.filter((owner) => !listed.some((one) => isSameOwner(one, owner)));
    for (const { inode } of missing) {
      const text = "has a piece of a block of several owners, and is not listed as one";
      const key = { high: sharedKey(segment), low: offset };
      this.findings.error("shared", inode, text, { address: { segment, offset }, key, owners });
    }
  }

  private progress(): void {
    const { totals, expected } = this;
    const isDeep = this.options.depth === "data";
    // A byte of data read takes as long as an inode, more or less, by 1 : 4000.
    const inodes = Math.min(totals.inodes, expected.inodes);
    const bytes = Math.min(totals.verifiedBytes, expected.dataBytes);
    const done = inodes + (isDeep ? bytes / 4096 : 0);
    const all = expected.inodes + (isDeep ? expected.dataBytes / 4096 : 0);
    this.options.onProgress?.({ totals, share: all === 0 ? 1 : Math.min(1, done / all) });
  }

  private async namePaths(): Promise<void> {
    const { list } = this.findings;
    const wanted = list.flatMap(({ inode, snapshot }) =>
      inode === null || snapshot !== null ? [] : [inode],
    );
    if (wanted.length === 0) return;
    const paths = await findPaths(this.replica.runner, this.state.tree, new Set(wanted));
    for (const finding of list) {
      const { inode, snapshot } = finding;
      if (inode !== null && snapshot === null) finding.path = paths.get(inode) ?? null;
    }
  }
}
