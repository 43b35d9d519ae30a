/**
 * The redundancy model of layered interleaving (`risk.ts` says what is asked).
 *
 * Assumptions
 * - Losses come in bursts (Gilbert's model): share p of packets lost, in runs of geometric length,
 *   mean b. b = 1 is independent loss. p and b are upper confidence bounds (`loss-meter.ts`).
 * - A packet with repairs of L layers has those of the L densest, all groups full, on a wire that
 *   carries nothing between data packets: members of layer l are i_l apart, no more.
 * - Its own burst reaches a neighbour at distance d on one side with probability (1 − 1/b)^d. A burst
 *   that reaches layer l's nearest member or repair has defeated that layer and all denser ones.
 * - A layer that its own burst left alone fails when the repair is lost or a member is missing:
 *   q_l ≤ 1 − (1 − p)(1 − m_l)^(r − 1). Losses elsewhere may depend on one another, but only for the
 *   better: what bursts do to several packets is associated (Esary, Proschan, Walkup 1967), so all of
 *   them arriving is no less likely than if they were independent.
 * - A member may have been rebuilt by other layers. When a repair of layer l has left, its members'
 *   repairs of all denser layers have left too, because those close and serve their delay sooner
 *   (r · i_k ≤ i_l) and flushes send all layers, dense first: m_l = R_l, the residue after the l
 *   denser layers. Far behind the newest packet, members have all their repairs (`depth`), and m_l
 *   is the residue after all the other layers (density evolution).
 * - A layer without that property (r · i_k > i_l for a denser k in use) could share two members with
 *   it, and is left out of the account.
 * - A flushed repair follows its last member directly: layer l at a distance of l + 1.
 *   Plain copies follow directly behind the repairs, or farther when that was counted.
 * - All this is exact on a tree of groups; the smallest cycles, four packets two by two in the same
 *   groups of two layers, are added (`cycles`).
 *
 * Whoever adds up packets in flight (union bound) is too careful by about b under bursts, because
 * what is lost is then lost in clusters.
 */
import type { LayeredParameters, LossEstimate } from "./code.ts";
import { FIRST_COPY_STRIDES, MAX_DEPTH, type Protection, type RiskModel } from "./risk-model.ts";

export class LayeredRisk implements RiskModel {
  /** Ids that one group of the sparsest layer spans. */
  readonly spanPackets: number;
  private readonly r: number;
  private readonly link: LossEstimate;
  /** Odds by [depth][layers], with delayed repairs; and by [layers] with flushed ones. */
  private readonly spread: readonly OddsByLayers[];
  private readonly flushed: OddsByLayers;

  constructor(parameters: LayeredParameters, link: LossEstimate) {
    const { r, interleave } = parameters;
    this.r = r;
    this.spanPackets = r * (interleave.at(-1) ?? 1);
    this.link = link;
    this.spread = byDepth(parameters, link, (i) => reach(link, i, i));
    this.flushed = byLayers(parameters, link, (i, l) => reach(link, i, Math.min(i, l + 1)));
  }

  /** Upper estimate of the probability that one packet is lost and cannot be rebuilt. */
  packetRisk({ layers, spread, copies, stride, depth }: Protection): number {
    const copyOdds = this.copyOdds(layers, copies, stride);
    const table = this.spread[Math.min(depth, MAX_DEPTH)] ?? [];
    return Math.min(
      this.riskOf(this.flushed[layers] ?? [], copyOdds),
      this.riskOf(table[spread] ?? [], copyOdds),
    );
  }

  private riskOf(layers: readonly LayerOdds[], copies: readonly LayerOdds[]): number {
    const { loss } = this.link;
    const onTree = residue(loss, [...layers, ...copies]);
    const copiesFail = copies.reduce((product, copy) => product * copy.fails, 1);
    return Math.min(loss, onTree + loss * copiesFail * cycles(this.r, loss, layers));
  }

