/**
 * What the link does to packets, measured where they arrive and before any repair: the share lost and
 * the length of bursts (`loss-estimator.ts`), a histogram of bursts, and how far packets are
 * overtaken.
 *
 * A packet counts as lost when `REORDER_PACKETS` later ones have been seen without it. A gap of more
 * than `OUTAGE_PACKETS` is an outage and not loss: it is skipped.
 */
import type { LossEstimate } from "./code.ts";
import { LossEstimator } from "./loss-estimator.ts";

const REORDER_PACKETS = 64;
const OUTAGE_PACKETS = 4096;

/** Upper ends of the histogram's buckets, packets; the last is open. */
export const BURST_BUCKETS = [1, 2, 4, 8, 16, 32, 64, Infinity] as const;

export class LossMeter {
  readonly statistics = {
    judgedPackets: 0,
    lostPackets: 0,
    bursts: 0,
    outages: 0,
    /** The most packets that overtook one which still came. */
    overtakenBy: 0,
    /** Bursts by length, in `BURST_BUCKETS`. */
    burstsByLength: BURST_BUCKETS.map(() => 0),
  };
  /** Ids from `highest` back that are not judged yet: 1 where one was seen. */
  private readonly seen = new Uint8Array(REORDER_PACKETS);
  private highest = 0;
  private started = false;
  private run = 0;
  private readonly estimator = new LossEstimator();

  /** Data packet `id` (32 bits, wrapping) arrived; duplicates do no harm. */
  push(id: number): void {
    if (!this.started) this.start(id);
    const ahead = (id - this.highest) | 0;
    if (ahead > OUTAGE_PACKETS) {
      this.statistics.outages++;
      this.start(id);
    } else {
      for (let i = 1; i <= ahead; i++) this.advance();
    }
    if (ahead < 0) this.noteOvertaken(id, -ahead);
    if (ahead > -REORDER_PACKETS) this.seen[id & (REORDER_PACKETS - 1)] = 1;
  }

  /** Later arrivals come too late to be told from duplicates. */
  private noteOvertaken(id: number, by: number): void {
    const isNew = by < REORDER_PACKETS && this.seen[id & (REORDER_PACKETS - 1)] === 0;
    if (isNew) this.statistics.overtakenBy = Math.max(this.statistics.overtakenBy, by);
  }

  estimate(): LossEstimate {
    return this.estimator.estimate();
  }

  /** Everything up to `id` counts as seen: nothing is known of what came before. */
  private start(id: number): void {
    this.started = true;
    this.highest = id;
    this.run = 0;
    this.seen.fill(1);
  }

  /** The next id comes into view, the oldest is judged. */
  private advance(): void {
    this.highest = (this.highest + 1) >>> 0;
    const slot = this.highest & (REORDER_PACKETS - 1);
    if (this.seen[slot] === 1) this.judgeArrived();
    else this.run++;
    this.seen[slot] = 0;
    this.statistics.judgedPackets++;
    this.estimator.add(1, 0, 0);
  }

  private judgeArrived(): void {
    const { run, statistics } = this;
    if (run === 0) return;
    const bucket = BURST_BUCKETS.findIndex((end) => run <= end);
    statistics.burstsByLength[bucket] = (statistics.burstsByLength[bucket] ?? 0) + 1;
    statistics.bursts++;
    statistics.lostPackets += run;
    this.estimator.add(0, run, 1);
    this.run = 0;
  }
}
