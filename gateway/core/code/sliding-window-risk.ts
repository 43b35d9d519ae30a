/**
 * The redundancy model of sliding windows (`risk-model.ts` says what is asked).
 *
 * The *deficit* is the number of packets that are missing less the repairs that came since all was
 * known. A missing packet is rebuilt when the deficit falls to 0, or before. So the risk of a packet
 * after n repairs is the probability that it is lost and that the deficit has not been 0 since: a
 * walk, calculated step by step along the wire (a Markov chain of deficit and channel).
 *
 * Assumptions
 * - Losses come as in Gilbert's model (`gilbert.ts`).
 * - Before the packet, the walk began with nothing missing, one window ago: what was missing before
 *   that is in no repair any more.
 * - A repair is wasted with probability 1/255 when two or more are missing (random coefficients). In
 *   sparse codes, once the deficit was `OLD_DEFICIT` or the packet has become old, a repair may name
 *   none of d missing packets: (1 − density / 16)^d.
 * - Where repairs were flushed it is not known how they left, and the worst of three ways counts: all
 *   evenly, the last c of them at once, or c directly behind each packet.
 */
import type { LossEstimate, SlidingWindowParameters } from "./code.ts";
import { DENSE_MEMBERS } from "./coefficients.ts";
import { copiesLost } from "./copy-risk.ts";
import { DeficitWalk } from "./deficit-walk.ts";
import { FULL_DENSITY, horizonPackets, repairsByLevel } from "./parameters.ts";
import type { Protection, RiskModel } from "./risk-model.ts";

/** The walk is nearly exact; this is for what it leaves out. */
const MARGIN = 1.5;

export class SlidingWindowRisk implements RiskModel {
  readonly spanPackets: number;
  private readonly link: LossEstimate;
  /** By level. */
  private readonly spread: readonly number[];
  private readonly flushed: readonly number[];

  constructor(parameters: SlidingWindowParameters, link: LossEstimate) {
    this.spanPackets = horizonPackets(parameters);
    this.link = link;
    const levels = repairsByLevel(parameters);
    const lost = lostNow(parameters, link);
    const evenly = riskEvenly(parameters, levels, lost.copy());
    const crowded = riskCrowded(parameters, levels, lost);
    this.spread = [link.loss, ...evenly.risks];
    this.flushed = [
      link.loss,
      ...evenly.risks.map((risk, index) =>
        Math.max(risk, evenly.thenFlushed[index] ?? 1, crowded[index] ?? 1),
      ),
    ];
  }

  packetRisk({ layers, spread, copies, stride }: Protection): number {
    const unsolved = MARGIN * Math.min(this.spread[spread] ?? 1, this.flushed[layers] ?? 1);
    return Math.min(unsolved, copiesLost(this.link, copies, stride));
  }
}

/** The walk of a packet that was just lost, among what was missing then. */
function lostNow(parameters: SlidingWindowParameters, link: LossEstimate): DeficitWalk {
  const { r, c, window, density } = parameters;
  const walk = new DeficitWalk(link, density / FULL_DENSITY);
  let owed = 0;
  for (let packet = 0; packet < window; packet++) {
    walk.passData();
    for (owed += c; owed >= r; owed -= r) walk.passRepair();
  }
  walk.lose();
  return walk;
}

/** By level: repairs that left when it was their turn; and those but the last c of them, flushed. */
function riskEvenly(
  { r, c, window }: SlidingWindowParameters,
  levels: readonly number[],
  walk: DeficitWalk,
) {
  const risks: number[] = [];
  const thenFlushed: number[] = [];
  // The next repair is as far away as it can be.
  let owed = 0;
  let sent = 0;
  const reach = (): void => {
    for (const [index, level] of levels.entries()) {
      if (level === sent) risks[index] = walk.risk;
      const isNext = level === sent + c || (level < c && sent === 0);
      if (isNext) thenFlushed[index] = walk.copy().passRepairs(level - sent).risk;
    }
  };
  reach();
  for (let packet = 1; packet <= window; packet++) {
    if (packet === DENSE_MEMBERS) walk.growOld();
    for (owed += c; owed >= r; owed -= r) {
      walk.passRepair();
      sent++;
      reach();
    }
    walk.passData();
  }
  return { risks, thenFlushed };
}

/** By level: c repairs directly behind each packet. */
function riskCrowded(
  { c }: SlidingWindowParameters,
  levels: readonly number[],
  walk: DeficitWalk,
): number[] {
  const risks: number[] = [];
  const most = levels.at(-1) ?? 0;
  for (let sent = 1; sent <= most; sent++) {
    walk.passRepair();
    const index = levels.indexOf(sent);
    if (index >= 0) risks[index] = walk.risk;
    if (sent % c === 0) walk.passData();
  }
  return risks;
}
