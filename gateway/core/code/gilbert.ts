/**
 * Losses that come in bursts: a chain of two states, good and bad, one step for each packet on the
 * wire (Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960).
 */
import type { LossEstimate } from "./code.ts";

export class Gilbert {
  /** Share of packets lost. */
  readonly loss: number;
  /** Probability that the packet behind a lost one is lost, too; never less than by chance. */
  readonly stays: number;
  /** Probability that the packet behind one that arrived is lost. */
  readonly enters: number;

  constructor({ loss, burst }: LossEstimate) {
    this.loss = loss;
    this.stays = Math.max(loss, 1 - 1 / Math.max(1, burst));
    this.enters = loss >= 1 ? 1 : Math.min(1, (loss * (1 - this.stays)) / (1 - loss));
  }

  /** The same chain seen at every `distance`-th packet only. */
  every(distance: number): Pick<Gilbert, "stays" | "enters"> {
    const memory = (this.stays - this.enters) ** distance;
    return {
      stays: this.loss + (1 - this.loss) * memory,
      enters: this.loss * (1 - memory),
    };
  }
}
