/**
 * `VolumeFollower`: the read-only volume of a mirror. It follows the log by itself as records are
 * appended to it: no queue of its own, what it has not applied yet waits in the log.
 *
 * Every view is of the state after a whole record. When a record cannot be applied (damage, a
 * failed read) the follower stops where it is and says why in `failure`; views go on at that state.
 */
import { fail, SmfsError } from "../../../lib/errors.ts";
import type { LogReader, SegmentInfo } from "../log/api.ts";
import type { ItemView, Volume, VolumeStatistics } from "./api.ts";
import { NodeCache } from "./cache.ts";
import type { LiveBytes } from "./live-bytes.ts";
import { requireSegments } from "./needed-segments.ts";
import { readLog } from "./reading-log.ts";
import { Replica } from "./replica.ts";
import type { Snapshot } from "./snapshot.ts";
import { describeSnapshots, type SnapshotInfo } from "./snapshot-usage.ts";
import { type SnapshotSource, SnapshotVolume } from "./snapshot-volume.ts";
import { NO_QUOTA } from "./superblock.ts";
import { measureSpace, type SpaceUse } from "./space-use.ts";
import { DEFAULT_LIMITS, type VolumeEnvironment } from "./volume.ts";

export class VolumeFollower implements Volume, SnapshotSource {
  readonly readOnly = true;
  /** Why it stopped following. */
  failure: Error | null = null;
  private readonly log: LogReader;
  private readonly environment: VolumeEnvironment;
  private readonly replica: Replica;
  private following: Promise<void> | null = null;
  private closed = false;
  /** Something was reached since it was last seen that all segments are there. */
  private unchecked = false;
  private readonly unsubscribe: () => void;

  /** Follows `log` from its record `from` on, a checkpoint or one before the first; 1: all of it. */
  constructor(log: LogReader, environment: VolumeEnvironment, from: number) {
    this.log = log;
    this.environment = environment;
    const cacheBytes = environment.limits?.cacheBytes ?? DEFAULT_LIMITS.cacheBytes;
    this.replica = new Replica(log, new NodeCache(cacheBytes), from, null, {
      onCheckpoint: (reached) => {
        this.unchecked = true;
        environment.onCheckpoint?.(reached);
      },
      onRollback: () => environment.onRollback?.(),
    });
    this.unsubscribe = log.subscribe(() => this.follow());
    this.follow();
  }

  /** False until the first checkpoint has arrived: views are refused with EAGAIN. */
  get ready(): boolean {
    return this.replica.state !== null;
  }

  /** Views see the state after this record. */
  get headSequence(): number {
    return this.replica.appliedSequence;
  }

  /** `segments`: those that exist. null before the first checkpoint. */
  measureSpace(segments: readonly SegmentInfo[]): SpaceUse | null {
    const { state } = this.replica;
    return state === null ? null : measureSpace(state, segments);
  }

  get keptSnapshots(): readonly Snapshot[] {
    return this.replica.state?.kept.list ?? [];
  }

  async describeSnapshots(): Promise<SnapshotInfo[]> {
    const { state } = this.replica;
    return state === null ? [] : describeSnapshots(this.log, state);
  }

  private current(snapshot: Snapshot): Snapshot | undefined {
    return this.replica.state?.kept.current(snapshot);
  }

  isKept(snapshot: Snapshot): boolean {
    return this.current(snapshot) !== undefined;
  }

  openSnapshot(snapshot: Snapshot): SnapshotVolume {
    const { log, replica } = this;
    const { runner, state } = replica;
    if (state === null) return fail("EAGAIN");
    const current = (one: Snapshot): Snapshot | undefined => this.current(one);
    const space = (): { totalBytes: number; freeBytes: number } => this.space();
    const { nodeBytes } = state.tree;
    return new SnapshotVolume(
      { log, runner, cache: state.cache, nodeBytes, space, current },
      snapshot,
    );
  }

  /** As the primary's after the same record, but for the ages of moved data; null while not ready. */
  get live(): Pick<LiveBytes, "of" | "writtenSecondsOf" | "entries"> | null {
    return this.replica.state?.live ?? null;
  }

  get statistics(): VolumeStatistics {
    const { state, runner, updates } = this.replica;
    return {
      inodes: state?.counters.inodes ?? 0,
      dataBytes: state?.counters.dataBytes ?? 0,
      treeHeight: state?.tree.height ?? 0,
      cachedNodes: state?.cache.nodes ?? 0,
      dirtyBytes: state?.tree.dirtyBytes ?? 0,
      checkpoints: 0,
      checkpointFailures: 0,
      replayedRecords: updates,
      misses: runner.misses,
      quota: state?.quota ?? NO_QUOTA,
    };
  }

  nowMicros(): number {
    return this.environment.clock.wallMicros();
  }

  space(): { totalBytes: number; freeBytes: number } {
    return this.environment.space();
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.replica.runner.run(() => operation(this.replica.state?.tree ?? fail("EAGAIN")));
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
    return readLog(this.log, { segment, offset }, length, into);
  }

  /** Resolves when everything that was in the log has been applied, or the follower has stopped. */
  async settled(): Promise<void> {
    while (this.following !== null) await this.following;
  }

  /** Stops following; resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.closed = true;
    this.unsubscribe();
    await this.settled();
  }

  private follow(): void {
    const { sequence } = this.log.head;
    const behind = this.replica.appliedSequence < sequence;
    if (this.replica.appliedSequence > sequence) {
      this.failure ??= new SmfsError("OTHER_HISTORY", `the log was cut behind record ${sequence}`);
    }
    if (this.following !== null || this.closed || this.failure !== null || !behind) return;
    this.following = this.replica
      .catchUp(() => !this.closed)
      .then(() => this.checkSegments())
      .catch((error: unknown) => {
        this.failure = error instanceof Error ? error : new SmfsError("IO", String(error));
      })
      .finally(() => {
        this.following = null;
        this.follow();
      });
  }

  /** Segments that updates behind the checkpoint emptied may be gone: so not before they are applied. */
  private checkSegments(): void {
    const { state, appliedSequence } = this.replica;
    if (!this.unchecked || state === null || appliedSequence < this.log.head.sequence) return;
    this.unchecked = false;
    requireSegments(this.log, state);
  }
}
