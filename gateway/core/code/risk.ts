/**
 * The redundancy model of a code. Worst-case assumptions, so that an acknowledgement in `network`
 * mode keeps its promise; `test/sim/fec-risk.test.ts` holds the models against simulation.
 *
 * Losses come in bursts (Gilbert's model): share p of packets lost, in runs of geometric length, mean
 * b; b = 1 is independent loss. p and b are upper confidence bounds (`loss-meter.ts`).
 */
import { BlockRisk } from "./block-risk.ts";
import type { CodeParameters, LossEstimate } from "./code.ts";
import { LayeredRisk } from "./layered-risk.ts";
import type { RiskModel } from "./risk-model.ts";
import { SlidingWindowRisk } from "./sliding-window-risk.ts";

export function riskModelOf(parameters: CodeParameters, link: LossEstimate): RiskModel {
  switch (parameters.kind) {
    case "layered":
      return new LayeredRisk(parameters, link);
    case "sliding-window":
      return new SlidingWindowRisk(parameters, link);
    case "block":
      return new BlockRisk(parameters, link);
  }
}
