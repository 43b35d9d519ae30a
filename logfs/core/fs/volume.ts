/**
 * `TreeVolume`: the volume of whoever may write the log. One operation is one record and one step:
 * it runs against the tree, the log takes its record, the tree takes its changes. A refused record
 * (no space, fenced, too large) leaves no trace.
 */
import type { Clock } from "../../../lib/ports.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, LogWriter, SegmentInfo } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import type { ItemView, Transaction, VolumeStatistics } from "./api.ts";
import { type CheckpointChange, writeCheckpoint } from "./checkpoint.ts";
import { LeafSweep } from "./leaf-sweep.ts";
import type { LiveBytes } from "./live-bytes.ts";
import { applyChanges, type Move, prepareChanges, Relocation } from "./relocating.ts";
import { changesOf } from "./relocation.ts";
import type { CleanableVolume } from "./cleaner/api.ts";
import type { KeptSnapshots } from "./kept.ts";
import { type NodeHead, Slot } from "./node.ts";
import { requireQuota } from "./quota.ts";
import { readLog } from "./reading-log.ts";
import type { ReachedCheckpoint } from "./reaper.ts";
import { Runner } from "./runner.ts";
import type { SegmentSet } from "./segment-set.ts";
import type { Snapshot } from "./snapshot.ts";
import { describeSnapshots, type SnapshotInfo } from "./snapshot-usage.ts";
import { type SnapshotSource, SnapshotVolume, type TreeAccess } from "./snapshot-volume.ts";
import { Snapshots } from "./snapshots.ts";
import { measureSpace, type SpaceUse } from "./space-use.ts";
import type { VolumeIdentity, VolumeState } from "./state.ts";
import type { Quota } from "./superblock.ts";
import { TreeTransaction } from "./transaction.ts";
import { Tree } from "./tree.ts";
import { encodeUpdate, updateBytes } from "./update.ts";

export interface VolumeLimits {
  /** Clean nodes kept in memory, bytes. */
  readonly cacheBytes: number;
  /**
   * Changed nodes kept in memory before a checkpoint writes them, encoded bytes. It is a limit of
   * memory; replay has its own below. Where changes meet leaves at random (the names of a directory
   * stand in the order of their hashes), a checkpoint writes most of a leaf for each, unless so much
   * may wait that leaves are met again.
   */
  readonly dirtyBytes: number;
  /** Log that opening has to replay at most, about, bytes. */
  readonly replayBytes: number;
  /** The same in records: small ones cost more than their bytes. */
  readonly replayRecords: number;
}

export const DEFAULT_LIMITS: VolumeLimits = {
  cacheBytes: 64 * 2 ** 20,
  dirtyBytes: 64 * 2 ** 20,
  replayBytes: 256 * 2 ** 20,
  replayRecords: 131_072,
};

/** Above this multiple of `dirtyBytes` (checkpoints fail, the device is full) nothing more is changed. */
const DIRTY_CEILING = 4;
/** While blocks of snapshots are moved a checkpoint waits for this multiple of `dirtyBytes`. */
const DIRTY_WHILE_RELOCATING = 2;
/** Leaves that one operation writes ahead of a checkpoint that is due, at most: some milliseconds. */
const SWEEP_BYTES = 512 * 1024;

export interface VolumeEnvironment {
  readonly clock: Pick<Clock, "wallMicros">;
  /** Capacity and free bytes below the log (`SegmentStore.space`). */
  readonly space: () => { totalBytes: number; freeBytes: number };
  readonly limits?: Partial<VolumeLimits>;
  /** What is not needed any more may be dropped one day: after a checkpoint, or an update behind it. */
  readonly onCheckpoint?: (reached: ReachedCheckpoint) => void;
  /** Of a follower: the primary has returned to a snapshot. What was known of files before is void. */
  readonly onRollback?: () => void;
}

export class TreeVolume implements CleanableVolume, SnapshotSource {
  readonly readOnly = false;
  readonly snapshots: Snapshots;
  private readonly log: LogWriter;
  private readonly state: VolumeState;
  private readonly environment: VolumeEnvironment;
  private readonly limits: VolumeLimits;
  private readonly runner: Runner;
  private readonly replayedRecords: number;
  private checkpoints = 0;
  private checkpointFailures = 0;
  /** Log since the last checkpoint, bytes. */
  private replayBytes: number;
  private replayRecords: number;
  /** After a refused checkpoint: no further try before so much is dirty. */
  private retryDirtyBytes = 0;
  /** A checkpoint is due, and being prepared. */
  private sweep: LeafSweep | null = null;
  /** Blocks of snapshots are being moved: a checkpoint now would make that futile. */
  private isRelocating = false;

