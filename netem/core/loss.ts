/**
 * Which packets are lost. Invariant: one draw from the random source per packet, so the fate of
 * packet n depends on the seed and the model alone, not on what else the link does.
 *
 * Bursts: with p the average share and m the mean run of losses, the chain leaves the bad state
 * with probability 1/m and enters it with p / (m (1 − p)); its stationary share of bad is then p
 * (Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960).
 */
import type { Prng } from "../../lib/prng.ts";
import type { Loss } from "./settings.ts";

export class LossProcess {
  private readonly prng: Prng;
  private loss: Loss;
  private bad: boolean;

  constructor(loss: Loss, prng: Prng) {
    this.prng = prng;
    this.loss = loss;
    this.bad = prng.chance(loss.share);
  }

  /** From the next packet on; the chain stays in the state it is in. */
  configure(loss: Loss): void {
    this.loss = loss;
  }

  /** Whether the next packet is lost. */
  next(): boolean {
    this.bad = this.prng.chance(this.lossProbability());
    return this.bad;
  }

  private lossProbability(): number {
    const { loss } = this;
    if (loss.kind === "independent") return loss.share;
    if (this.bad) return 1 - 1 / loss.meanPackets;
    return loss.share === 0 ? 0 : loss.share / (loss.meanPackets * (1 - loss.share));
  }
}
