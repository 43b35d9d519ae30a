/** The redundancy model of sliding windows and blocks (`risk.ts` says what is asked). */
import type { BlockParameters, LossEstimate, SlidingWindowParameters } from "./code.ts";
import { horizonPackets } from "./parameters.ts";
import type { Protection, RiskModel } from "./risk-model.ts";

export class LinearRisk implements RiskModel {
  readonly spanPackets: number;
  private readonly link: LossEstimate;

  constructor(parameters: SlidingWindowParameters | BlockParameters, link: LossEstimate) {
    this.spanPackets = horizonPackets(parameters);
    this.link = link;
  }

  /** No repair is trusted: the packet arrives, or a copy does, each after the burst of the other. */
  packetRisk(_protection: Protection): number {
    return this.link.loss;
  }
}
