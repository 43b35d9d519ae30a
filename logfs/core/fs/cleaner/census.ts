/** The segments of a log as the cleaner sees them: how much of them is dead, which may be cleaned. */
import type { LogSegment } from "../../log/api.ts";
import type { Snapshot } from "../snapshot.ts";
import type { CleanableVolume, CleanerLog } from "./api.ts";
import { gainOf, type SegmentUsage, type SpaceUse } from "./policy.ts";

/** So often may a victim keep live bytes: its files may have changed while it was cleaned. */
const ATTEMPTS = 3;

interface CensusPorts {
  readonly log: Pick<CleanerLog, "segments" | "checkpoint">;
  readonly volume: Pick<CleanableVolume, "live" | "pinned" | "kept" | "needed" | "replaced">;
  readonly space: () => { totalBytes: number; freeBytes: number };
}

export interface DeadSegments {
  /** Those that are dropped as soon as everything is durable everywhere. */
  readonly free: readonly number[];
  /** Bytes of those that a replay of the log would need: only a checkpoint frees them. */
  readonly waitingBytes: number;
}

export class SegmentCensus {
  private readonly ports: CensusPorts;
  private readonly attempts = new Map<number, number>();
  /**
   * What surveys found alive in segments that tables made seem emptier. Trees only let go of what is in
   * a sealed segment, and a new snapshot has what the active tree has: it stays the most that it may
   * be until a snapshot is removed.
   */
  private readonly surveyed = new Map<number, { unionBytes: number; activeBytes: number }>();
  /** The snapshots at that time, or since. */
  private surveyedWith: readonly Snapshot[] = [];

  constructor(ports: CensusPorts) {
    this.ports = ports;
  }

  get setAside(): number[] {
    const failed = [...this.attempts].filter(([, attempts]) => attempts >= ATTEMPTS);
    return failed.map(([segment]) => segment);
  }

  /** What nothing refers to any more, once the next checkpoint is written. */
  dead(): DeadSegments {
    const { log, volume } = this.ports;
    const { live, needed, replaced } = volume;
    const checkpoint = log.checkpoint?.segment ?? 0;
    const free: number[] = [];
    let waitingBytes = 0;
    for (const { segment, sealed, usedBytes } of this.unpinned()) {
      if (!sealed || live.of(segment) > (replaced.get(segment) ?? 0)) continue;
      if (segment < checkpoint && !needed.has(segment)) free.push(segment);
      else waitingBytes += usedBytes;
    }
    return { free, waitingBytes };
  }

  /** Something is worth cleaning, but for standing behind the newest checkpoint. */
  get awaitsCheckpoint(): boolean {
    const checkpoint = this.ports.log.checkpoint?.segment ?? 0;
    return this.movable().some((one) => {
      const isBehind = one.sealed && one.segment >= checkpoint && !this.isSetAside(one.segment);
      return isBehind && gainOf(this.usageOf(one)) > 0;
    });
  }

  /** What may be cleaned: sealed, before the newest checkpoint's segment, not set aside. */
  candidates(): SegmentUsage[] {
    const checkpoint = this.ports.log.checkpoint?.segment ?? 0;
    return this.movable()
      .filter(({ sealed, segment }) => sealed && segment < checkpoint && !this.isSetAside(segment))
      .map((one) => this.usageOf(one));
  }

  spaceUse(): SpaceUse {
    const { segments } = this.ports.log;
    const { freeBytes } = this.ports.space();
    let usedBytes = 0;
    for (const one of segments) usedBytes += one.usedBytes;
    let garbageBytes = 0;
    for (const one of this.movable()) {
      if (!this.isSetAside(one.segment)) garbageBytes += gainOf(this.usageOf(one));
    }
    return { freeBytes, usedBytes, garbageBytes };
  }

  usage(): { liveBytes: number; usedBytes: number } {
    const { log, volume } = this.ports;
    let liveBytes = 0;
    let usedBytes = 0;
    for (const one of log.segments) {
      liveBytes += volume.live.of(one.segment);
      usedBytes += one.usedBytes;
    }
    return { liveBytes, usedBytes };
  }

  /** A survey found that all trees together refer to so much of a segment. */
  noteFull(segment: number, unionBytes: number): void {
    this.forgetWhenRemoved();
    this.surveyed.set(segment, { unionBytes, activeBytes: this.ports.volume.live.of(segment) });
  }

  private forgetWhenRemoved(): void {
    const { kept } = this.ports.volume;
    if (this.surveyedWith.some((snapshot) => kept.current(snapshot) === undefined)) {
      this.surveyed.clear();
    }
    this.surveyedWith = kept.list;
  }

  /** A victim has kept live bytes. True when it will not be tried again. */
  failed(segment: number): boolean {
    const attempts = (this.attempts.get(segment) ?? 0) + 1;
    this.attempts.set(segment, attempts);
    return attempts === ATTEMPTS;
  }

  private isSetAside(segment: number): boolean {
    return (this.attempts.get(segment) ?? 0) >= ATTEMPTS;
  }

  private unpinned(): LogSegment[] {
    const { log, volume } = this.ports;
    return log.segments.filter(({ segment }) => !volume.pinned.has(segment));
  }

  private movable(): LogSegment[] {
    this.forgetWhenRemoved();
    const { log, volume } = this.ports;
    const { unknown } = volume.kept;
    return log.segments.filter(({ segment }) => !unknown.has(segment));
  }

  private usageOf({ segment, usedBytes }: LogSegment): SegmentUsage {
    const { live, kept } = this.ports.volume;
    const liveBytes = Math.min(usedBytes, this.liveBytesIn(segment));
    const ages = [live.writtenSecondsOf(segment), kept.writtenSecondsOf(segment)];
    return { segment, bytes: usedBytes, liveBytes, writtenSeconds: Math.max(...ages) };
  }

  /** What all trees together refer to, about. */
  private liveBytesIn(segment: number): number {
    const { live, kept } = this.ports.volume;
    const activeBytes = live.of(segment);
    const surveyed = this.surveyed.get(segment);
    const gone = surveyed === undefined ? 0 : surveyed.activeBytes - activeBytes;
    const unionBytes = surveyed === undefined ? 0 : surveyed.unionBytes - gone;
    return Math.max(activeBytes, kept.mostOf(segment), unionBytes);
  }
}
