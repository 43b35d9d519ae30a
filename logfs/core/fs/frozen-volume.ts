/**
 * `FrozenVolume`: the volume that a log held after one of its records, read-only. Nothing is written
 * to the log, and nothing that is appended to it later is seen.
 */
import { fail, SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader, RawRecord, SegmentInfo } from "../log/api.ts";
import { readRecordHeader } from "../log/record.ts";
import type { ItemView, Volume, VolumeStatistics } from "./api.ts";
import { NodeCache } from "./cache.ts";
import type { Moment } from "./history.ts";
import { readLog } from "./reading-log.ts";
import { Replica } from "./replica.ts";
import type { Snapshot } from "./snapshot.ts";
import { describeSnapshots, type SnapshotInfo } from "./snapshot-usage.ts";
import { type SnapshotSource, SnapshotVolume, type TreeAccess } from "./snapshot-volume.ts";
import type { VolumeState } from "./state.ts";
import { checkpointSequence } from "./volume-open.ts";
import { measureSpace, type SpaceUse } from "./space-use.ts";
import { DEFAULT_LIMITS, type VolumeEnvironment } from "./volume.ts";

export class FrozenVolume implements Volume, SnapshotSource {
  readonly readOnly = true;
  private readonly log: LogReader;
  private readonly environment: VolumeEnvironment;
  private readonly replica: Replica;
  private readonly state: VolumeState;

  /**
   * As of `moment`, by the checkpoint at `checkpoint`, which is not behind it, and the records
   * between them. Rejects with DAMAGED, NOT_FOUND (some of them are gone), NEWER_VERSION, IO.
   */
  static async open(
    log: LogReader,
    checkpoint: Address,
    environment: VolumeEnvironment,
    moment: Moment,
  ): Promise<FrozenVolume> {
    const first = await checkpointSequence(log, checkpoint);
    const cache = new NodeCache(environment.limits?.cacheBytes ?? DEFAULT_LIMITS.cacheBytes);
    const replica = new Replica(log, cache, first, checkpoint);
    await replica.catchUp((next) => next.sequence === first || !isBehind(next, moment));
    const { state } = replica;
    if (state === null) throw new SmfsError("DAMAGED", "the log ends before its checkpoint");
    return new FrozenVolume(log, environment, replica, state);
  }

  private constructor(
    log: LogReader,
    environment: VolumeEnvironment,
    replica: Replica,
    state: VolumeState,
  ) {
    this.log = log;
    this.environment = environment;
    this.replica = replica;
    this.state = state;
  }

  get headSequence(): number {
    return this.replica.appliedSequence;
  }

  get nodes(): TreeAccess {
    return { tree: this.state.tree, runner: this.replica.runner };
  }

  /** `segments`: those that exist. */
  measureSpace(segments: readonly SegmentInfo[]): SpaceUse {
    return measureSpace(this.state, segments);
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
    const { log, state } = this;
    const { runner } = this.replica;
    const current = (one: Snapshot): Snapshot | undefined => this.current(one);
    const space = (): { totalBytes: number; freeBytes: number } => this.space();
    const { nodeBytes } = state.tree;
    return new SnapshotVolume(
      { log, runner, cache: state.cache, nodeBytes, space, current },
      snapshot,
    );
  }

  get statistics(): VolumeStatistics {
    const { tree, cache, counters } = this.state;
    return {
      inodes: counters.inodes,
      dataBytes: counters.dataBytes,
      treeHeight: tree.height,
      cachedNodes: cache.nodes,
      dirtyBytes: tree.dirtyBytes,
      checkpoints: 0,
      checkpointFailures: 0,
      replayedRecords: this.replica.updates,
      misses: this.replica.runner.misses,
      quota: this.state.quota,
    };
  }

  nowMicros(): number {
    return this.environment.clock.wallMicros();
  }

  space(): { totalBytes: number; freeBytes: number } {
    return { totalBytes: this.environment.space().totalBytes, freeBytes: 0 };
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.replica.runner.run(() => operation(this.state.tree));
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
}

function isBehind(record: RawRecord, moment: Moment): boolean {
  if ("sequence" in moment) return record.sequence > moment.sequence;
  return readRecordHeader(record.bytes, 0).timeMicros > moment.micros;
}
