/**
 * The redundancy model of a code. Worst-case assumptions, so that an acknowledgement in `network`
 * mode keeps its promise; `test/sim/fec-risk.test.ts` holds the models against simulation.
 *
 * Losses come in bursts (Gilbert's model): share p of packets lost, in runs of geometric length, mean
 * b; b = 1 is independent loss. p and b are upper confidence bounds (`loss-meter.ts`).
 */
import type { CodeParameters, LossEstimate } from "./code.ts";
import { LayeredRisk } from "./layered-risk.ts";
import { LinearRisk } from "./linear-risk.ts";
import type { RiskModel } from "./risk-model.ts";

export function riskModelOf(parameters: CodeParameters, link: LossEstimate): RiskModel {
  return parameters.kind === "layered"
    ? new LayeredRisk(parameters, link)
    : new LinearRisk(parameters, link);
}
