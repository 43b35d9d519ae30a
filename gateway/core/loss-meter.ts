/**
 * What the link does to packets, measured where they arrive and before any repair: the share lost
 * and the length of bursts, both as upper confidence bounds for the redundancy model.
 *
 * A packet counts as lost when `REORDER_PACKETS` later ones have been seen without it. Observations
 * fade: when `WINDOW_PACKETS` have been judged, all counts are halved. While the link is young,
 * `PRIOR` is added, fading out linearly until `PRIOR_FADE_PACKETS` were judged. A gap of more than
 * `OUTAGE_PACKETS` is an outage and not loss: it is skipped.
 *
 * Bounds are one-sided 95 % Wilson intervals (Wilson 1927). Lost packets of one burst are not
 * independent; for geometric bursts of mean b the variance is 2b − 1 times as large, so the sample
 * counts for that much less.
 */
import type { LossEstimate } from "./code.ts";

/** One-sided 95 % quantile of the normal distribution. */
const Z = 1.645;
const REORDER_PACKETS = 64;
const WINDOW_PACKETS = 65536;
/** 1 % loss, as if measured on a thousand packets. */
const PRIOR = { packets: 1000, lost: 10 };
/** While fewer bursts were seen, single losses stand in for the others. */
const PRIOR_BURSTS = 10;
const PRIOR_FADE_PACKETS = 10000;
const OUTAGE_PACKETS = 4096;

/** Upper ends of the histogram's buckets, packets; the last is open. */
export const BURST_BUCKETS = [1, 2, 4, 8, 16, 32, 64, Infinity] as const;

export class LossMeter {
  readonly statistics = {
    judgedPackets: 0,
    lostPackets: 0,
    bursts: 0,
    outages: 0,
    /** Bursts by length, in `BURST_BUCKETS`. */
    burstsByLength: BURST_BUCKETS.map(() => 0),
  };
  /** Ids from `highest` back that are not judged yet: 1 where one was seen. */
  private readonly seen = new Uint8Array(REORDER_PACKETS);
  private highest = 0;
  private started = false;
  private run = 0;
  private readonly recent = { packets: 0, lost: 0, bursts: 0 };

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
    if (ahead > -REORDER_PACKETS) this.seen[id & (REORDER_PACKETS - 1)] = 1;
  }

  estimate(): LossEstimate {
    const { packets, lost, bursts } = this.recent;
    const standIns = Math.max(0, PRIOR_BURSTS - bursts);
    const ended = (bursts + standIns) / (lost + standIns);
    const share = Math.max(0, 1 - packets / PRIOR_FADE_PACKETS);
    const observed = packets + share * PRIOR.packets;
    const independent = observed / Math.max(1, 2 / ended - 1);
    return {
      loss: Math.min(1, wilson((lost + share * PRIOR.lost) / observed, independent, Z)),
      // Geometric lengths: each lost packet ends its burst with probability 1 / mean.
      burst: 1 / wilson(ended, lost + standIns, -Z),
    };
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
    this.recent.packets++;
    if (this.recent.packets >= WINDOW_PACKETS) this.fade();
  }

  private judgeArrived(): void {
    const { run, statistics, recent } = this;
    if (run === 0) return;
    const bucket = BURST_BUCKETS.findIndex((end) => run <= end);
    statistics.burstsByLength[bucket] = (statistics.burstsByLength[bucket] ?? 0) + 1;
    statistics.bursts++;
    statistics.lostPackets += run;
    recent.bursts++;
    recent.lost += run;
    this.run = 0;
  }

  private fade(): void {
    this.recent.packets /= 2;
    this.recent.lost /= 2;
    this.recent.bursts /= 2;
  }
}

/** Upper (z > 0) or lower end of the Wilson interval of a share seen in independent trials. */
function wilson(share: number, trials: number, z: number): number {
  const squared = (z * z) / trials;
  const spread = z * Math.sqrt((share * (1 - share)) / trials + squared / (4 * trials));
  return (share + squared / 2 + spread) / (1 + squared);
}