  /** `replayed`: the records behind the newest checkpoint that `state` already contains. */
  constructor(
    log: LogWriter,
    state: VolumeState,
    environment: VolumeEnvironment,
    replayed: { records: number; bytes: number },
  ) {
    this.log = log;
    this.state = state;
    this.environment = environment;
    this.limits = { ...DEFAULT_LIMITS, ...environment.limits };
    this.runner = new Runner(log, state.cache);
    this.replayedRecords = replayed.records;
    this.replayBytes = replayed.bytes;
    this.replayRecords = replayed.records;
    this.snapshots = new Snapshots(log, state, (change) => this.writeCheckpoint(change));
  }

  get headSequence(): number {
    return this.log.head.sequence;
  }

  get identity(): VolumeIdentity {
    return this.state.identity;
  }

  get keptSnapshots(): readonly Snapshot[] {
    return this.state.kept.list;
  }

  describeSnapshots(): Promise<SnapshotInfo[]> {
    return describeSnapshots(this.log, this.state);
  }

  private current(snapshot: Snapshot): Snapshot | undefined {
    return this.state.kept.current(snapshot);
  }

  isKept(snapshot: Snapshot): boolean {
    return this.current(snapshot) !== undefined;
  }

  openSnapshot(snapshot: Snapshot): SnapshotVolume {
    const { log, runner, state } = this;
    const current = (one: Snapshot): Snapshot | undefined => this.current(one);
    const space = (): { totalBytes: number; freeBytes: number } => this.space();
    const { nodeBytes } = state.tree;
    return new SnapshotVolume(
      { log, runner, cache: state.cache, nodeBytes, space, current },
      snapshot,
    );
  }

  /** Of the active tree, and of the tables of snapshots. */
  get live(): Pick<LiveBytes, "of" | "writtenSecondsOf" | "entries"> {
    return this.state.live;
  }

  /** `segments`: those that exist. */
  measureSpace(segments: readonly SegmentInfo[]): SpaceUse {
    return measureSpace(this.state, segments);
  }

  /** Bytes of the log that files and tree nodes refer to. */
  get liveBytes(): number {
    return this.state.live.totalBytes;
  }

  get statistics(): VolumeStatistics {
    const { tree, cache, counters } = this.state;
    return {
      inodes: counters.inodes,
      dataBytes: counters.dataBytes,
      treeHeight: tree.height,
      cachedNodes: cache.nodes,
      dirtyBytes: tree.dirtyBytes,
      checkpoints: this.checkpoints,
      checkpointFailures: this.checkpointFailures,
      replayedRecords: this.replayedRecords,
      misses: this.runner.misses,
      quota: this.state.quota,
    };
  }

  nowMicros(): number {
    return this.environment.clock.wallMicros();
  }

  space(): { totalBytes: number; freeBytes: number } {
    return this.environment.space();
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.runner.run(() => operation(this.state.tree));
  }

  change<T>(
    operation: (transaction: Transaction) => T,
    privileged = false,
  ): { value: T; sequence: number } | Promise<{ value: T; sequence: number }> {
    return this.runner.run(() => {
      const { tree, counters } = this.state;
      const transaction = new TreeTransaction(tree, counters.nextInode);
      const value = operation(transaction);
      return { value, sequence: this.commit(transaction, privileged) };
    });
  }

