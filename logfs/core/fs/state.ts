/**
 * What a volume is at one point of its log: the tree, the counters, the live bytes, the snapshots.
 * The primary applies its own operations to it, opening applies the records behind the checkpoint,
 * and a mirror's follower applies those that arrive: all three through `prepare` and `apply`.
 *
 * It also answers for the cleaner and for whoever drops segments: `live` (what the active tree
 * refers to, now), `kept.pinned` (what snapshots need), `named` (what must stay on disk).
 */
import type { Address } from "../log/api.ts";
import type { NodeCache } from "./cache.ts";
import { MAX_NODE_BYTES, Slot } from "./node.ts";
import { KeptSnapshots } from "./kept.ts";
import { LiveBytes } from "./live-bytes.ts";
import { SegmentSet } from "./segment-set.ts";
import { type Checkpoint, NO_QUOTA, type Quota } from "./superblock.ts";
import { Tree } from "./tree.ts";
import type { Change, Update } from "./update.ts";
import { FIRST_FREE_INODE } from "./items.ts";

export interface VolumeCounters {
  nextInode: number;
  inodes: number;
  dataBytes: number;
}

/** The body part of an update record. */
export interface StoredBody {
  /** Where it stands. */
  readonly segment: number;
  readonly bytes: number;
  /** When its data was first written, seconds since 1970. */
  readonly writtenSeconds: number;
}

export const NO_BODY: StoredBody = { segment: 0, bytes: 0, writtenSeconds: 0 };

export interface VolumeIdentity {
  /** 16 random bytes. */
  readonly volumeId: Uint8Array;
  readonly createdMicros: number;
}

export class VolumeState {
  readonly cache: NodeCache;
  readonly tree: Tree;
  readonly counters: VolumeCounters;
  readonly identity: VolumeIdentity;
  /** Of the active tree as it is now, and of the blocks of the snapshots' tables. */
  live = new LiveBytes();
  kept = KeptSnapshots.NONE;
  quota: Quota = NO_QUOTA;
  /** Returns to a snapshot so far, modulo 256. */
  rollbacks = 0;
  /** Where the newest checkpoint stands; null before there is one. */
  checkpoint: Address | null = null;
  /** Since it was asked last, an update let go of the last bytes of a segment. */
  private hasEmptied = false;
  /** Tables of snapshots, by slot, that the next checkpoint writes to a new place. */
  readonly movingTables = new Map<number, Uint8Array>();

  private constructor(tree: Tree, counters: VolumeCounters, identity: VolumeIdentity) {
    this.cache = tree.cache;
    this.tree = tree;
    this.counters = counters;
    this.identity = identity;
  }

  /** An empty tree. `nodeBytes`: largest encoded size of a node, for ever. */
  static empty(identity: VolumeIdentity, cache: NodeCache, nodeBytes = MAX_NODE_BYTES) {
    const tree = new Tree(cache, nodeBytes, null);
    const counters = { nextInode: FIRST_FREE_INODE, inodes: 0, dataBytes: 0 };
    return new VolumeState(tree, counters, identity);
  }

  /** As a checkpoint says, with its snapshots as `kept`; nothing of its tree is in memory yet. */
  static at(checkpoint: Checkpoint, kept: KeptSnapshots, cache: NodeCache): VolumeState {
    const { height, root, nodeBytes, nextInode, inodes, dataBytes } = checkpoint;
    const slot = new Slot(height - 1, root, null);
    const tree = new Tree(cache, nodeBytes, slot);
    const { volumeId, createdMicros } = checkpoint;
    const counters = { nextInode, inodes, dataBytes };
    const state = new VolumeState(tree, counters, { volumeId, createdMicros });
    state.live = checkpoint.live;
    state.quota = checkpoint.quota;
    state.rollbacks = checkpoint.rollbacks;
    state.kept = kept;
    return state;
  }

  /** 0 before there is a checkpoint. */
  get checkpointSegment(): number {
    return this.checkpoint?.segment ?? 0;
  }

  /**
   * Segments that this state needs, and so does whoever replays the log from the newest checkpoint
   * to here: that begins with the nodes that have been replaced since. Of the segments before the
   * checkpoint's own all others are dead once this is durable (ARCHITECTURE, "Dropping").
   */
  get needed(): SegmentSet {
    return this.neededWith(this.kept.pinned);
  }

  /** As `needed`, without what a snapshot may need whose table cannot be read. */
  get surelyNeeded(): SegmentSet {
    return this.neededWith(this.kept.surelyPinned);
  }

  private neededWith(ofSnapshots: SegmentSet): SegmentSet {
    const ofTree = this.live.entries.map(({ segment }) => segment);
    const replaced = this.tree.replaced.map(({ segment }) => segment);
    return SegmentSet.union([SegmentSet.of([...ofTree, ...new Set(replaced)]), ofSnapshots]);
  }

  /** Whether `needed` may have lost a segment since this was asked last. */
  takeEmptied(): boolean {
    const had = this.hasEmptied;
    this.hasEmptied = false;
    return had;
  }

  /** Makes sure that `apply` finds all it needs in memory. Throws `Miss`. */
  prepare(changes: readonly Change[]): void {
    for (const { high, low, value } of changes) this.tree.prepare(high, low, value === null);
  }

  /**
   * Applies a prepared update. Puts go before deletes (tree.ts says why). Values are copied.
   */
  apply(update: Update, body: StoredBody): void {
    for (const { high, low, value } of update.changes) {
      if (value !== null) this.tree.put(high, low, value);
    }
    for (const { high, low, value } of update.changes) {
      if (value === null && this.tree.get(high, low) !== undefined) this.tree.delete(high, low);
    }
    if (body.bytes > 0) this.live.add(body.segment, body.bytes, body.writtenSeconds);
    const { checkpointSegment } = this;
    for (const { segment, length } of update.frees) {
      this.live.add(segment, -length);
      if (segment < checkpointSegment && this.live.of(segment) === 0) this.hasEmptied = true;
    }
    this.counters.nextInode = Math.max(this.counters.nextInode, update.nextInode);
    this.counters.inodes = Math.max(0, this.counters.inodes + update.inodes);
    this.counters.dataBytes = Math.max(0, this.counters.dataBytes + update.dataBytes);
  }
}
