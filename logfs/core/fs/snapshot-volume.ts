/**
 * `SnapshotVolume`: the read-only volume of a kept root. It shares the cache and the runner of the
 * volume that keeps it. What the tree says never changes; where it stands does, when the cleaner has
 * moved it: each look goes through the root as it is now.
 *
 * Once the snapshot is no longer kept, the log may drop what it needs: from then on everything is
 * ESTALE, also what was under way, and never other bytes.
 */
import { fail } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import type { ItemView, Volume, VolumeStatistics } from "./api.ts";
import type { NodeCache } from "./cache.ts";
import { Slot } from "./node.ts";
import { readLog } from "./reading-log.ts";
import type { Runner } from "./runner.ts";
import type { Snapshot } from "./snapshot.ts";
import type { SnapshotInfo } from "./snapshot-usage.ts";
import { NO_QUOTA } from "./superblock.ts";
import { Tree } from "./tree.ts";

/** A volume that keeps snapshots. */
export interface SnapshotSource {
  /** In ascending order of slots. */
  readonly keptSnapshots: readonly Snapshot[];
  isKept(snapshot: Snapshot): boolean;
  /** Reads a snapshot that is kept. */
  openSnapshot(snapshot: Snapshot): SnapshotVolume;
  /** What each one holds and costs, in the order in which they were taken. */
  describeSnapshots(): Promise<SnapshotInfo[]>;
}

/** A tree as it stands in nodes, for those who compare two (`diff.ts`). */
export interface TreeAccess {
  readonly tree: Tree;
  readonly runner: Runner;
}

/** What a snapshot's volume has from the one that keeps it. */
export interface SnapshotHost {
  readonly log: Pick<LogReader, "read">;
  readonly runner: Runner;
  readonly cache: NodeCache;
  /** Largest encoded size of a node. */
  readonly nodeBytes: number;
  readonly space: () => { totalBytes: number; freeBytes: number };
  /** As it is kept now; undefined when it is not. */
  readonly current: (snapshot: Snapshot) => Snapshot | undefined;
}

export class SnapshotVolume implements Volume {
  readonly readOnly = true;
  private readonly host: SnapshotHost;
  private snapshot: Snapshot;
  private tree: Tree;

  constructor(host: SnapshotHost, snapshot: Snapshot) {
    this.host = host;
    this.snapshot = snapshot;
    this.tree = treeOf(host, snapshot);
  }

  get headSequence(): number {
    return this.snapshot.sequence;
  }

  get nodes(): TreeAccess {
    return { tree: this.treeNow(), runner: this.host.runner };
  }

  get statistics(): VolumeStatistics {
    const { inodes, dataBytes, height } = this.snapshot;
    return {
      inodes,
      dataBytes,
      treeHeight: height,
      cachedNodes: 0,
      dirtyBytes: 0,
      checkpoints: 0,
      checkpointFailures: 0,
      replayedRecords: 0,
      misses: 0,
      quota: NO_QUOTA,
    };
  }

  /** Nothing changes here: the time is always that of the snapshot. */
  nowMicros(): number {
    return this.snapshot.createdMicros;
  }

  space(): { totalBytes: number; freeBytes: number } {
    return { totalBytes: this.host.space().totalBytes, freeBytes: 0 };
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.unlessGone(() =>
      this.host.runner.run(() => {
        return operation(this.treeNow());
      }),
    );
  }

  change(): never {
    return fail("EROFS");
  }

  readBlock(
    segment: number,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array> {
    this.requireKept();
    return this.unlessGone(() => readLog(this.host.log, { segment, offset }, length, into));
  }

  private requireKept(): Snapshot {
    return this.host.current(this.snapshot) ?? fail("ESTALE");
  }

  private treeNow(): Tree {
    const now = this.requireKept();
    if (now.root !== this.snapshot.root) this.tree = treeOf(this.host, now);
    this.snapshot = now;
    return this.tree;
  }

  /** What failed because the snapshot went meanwhile is ESTALE, not damage. */
  private unlessGone<T>(act: () => T | Promise<T>): T | Promise<T> {
    try {
      const result = act();
      return result instanceof Promise ? result.catch((error) => this.explain(error)) : result;
    } catch (error) {
      return this.explain(error);
    }
  }

  private explain(error: unknown): never {
    this.requireKept();
    throw error;
  }
}

function treeOf({ cache, nodeBytes }: SnapshotHost, { height, root }: Snapshot): Tree {
  return new Tree(cache, nodeBytes, new Slot(height - 1, root, null));
}