  readBlock(
    segment: number,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array> {
    return readLog(this.log, { segment, offset }, length, into);
  }

  get needed(): Pick<SegmentSet, "has"> {
    return this.state.needed;
  }

  get replaced(): ReadonlyMap<number, number> {
    const bytes = new Map<number, number>();
    for (const { segment, length } of this.state.tree.replaced) {
      bytes.set(segment, (bytes.get(segment) ?? 0) + length);
    }
    return bytes;
  }

  /** Segments that snapshots need. */
  get pinned(): Pick<SegmentSet, "has"> {
    return this.state.kept.pinned;
  }

  get kept(): Pick<
    KeptSnapshots,
    "mostOf" | "writtenSecondsOf" | "naming" | "unknown" | "tableBytes" | "list" | "current"
  > {
    return this.state.kept;
  }

  get treesVersion(): string {
    const { rollbacks, kept } = this.state;
    return `${rollbacks}/${kept.lastSlot}`;
  }

  /** What reads trees may use: `Runner` and the volume's cache. */
  treeAt({ height, root }: Pick<Snapshot, "height" | "root">): TreeAccess {
    const { cache, tree } = this.state;
    const slot = new Slot(height - 1, root, null);
    return { tree: new Tree(cache, tree.nodeBytes, slot), runner: this.runner };
  }

  async relocate<T>(work: (relocation: Relocation) => Promise<T>): Promise<T> {
    const { checkpoint } = this.state;
    const isCurrent = (): boolean => this.state.checkpoint === checkpoint;
    const switchTo = (move: Move): boolean | Promise<boolean> =>
      this.runner.run(() => isCurrent() && this.switchTrees(move));
    this.isRelocating = true;
    try {
      return await work(new Relocation(this.log, isCurrent, switchTo));
    } finally {
      this.isRelocating = false;
    }
  }

  touch(at: Address, node: NodeHead): boolean | Promise<boolean> {
    return this.runner.run(() => {
      const isThere = this.state.tree.touch(at, node);
      if (isThere) this.checkpointWhenDue();
      return isThere;
    });
  }

  moveTables(segment: number): Promise<void> {
    return this.snapshots.evacuate(segment);
  }

  writeAhead(): boolean {
    return !this.sweepOnce().done;
  }

  /**
   * Writes a checkpoint now, `needed`: when there is anything to write; gives the newest sequence.
   * Throws what the log throws.
   */
  checkpoint(when: "needed" | "always" = "needed"): number {
    const { tree, movingTables } = this.state;
    const isNeeded = this.replayBytes > 0 || tree.dirtyBytes > 0 || movingTables.size > 0;
    if (isNeeded || when === "always") this.writeCheckpoint();
    return this.headSequence;
  }

  /** Throws what the log throws; then nothing has changed. */
  setQuota(quota: Quota): void {
    this.writeCheckpoint({ kind: "quota", quota });
  }

  /** Leaves nothing to replay. The log stays open: it is its owner's. */
  close(): void {
    this.checkpoint();
  }

  private commit(transaction: TreeTransaction, privileged: boolean): number {
    const update = transaction.prepare();
    if (update === null) return this.headSequence;
    requireQuota(this.state.quota, this.state.counters, update);
    this.refuseWhenTooDirty(privileged);
    const metadataBytes = updateBytes(update);
    const at = this.log.append(
      KIND.update,
      metadataBytes,
      transaction.body,
      (metadata, appended) => {
        transaction.locate(appended);
        encodeUpdate(metadata, update);
      },
      { privileged, bodyChecksum: transaction.bodyChecksum },
    );
    const { bodyBytes: bytes, writtenSeconds } = transaction;
    this.state.apply(update, {
      segment: at.segment,
      bytes,
      writtenSeconds: writtenSeconds ?? Math.floor(this.nowMicros() / 1_000_000),
    });
    if (this.state.takeEmptied()) this.noteReached(at.sequence);
    this.replayBytes += metadataBytes + bytes;
    this.replayRecords++;
    this.checkpointWhenDue();
    return at.sequence;
  }

  private refuseWhenTooDirty(privileged: boolean): void {
    const ceiling = this.limits.dirtyBytes * DIRTY_CEILING;
    if (this.state.tree.dirtyBytes < (privileged ? 2 * ceiling : ceiling)) return;
    throw new SmfsError("NO_SPACE", "changes wait in memory for a checkpoint that finds no space");
  }

  /** A checkpoint that is due is prepared a step with each operation, so that none waits for all of it. */
  private checkpointWhenDue(): void {
    const { dirtyBytes } = this.state.tree;
    const { dirtyBytes: most, replayBytes, replayRecords } = this.limits;
    const due =
      this.sweep !== null ||
      dirtyBytes >= most ||
      this.replayBytes >= replayBytes ||
      this.replayRecords >= replayRecords;
    if (!due || dirtyBytes < this.retryDirtyBytes) return;
    if (this.isRelocating && dirtyBytes < DIRTY_WHILE_RELOCATING * most) return;
    try {
      if (this.sweepOnce().done) this.writeCheckpoint();
    } catch (error) {
      // The operation itself is in the log: its caller must not see this. A log that has failed
      // refuses the next append by itself; a full one may have room later.
      if (!(error instanceof SmfsError)) throw error;
      this.checkpointFailures++;
      this.sweep = null;
      this.retryDirtyBytes = dirtyBytes + most / 4;
    }
  }

  /** Throws what the log throws; then the sweep is over. */
  private sweepOnce(): LeafSweep {
    const sweep = this.sweep ?? new LeafSweep();
    this.sweep = null;
    sweep.step(this.log, this.state, Math.min(SWEEP_BYTES, this.limits.dirtyBytes / 8));
    this.sweep = sweep;
    return sweep;
  }

  private noteReached(sequence: number): void {
    const { checkpointSegment: segment, needed } = this.state;
    this.environment.onCheckpoint?.({ sequence, segment, needed });
  }

  private switchTrees({ map, trees, known }: Move): boolean {
    const { tree } = this.state;
    const changes = changesOf(tree, map);
    prepareChanges(tree, changes);
    const undo = applyChanges(tree, changes);
    try {
      this.writeCheckpoint({ kind: "relocate", trees, live: changes.live, known });
    } catch (error) {
      undo();
      throw error;
    }
    return true;
  }

  private writeCheckpoint(change?: CheckpointChange): void {
    const at = writeCheckpoint(this.log, this.state, this.nowMicros(), change);
    this.noteReached(at.sequence);
    this.checkpoints++;
    this.replayBytes = 0;
    this.replayRecords = 0;
    this.retryDirtyBytes = 0;
    this.sweep = null;
  }
}
