/**
 * The redundancy model of Reed–Solomon blocks (`risk-model.ts` says what is asked).
 *
 * A packet cannot be rebuilt when it is lost and, of its block and the n repairs that have left, more
 * than n are lost: that is exact. Assumed: losses come as in Gilbert's model; members are as far
 * apart as the interleave, and repairs follow one another, with nothing else on the wire between.
 * All blocks are full; partial ones have fewer members that can be missing.
 */
import type { BlockParameters, LossEstimate } from "./code.ts";
import { copiesLost } from "./copy-risk.ts";
import { Gilbert } from "./gilbert.ts";
import { horizonPackets, repairsByLevel } from "./parameters.ts";
import type { Protection, RiskModel } from "./risk-model.ts";

/** [state of the last packet: 0 arrived, 1 lost][lost so far] */
type Losses = readonly [Float64Array, Float64Array];

export class BlockRisk implements RiskModel {
  readonly spanPackets: number;
  private readonly link: LossEstimate;
  /** By level. */
  private readonly risks: readonly number[];

  constructor(parameters: BlockParameters, link: LossEstimate) {
    const { k, m, interleave } = parameters;
    const chain = new Gilbert(link);
    this.spanPackets = horizonPackets(parameters);
    this.link = link;
    const size = k + m + 1;
    let members: Losses = [new Float64Array(size), new Float64Array(size)];
    members[0][0] = 1 - chain.loss;
    members[1][1] = chain.loss;
    for (let n = 1; n < k; n++) members = step(members, chain.every(interleave));
    const lostMembers = members.map((ofState) => weighted(ofState, k)) as [number[], number[]];
    const levels = repairsByLevel(parameters);
    this.risks = [chain.loss, ...levels.map((repairs) => unsolved(lostMembers, repairs, chain))];
  }

  packetRisk({ layers, copies, stride }: Protection): number {
    return Math.min(this.risks[layers] ?? 1, copiesLost(this.link, copies, stride));
  }
}

/** By lost members: the probability, times the share of the members that they are. */
function weighted(ofState: Float64Array, k: number): number[] {
  return Array.from(ofState, (probability, lost) => (probability * lost) / k);
}

function step([good, bad]: Losses, { stays, enters }: Pick<Gilbert, "stays" | "enters">): Losses {
  const next: Losses = [new Float64Array(good.length), new Float64Array(bad.length)];
  for (let lost = 0; lost < good.length; lost++) {
    const [arrived, missing] = [good[lost] ?? 0, bad[lost] ?? 0];
    next[0][lost] = arrived * (1 - enters) + missing * (1 - stays);
    if (lost > 0) {
      next[1][lost] = (good[lost - 1] ?? 0) * enters + (bad[lost - 1] ?? 0) * stays;
    }
  }
  return next;
}

/** Sum over what is lost of the members, weighted, where members and repairs lost are too many. */
function unsolved(members: [number[], number[]], repairs: number, chain: Gilbert): number {
  let sum = 0;
  for (const state of [0, 1] as const) {
    let lost: Losses = [new Float64Array(repairs + 1), new Float64Array(repairs + 1)];
    lost[state][0] = 1;
    for (let n = 0; n < repairs; n++) lost = step(lost, chain);
    // Probability that at least so many repairs are lost.
    const atLeast = new Float64Array(repairs + 2);
    for (let n = repairs; n >= 0; n--) {
      atLeast[n] = (atLeast[n + 1] ?? 0) + (lost[0][n] ?? 0) + (lost[1][n] ?? 0);
    }
    for (const [missing, weight] of members[state].entries()) {
      if (missing > 0) sum += weight * (atLeast[Math.max(0, repairs + 1 - missing)] ?? 0);
    }
  }
  return sum;
}
