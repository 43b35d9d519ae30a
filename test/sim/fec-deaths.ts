/**
 * Deaths of a sending site, by simulation: the sender stops at many moments, and what was put on a
 * lossy wire until then is all that the receiver ever gets. Counts, by how well the encoder said
 * that a packet was protected, how many of them cannot be rebuilt, beside what the model predicts.
 *
 * The real encoder and decoder run all the time: what the decoder has not at some moment is what it
 * would never have if the sender died then.
 */
import type { CodeParameters, LossEstimate } from "../../gateway/core/code/code.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { depthPackets, horizonPackets, levelsOf } from "../../gateway/core/code/parameters.ts";
import { MAX_DEPTH, type Protection } from "../../gateway/core/code/risk-model.ts";
import { riskModelOf } from "../../gateway/core/code/risk.ts";
import { LossProcess } from "../../netem/core/loss.ts";
import type { Loss } from "../../netem/core/settings.ts";
import { Prng } from "../../lib/prng.ts";

/** Packets of one class of protection, over all deaths. */
export interface Death {
  packets: number;
  lost: number;
  predicted: number;
  /** What the model says of one of them. */
  readonly risk: number;
}

interface Options {
  readonly seed: number;
  /** Data packets sent in all. */
  readonly packets: number;
  /** Packets sent in a row before the sender falls idle and flushes; Infinity for never. */
  readonly flushEvery?: number;
}

/** Packets between deaths: each packet is judged at several of them. */
const BETWEEN_DEATHS = 397;
/** Deaths that look at one packet, at most: beyond so many horizons nothing changes. */
const HORIZONS = 3;

export function simulateDeaths(
  parameters: CodeParameters,
  link: LossEstimate,
  { seed, packets, flushEvery = Infinity }: Options,
): Map<string, Death> {
  const encoder = new ErasureEncoder({ parameters });
  const site = new Receiver(new LossProcess(lossOf(link), new Prng(seed)));
  const census = new Census(encoder, link);
  const out = new Uint8Array(100);
  const packet = new Uint8Array(1);
  let now = 0;
  const drain = (): void => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      site.handleRepair(out.subarray(0, n));
    }
  };
  for (let id = 0; id < packets; id++) {
    encoder.push(id, packet, now);
    site.handleData(id, packet);
    drain();
    if ((id + 1) % flushEvery === 0) {
      now += 10_000;
      drain();
    }
    if (id >= 2 * census.lookBack && id % BETWEEN_DEATHS === 0) census.take(id, site.missing);
  }
  return census.classes;
}

class Receiver {
  readonly missing = new Set<number>();
  private readonly losses: LossProcess;
  private readonly decoder = new ErasureDecoder();

  constructor(losses: LossProcess) {
    this.losses = losses;
  }

  handleData(id: number, packet: Uint8Array): void {
    if (this.losses.next()) this.missing.add(id);
    else this.decoder.handleData(id, packet);
    this.takeRebuilt();
  }

  handleRepair(repair: Uint8Array): void {
    if (!this.losses.next()) this.decoder.handleRepair(repair);
    this.takeRebuilt();
  }

  private takeRebuilt(): void {
    for (let next = this.decoder.pollRebuilt(); next !== null; next = this.decoder.pollRebuilt()) {
      this.missing.delete(next.id);
    }
  }
}

class Census {
  readonly classes = new Map<string, Death>();
  /** Packets before a death that are judged. */
  readonly lookBack: number;
  private readonly encoder: ErasureEncoder;
  private readonly model;
  private readonly levels: number;

  constructor(encoder: ErasureEncoder, link: LossEstimate) {
    const { parameters } = encoder;
    this.encoder = encoder;
    this.model = riskModelOf(parameters, link);
    this.levels = levelsOf(parameters);
    const span = depthPackets(parameters) * MAX_DEPTH;
    this.lookBack = Math.max(64, Math.min(HORIZONS * horizonPackets(parameters), span));
  }

  take(last: number, missing: ReadonlySet<number>): void {
    const covered = this.marks((level) => this.encoder.coveredThrough(level));
    const spread = this.marks((level) => this.encoder.spreadThrough(level));
    for (let id = last - this.lookBack; id <= last; id++) {
      const death = this.deathOf(this.protectionOf(id, covered, spread));
      death.packets++;
      death.predicted += death.risk;
      if (missing.has(id)) death.lost++;
    }
  }

  private deathOf(protection: Protection): Death {
    const name = `${protection.layers}/${protection.spread}/${protection.depth}`;
    const known = this.classes.get(name);
    if (known !== undefined) return known;
    const risk = this.model.packetRisk(protection);
    const fresh = { packets: 0, lost: 0, predicted: 0, risk };
    this.classes.set(name, fresh);
    return fresh;
  }

  private marks(markOf: (level: number) => number): number[] {
    return Array.from({ length: this.levels }, (_, n) => markOf(n + 1) | 0);
  }

  /** What the encoder says has left for packet `id`. */
  private protectionOf(id: number, covered: number[], spread: number[]): Protection {
    const reached = (marks: number[]): number => 1 + marks.findLastIndex((mark) => id <= mark);
    const isFull = reached(spread) === this.levels && this.levels > 0;
    const behind = isFull ? (spread.at(-1) ?? 0) - id : 0;
    const depth = Math.min(MAX_DEPTH, Math.floor(behind / this.model.spanPackets));
    const levels = { layers: reached(covered), spread: reached(spread) };
    return { ...levels, copies: 0, stride: 1, depth };
  }
}

function lossOf({ loss, burst }: LossEstimate): Loss {
  return burst === 1
    ? { kind: "independent", share: loss }
    : { kind: "bursts", share: loss, meanPackets: burst };
}
