/**
 * The redundancy model of Reed–Solomon blocks (`risk-model.ts` says what is asked).
 *
 * A packet cannot be rebuilt when it is lost and, of its block and the n repairs that have left, more
 * than n are lost: that is exact. Assumed: losses come as in Gilbert's model; members are as far
 * apart as the interleave, and repairs follow one another, with nothing else on the wire between.
 * How full a flushed block was is not known, and the worst counts: under independent loss full ones,
 * in bursts those of one member, whose repairs stand beside it.
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
  /** By level: of full blocks, and of blocks however full. */
  private readonly full: readonly number[];
  private readonly any: readonly number[];

  constructor(parameters: BlockParameters, link: LossEstimate) {
    const { k, interleave } = parameters;
    const chain = new Gilbert(link);
    this.spanPackets = horizonPackets(parameters);
    this.link = link;
    const tails = repairsByLevel(parameters).map((repairs) => lostRepairs(repairs, chain));
    let full: number[] = [];
    let any = tails.map(() => 0);
    let members: Losses = [new Float64Array(k + 1), new Float64Array(k + 1)];
    members[0][0] = 1 - chain.loss;
    members[1][1] = chain.loss;
    for (let count = 1; count <= k; count++) {
      if (count > 1) members = step(members, chain.every(interleave));
      full = tails.map((tail) => unsolved(members, count, tail));
      any = any.map((risk, index) => Math.max(risk, full[index] ?? 0));
    }
    this.full = [chain.loss, ...full];
    this.any = [chain.loss, ...any];
  }

  packetRisk({ layers, spread, copies, stride }: Protection): number {
    const unsolvedRisk = Math.min(this.any[layers] ?? 1, this.full[spread] ?? 1);
    return Math.min(unsolvedRisk, copiesLost(this.link, copies, stride));
  }
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

/** By state of the packet before, and by n: the probability that at least n repairs are lost. */
type LostRepairs = readonly [Float64Array, Float64Array];

function lostRepairs(repairs: number, chain: Gilbert): LostRepairs {
  return [lostBehind(0, repairs, chain), lostBehind(1, repairs, chain)];
}

function lostBehind(state: 0 | 1, repairs: number, chain: Gilbert): Float64Array {
  let lost: Losses = [new Float64Array(repairs + 1), new Float64Array(repairs + 1)];
  lost[state][0] = 1;
  for (let n = 0; n < repairs; n++) lost = step(lost, chain);
  const atLeast = new Float64Array(repairs + 1);
  let sum = 0;
  for (let n = repairs; n >= 0; n--) {
    sum += (lost[0][n] ?? 0) + (lost[1][n] ?? 0);
    atLeast[n] = sum;
  }
  return atLeast;
}

/** Probability that a packet of a block of `count` is lost, and so many others that none comes back. */
function unsolved(members: Losses, count: number, tails: LostRepairs): number {
  let sum = 0;
  for (const state of [0, 1] as const) {
    const tail = tails[state];
    for (let missing = 1; missing <= count; missing++) {
      // Of n repairs, n + 1 − missing lost are too many.
      const tooMany = Math.max(0, tail.length - missing);
      sum += ((members[state][missing] ?? 0) * missing * (tail[tooMany] ?? 0)) / count;
    }
  }
  return sum;
}
