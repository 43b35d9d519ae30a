/**
 * Deaths of a sending site, by simulation: the sender stops at many moments, and what was put on a
 * lossy wire until then is all that the receiver ever gets. Counts, by how well the encoder said
 * that a packet was protected, how many of them cannot be rebuilt, beside what the model predicts.
 *
 * It works on ids, not bytes: groups are peeled like the decoder does it, from the real encoder's
 * recipes, so that many deaths can be judged on one wire.
 */
import type { LayeredParameters, LossEstimate } from "../../gateway/core/code.ts";
import { LayeredEncoder } from "../../gateway/core/layered-encoder.ts";
import { layeredRepair } from "../../gateway/core/repair.ts";
import { MAX_DEPTH, type Protection, type RiskModel } from "../../gateway/core/risk-model.ts";
import { viewOf } from "../../lib/codec.ts";
import { LossProcess } from "../../netem/core/loss.ts";
import type { Loss } from "../../netem/core/settings.ts";
import { Prng } from "../../lib/prng.ts";

export interface Death {
  packets: number;
  lost: number;
  predicted: number;
}

interface Options {
  readonly seed: number;
  /** Data packets sent in all. */
  readonly packets: number;
  /** Packets sent in a row before the sender falls idle and flushes; Infinity for never. */
  readonly flushEvery?: number;
}

/** Packets between deaths: each death looks back over twice the span of a group. */
const BETWEEN_DEATHS = 397;
const LOOK_BACK = 2400;

interface Wire {
  readonly lost: Uint8Array;
  readonly repairs: { first: number; stride: number; count: number; lost: boolean }[];
}

export function simulateDeaths(
  parameters: LayeredParameters,
  link: LossEstimate,
  model: RiskModel,
  { seed, packets, flushEvery = Infinity }: Options,
): Map<string, Death> {
  const encoder = new LayeredEncoder({ parameters });
  const losses = new LossProcess(lossOf(link), new Prng(seed));
  const wire: Wire = { lost: new Uint8Array(packets), repairs: [] };
  const classes = new Map<string, Death>();
  const out = new Uint8Array(2000);
  const packet = new Uint8Array(1);
  let now = 0;
  const drain = (): void => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      const { first, stride, count } = layeredRepair.decode(viewOf(out), 0);
      wire.repairs.push({ first, stride, count, lost: losses.next() });
    }
  };
  let nextDeath = LOOK_BACK;
  for (let id = 0; id < packets; id++) {
    encoder.push(id, packet, now);
    wire.lost[id] = losses.next() ? 1 : 0;
    drain();
    if ((id + 1) % flushEvery === 0) {
      now += 10_000;
      drain();
    }
    if (id < nextDeath) continue;
    nextDeath += BETWEEN_DEATHS;
    judge(wire, id, encoder, model, classes);
  }
  return classes;
}

function judge(
  wire: Wire,
  last: number,
  encoder: LayeredEncoder,
  model: RiskModel,
  classes: Map<string, Death>,
): void {
  const missing = peel(wire, last);
  for (let id = Math.max(0, last - LOOK_BACK / 2); id <= last; id++) {
    const protection = protectionOf(encoder, model.spanPackets, id);
    const name = `${protection.layers}/${protection.spread}/${protection.depth}`;
    const death = classes.get(name) ?? { packets: 0, lost: 0, predicted: 0 };
    death.packets++;
    death.predicted += model.packetRisk(protection);
    if (missing.has(id)) death.lost++;
    classes.set(name, death);
  }
}

/** What the encoder says has left for packet `id`. */
function protectionOf(encoder: LayeredEncoder, spanPackets: number, id: number): Protection {
  const all = encoder.parameters.interleave.length;
  let layers = 0;
  let spread = 0;
  for (let level = 1; level <= all; level++) {
    if (id <= (encoder.coveredThrough(level) | 0)) layers = level;
    if (id <= (encoder.spreadThrough(level) | 0)) spread = level;
  }
  const behind = encoder.spreadThrough(all) - id;
  const depth = spread < all ? 0 : Math.min(MAX_DEPTH, Math.floor(behind / spanPackets));
  return { layers, spread, copies: 0, stride: 1, depth };
}

/** Ids up to `last` that cannot be rebuilt from what is on the wire. */
function peel({ lost, repairs }: Wire, last: number): Set<number> {
  const missing = new Set<number>();
  for (let id = Math.max(0, last - 2 * LOOK_BACK); id <= last; id++)
    if (lost[id] === 1) missing.add(id);
  let from = repairs.length;
  while (from > 0 && (repairs[from - 1]?.first ?? 0) > last - 2 * LOOK_BACK) from--;
  const recent = repairs.slice(from).filter((repair) => !repair.lost);
  for (let before = -1; before !== missing.size; ) {
    before = missing.size;
    for (const { first, stride, count } of recent) {
      let absent = 0;
      let one = 0;
      for (let k = 0; k < count; k++) {
        if (!missing.has(first + k * stride)) continue;
        absent++;
        one = first + k * stride;
      }
      if (absent === 1) missing.delete(one);
    }
  }
  return missing;
}

function lossOf({ loss, burst }: LossEstimate): Loss {
  return burst === 1
    ? { kind: "independent", share: loss }
    : { kind: "bursts", share: loss, meanPackets: burst };
}
