/**
 * `Reaper`: drops the segments that nothing needs any more (ARCHITECTURE, "Dropping"; the word is
 * for what comes after the cleaner, which makes segments dead).
 *
 * A segment before a checkpoint's own that none of its tables names is dead; so is one that later
 * updates have emptied, unless replaying them begins with a node in it. It is dropped when the
 * checkpoint, or the update, is durable at every copy of the log that is known: then no history that
 * can still become *the* history ends before it, and none behind it needs the segment.
 *
 * Only two such points are remembered, however long a copy is away: one that is waited for, and the
 * newest. Leftovers of a crash are dead by the tables of the first checkpoint after it.
 */
import type { LogSegments } from "../log/api.ts";
import type { SegmentSet } from "./segment-set.ts";

/** Files removed in one step: each takes the device some milliseconds. */
const STEP_SEGMENTS = 4;

/** A point of the log that a volume stands on, as written or as applied. */
export interface ReachedCheckpoint {
  /** Of the checkpoint, or of an update behind it. */
  readonly sequence: number;
  /** Where the checkpoint's record stands. */
  readonly segment: number;
  /** Segments that a volume opened there needs, for the active tree, for snapshots, for replay. */
  readonly needed: Pick<SegmentSet, "has">;
}

export class Reaper {
  private readonly log: LogSegments;
  private readonly agreedSequence: () => number;
  private awaited: ReachedCheckpoint | null = null;
  private newest: ReachedCheckpoint | null = null;
  private dead: number[] = [];

  /** `agreedSequence`: records up to here are durable at every copy that counts. */
  constructor(log: LogSegments, agreedSequence: () => number) {
    this.log = log;
    this.agreedSequence = agreedSequence;
  }

  /** In ascending order. */
  handleCheckpoint(reached: ReachedCheckpoint): void {
    if (this.awaited === null) this.awaited = reached;
    else this.newest = reached;
  }

  /** `step` would do something. */
  get isDue(): boolean {
    return this.dead.length > 0 || this.agreed() !== null;
  }

  /** Drops some segments; to be called again while `isDue`. Throws what the log throws. */
  step(): void {
    if (this.dead.length === 0) this.findDead();
    if (this.dead.length > 0) this.log.drop(this.dead.splice(0, STEP_SEGMENTS));
  }

  private findDead(): void {
    const agreed = this.agreed();
    if (agreed === null) return;
    this.awaited = agreed === this.newest ? null : this.newest;
    this.newest = null;
    for (const { segment } of this.log.segments) {
      if (segment < agreed.segment && !agreed.needed.has(segment)) this.dead.push(segment);
    }
  }

  /** The newest remembered point that is durable everywhere. */
  private agreed(): ReachedCheckpoint | null {
    const { awaited, newest } = this;
    if (awaited === null) return null;
    const sequence = this.agreedSequence();
    if (newest !== null && newest.sequence <= sequence) return newest;
    return awaited.sequence <= sequence ? awaited : null;
  }
}