  /**
   * A copy is a repair without other members. Where the packet's own burst does not reach, another
   * may take one copy and go on to the next; side by side (stride 1) the own burst is likelier.
   */
  private copyOdds(layers: number, copies: number, stride: number): LayerOdds[] {
    const { loss } = this.link;
    const isClose = stride === 1;
    const first = isClose ? layers + 1 : FIRST_COPY_STRIDES * stride;
    const next = isClose ? loss : Math.min(1, loss + reach(this.link, Infinity, stride));
    return Array.from({ length: copies }, (_, k) => ({
      defeated: reach(this.link, Infinity, first + k * stride),
      fails: k === 0 ? loss : next,
    }));
  }
}

/** Probability that a packet's own burst reaches a distance behind or a distance ahead. */
function reach({ burst }: LossEstimate, behind: number, ahead: number): number {
  const goesOn = 1 - 1 / Math.max(1, burst);
  return 1 - (1 - goesOn ** behind) * (1 - goesOn ** ahead);
}

/** How one layer does: whether the own burst defeats it, and whether something else does. */
interface LayerOdds {
  readonly defeated: number;
  readonly fails: number;
}
/** Indexed by the number of layers that have left. */
type OddsByLayers = readonly (readonly LayerOdds[])[];
type ReachOfLayer = (interleave: number, layer: number) => number;

/** Members are helped by denser layers only. */
function byLayers(
  { r, interleave }: LayeredParameters,
  { loss }: LossEstimate,
  reachOf: ReachOfLayer,
): OddsByLayers {
  const odds: LayerOdds[] = [];
  const table: LayerOdds[][] = [[]];
  let densest = 0;
  for (const [layer, bins] of interleave.entries()) {
    if (bins >= r * densest) {
      odds.push({ defeated: reachOf(bins, layer), fails: failure(r, loss, residue(loss, odds)) });
      densest = bins;
    }
    table.push([...odds]);
  }
  return table;
}

/** With all layers, each step behind the newest lets members be helped by one step more. */
function byDepth(
  parameters: LayeredParameters,
  link: LossEstimate,
  reachOf: ReachOfLayer,
): OddsByLayers[] {
  const shallow = byLayers(parameters, link, reachOf);
  const tables = [shallow];
  let full = shallow.at(-1) ?? [];
  for (let depth = 1; depth <= MAX_DEPTH; depth++) {
    full = deeper(parameters.r, link.loss, full);
    tables.push(shallow.with(-1, full));
  }
  return tables;
}

function deeper(r: number, loss: number, before: readonly LayerOdds[]): LayerOdds[] {
  return before.map((layer, index) => {
    const others = before.filter((_, other) => other !== index);
    // More help can only be better, whatever the bounds say.
    return { ...layer, fails: Math.min(layer.fails, failure(r, loss, residue(loss, others))) };
  });
}

/** q_l: the repair is lost, or one of the r − 1 other members is missing. */
function failure(r: number, loss: number, memberMissing: number): number {
  return 1 - (1 - loss) * (1 - memberMissing) ** (r - 1);
}

/**
 * Probability that a packet is lost and everything in `odds` fails. Summed over how far its own
 * burst goes: it defeats one only together with all that are easier to defeat.
 */
function residue(loss: number, odds: readonly LayerOdds[]): number {
  const hardestFirst = odds.toSorted((a, b) => a.defeated - b.defeated);
  let sum = 0;
  let othersFail = 1;
  let counted = 0;
  for (const { defeated, fails } of hardestFirst) {
    sum += (defeated - counted) * othersFail;
    othersFail *= fails;
    counted = defeated;
  }
  return loss * Math.min(1, sum + (1 - counted) * othersFail);
}

/**
 * What the tree leaves out: four packets lost, two by two in the same groups of two layers, so that
 * neither layer repairs any of them, while the other layers of all four fail too. Only two of the
 * four failures are counted: that leaves room for the larger cycles, which show above 5 % loss.
 */
function cycles(r: number, loss: number, layers: readonly LayerOdds[]): number {
  const squares = (r - 1) ** 2 * loss ** 3;
  let sum = 0;
  for (const [a, first] of layers.entries()) {
    for (const second of layers.slice(a + 1)) {
      const others = layers.filter((layer) => layer !== first && layer !== second);
      sum += others.reduce((product, layer) => product * layer.fails ** 2, squares);
    }
  }
  return sum;
}
