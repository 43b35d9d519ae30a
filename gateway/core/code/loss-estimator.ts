/**
 * Share lost and length of bursts as upper confidence bounds, from counts.
 *
 * Observations fade: when `WINDOW_PACKETS` have been counted, all counts are halved. While the link is
 * young, `PRIOR` is added, fading out linearly until `PRIOR_FADE_PACKETS` were counted.
 *
 * A link that has become worse is believed at once: when the latest `BLOCK_PACKETS` are worse than
 * what is known, beyond chance, everything before them is forgotten. One that has become better has
 * to wait for the fading, since promises are made; who only chooses a code may believe it as well,
 * after `LONG_BLOCK_PACKETS` that are better beyond chance.
 *
 * Bounds are one-sided 95 % Wilson intervals (Wilson 1927). Lost packets of one burst are not
 * independent; for geometric bursts of mean b the variance is 2b − 1 times as large, so the sample
 * counts for that much less.
 */
import type { LossEstimate } from "./code.ts";

/** One-sided 95 % quantile of the normal distribution. */
const Z = 1.645;
/** Of a change: 3 in 100,000 blocks look like one by chance. */
const CHANGE_Z = 4;
const WINDOW_PACKETS = 65536;
const BLOCK_PACKETS = 512;
const LONG_BLOCK_PACKETS = 8192;
/** Bursts in a block before it can tell of a change. */
const CHANGE_BURSTS = 3;
/** 1 % loss, as if measured on a thousand packets. */
const PRIOR = { packets: 1000, lost: 10 };
/** While fewer bursts were seen, single losses stand in for the others. */
const PRIOR_BURSTS = 10;
const PRIOR_FADE_PACKETS = 10000;

interface Counts {
  packets: number;
  lost: number;
  bursts: number;
}

export class LossEstimator {
  private readonly recent: Counts = { packets: 0, lost: 0, bursts: 0 };
  private readonly block: Counts = { packets: 0, lost: 0, bursts: 0 };
  private readonly longBlock: Counts = { packets: 0, lost: 0, bursts: 0 };
  private readonly believes: "worse" | "both";

  /** Which changes are believed before the fading has shown them. */
  constructor(believes: "worse" | "both" = "worse") {
    this.believes = believes;
  }

  /** Packets whose fate became known, how many of them are lost, and the bursts that ended. */
  add(packets: number, lost: number, bursts: number): void {
    addTo(this.recent, packets, lost, bursts);
    addTo(this.block, packets, lost, bursts);
    addTo(this.longBlock, packets, lost, bursts);
    if (this.block.packets >= BLOCK_PACKETS) this.endBlock();
    if (this.longBlock.packets >= LONG_BLOCK_PACKETS) this.endLongBlock();
    if (this.recent.packets >= WINDOW_PACKETS) scale(this.recent, 1 / 2);
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

  private endBlock(): void {
    const { block } = this;
    if (block.bursts >= CHANGE_BURSTS && this.isWorse) {
      Object.assign(this.recent, block);
      scale(this.longBlock, 0);
    }
    scale(block, 0);
  }

  private endLongBlock(): void {
    if (this.believes === "both" && this.isBetter) Object.assign(this.recent, this.longBlock);
    scale(this.longBlock, 0);
  }

  /** Whether the long block's upper bound is below the lower bound of what was known. */
  private get isBetter(): boolean {
    const { recent, longBlock } = this;
    if (recent.lost === 0) return false;
    const dependence = Math.max(1, (2 * recent.lost) / Math.max(1, recent.bursts) - 1);
    const known = wilson(recent.lost / recent.packets, recent.packets / dependence, -Z);
    const now = longBlock.lost / longBlock.packets;
    return wilson(now, longBlock.packets / dependence, CHANGE_Z) < known;
  }

  /** Whether the block's lower bound is above what was known. */
  private get isWorse(): boolean {
    const { packets, lost, bursts } = this.block;
    const independent = packets / Math.max(1, (2 * lost) / bursts - 1);
    return wilson(lost / packets, independent, -CHANGE_Z) > this.estimate().loss;
  }
}

function addTo(counts: Counts, packets: number, lost: number, bursts: number): void {
  counts.packets += packets;
  counts.lost += lost;
  counts.bursts += bursts;
}

function scale(counts: Counts, factor: number): void {
  counts.packets *= factor;
  counts.lost *= factor;
  counts.bursts *= factor;
}

/** Upper (z > 0) or lower end of the Wilson interval of a share seen in independent trials. */
function wilson(share: number, trials: number, z: number): number {
  const squared = (z * z) / trials;
  const spread = z * Math.sqrt((share * (1 - share)) / trials + squared / (4 * trials));
  return (share + squared / 2 + spread) / (1 + squared);
}
