/** What space the cleaner keeps for itself, and when there is a need to clean. */
import type { SegmentCensus } from "./census.ts";
import type { CleanerOptions, CleanerPorts } from "./cleaner.ts";
import { type Goal, goalOf, type Need } from "./policy.ts";

/** Of the store: what the cleaner keeps for itself, but not more segments than it can use. */
const OWN_SHARE = 1 / 64;
const OWN_SEGMENTS = 16;
/** A store of few segments is not all the cleaner's: then only those that are mostly dead are cleaned. */
const MOST_OWN_SHARE = 1 / 8;
/** Space under which the cleaner hurries: this share of the store, two segments at least. */
const PRESSURE_SHARE = 1 / 100;
const LEAST_GARBAGE_SEGMENTS = 4;

export class SpaceNeeds {
  private readonly ports: Pick<CleanerPorts, "volume" | "space">;
  private readonly options: CleanerOptions;
  private readonly census: SegmentCensus;

  constructor(
    ports: Pick<CleanerPorts, "volume" | "space">,
    options: CleanerOptions,
    census: SegmentCensus,
  ) {
    this.ports = ports;
    this.options = options;
    this.census = census;
  }

  /**
   * A round needs at least a victim that is all alive, and two checkpoints while it moves; one that
   * moves many victims writes fewer nodes for each.
   */
  get ownBytes(): number {
    const { segmentBytes } = this.options;
    const { totalBytes } = this.ports.space();
    const share = Math.min(totalBytes * OWN_SHARE, OWN_SEGMENTS * segmentBytes);
    const victim = Math.min(1.25 * segmentBytes, totalBytes * MOST_OWN_SHARE);
    return Math.max(victim, share) + this.checkpointsBytes;
  }

  /** For moved data. Checkpoints take some, and so do sealing a segment early and snapshots' tables. */
  get availableBytes(): number {
    const { space, volume } = this.ports;
    const spare = this.options.segmentBytes / 8 + this.checkpointsBytes + volume.kept.tableBytes;
    return space().freeBytes - spare;
  }

  /** `before`: the need that is being worked on. */
  goal(before: Need): Goal {
    const { segmentBytes, garbageShare } = this.options;
    const { totalBytes } = this.ports.space();
    const thresholds = {
      garbageShare,
      leastGarbageBytes: LEAST_GARBAGE_SEGMENTS * segmentBytes,
      ownBytes: this.ownBytes,
      pressureBytes: Math.max(
        Math.min(2 * segmentBytes, totalBytes * MOST_OWN_SHARE),
        totalBytes * PRESSURE_SHARE,
      ),
    };
    return goalOf(this.census.spaceUse(), thresholds, before);
  }

  /** What is dirty may be written, and what becomes dirty meanwhile; but not more than all nodes. */
  private get checkpointsBytes(): number {
    const { dirtyBytes, dataBytes } = this.ports.volume.statistics;
    const most = Math.max(dirtyBytes, this.options.dirtyBytes);
    // What is alive and no data. Shared data is counted for each file: then it is not known.
    const treeBytes = this.census.usage().liveBytes - dataBytes;
    return dirtyBytes + (treeBytes > 0 ? Math.min(most, treeBytes) : most);
  }
}
