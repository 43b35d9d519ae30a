/**
 * What a volume is at one point of its log: the tree, the counters and the live bytes. The primary
 * applies its own operations to it, opening applies the records behind the checkpoint, and a
 * mirror's follower applies those that arrive: all three through `prepare` and `apply`.
 */
import type { NodeCache } from "./cache.ts";
import { MAX_NODE_BYTES, Slot } from "./node.ts";
import { type Checkpoint, LiveBytes } from "./superblock.ts";
import { Tree } from "./tree.ts";
import type { Change, Update } from "./update.ts";
import { FIRST_FREE_INODE } from "./items.ts";

export interface VolumeCounters {
  nextInode: number;
  inodes: number;
  dataBytes: number;
}

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
  live: LiveBytes;

  private constructor(
    tree: Tree,
    counters: VolumeCounters,
    identity: VolumeIdentity,
    live: LiveBytes,
  ) {
    this.cache = tree.cache;
    this.tree = tree;
    this.counters = counters;
    this.identity = identity;
    this.live = live;
  }

  /** An empty tree. `nodeBytes`: largest encoded size of a node, for ever. */
  static empty(identity: VolumeIdentity, cache: NodeCache, nodeBytes = MAX_NODE_BYTES) {
    const tree = new Tree(cache, nodeBytes, null);
    const counters = { nextInode: FIRST_FREE_INODE, inodes: 0, dataBytes: 0 };
    return new VolumeState(tree, counters, identity, new LiveBytes());
  }

  /** As a checkpoint says; nothing of its tree is in memory yet. */
  static at(checkpoint: Checkpoint, cache: NodeCache): VolumeState {
    const { height, root, nodeBytes, nextInode, inodes, dataBytes, live } = checkpoint;
    const slot = new Slot(height - 1, root, null);
    const tree = new Tree(cache, nodeBytes, slot);
    const { volumeId, createdMicros } = checkpoint;
    const counters = { nextInode, inodes, dataBytes };
    return new VolumeState(tree, counters, { volumeId, createdMicros }, live);
  }

  /** Makes sure that `apply` finds all it needs in memory. Throws `Miss`. */
  prepare(changes: readonly Change[]): void {
    for (const { high, low, value } of changes) this.tree.prepare(high, low, value === null);
  }

  /**
   * Applies a prepared update whose body of `bodyBytes` stands in `segment`. Puts go before
   * deletes (tree.ts says why). Values are kept, not copied.
   */
  apply(update: Update, segment: number, bodyBytes: number): void {
    for (const { high, low, value } of update.changes) {
      if (value !== null) this.tree.put(high, low, value);
    }
    for (const { high, low, value } of update.changes) {
      if (value === null && this.tree.get(high, low) !== undefined) this.tree.delete(high, low);
    }
    this.live.add(segment, bodyBytes);
    for (const range of update.frees) this.live.add(range.segment, -range.length);
    this.counters.nextInode = Math.max(this.counters.nextInode, update.nextInode);
    this.counters.inodes = Math.max(0, this.counters.inodes + update.inodes);
    this.counters.dataBytes = Math.max(0, this.counters.dataBytes + update.dataBytes);
  }
}
