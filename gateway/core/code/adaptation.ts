/**
 * Adaptation: which code the sender uses, from what the link was measured to do.
 *
 * Pure: measurements and a goal go in, parameters come out, or null for "stay". The codes to choose
 * from are a short ladder, by overhead (repairs for each data packet). The redundancy model says of
 * each rung how likely it is that a packet cannot be rebuilt, at the upper bounds of loss and burst
 * length; the cheapest rung that meets the goal is chosen. Where none does, a dearer one must be
 * `WORTH` times better to be preferred.
 *
 * Up at once, down slowly: a change upwards is made when the present rung misses the goal, to one
 * that meets it with room to spare; a change downwards when a cheaper one was enough, with more room,
 * at every review for `calmMicros`. Whoever has to go up soon after having gone down waits twice as
 * long the next time, so a link at a boundary comes to rest.
 *
 * Towards congestion (RFC 9265 §3): loss that comes with growing queues is not answered with
 * repairs, which would feed the queues; it is the pacer's business.
 */
import type { CodeParameters, LayeredParameters, LossEstimate } from "./code.ts";
import { levelsOf } from "./parameters.ts";
import { riskModelOf } from "./risk.ts";
import { MAX_DEPTH } from "./risk-model.ts";

/** The operator's: repairs for each data packet, at least and at most. */
export interface AdaptationBounds {
  readonly minOverhead: number;
  readonly maxOverhead: number;
}

export interface Situation {
  /** Upper bounds, without what was lost while queues grew. */
  readonly link: LossEstimate;
  /** Probability that a packet may not be rebuilt. */
  readonly goal: number;
  readonly isQueueing: boolean;
}

interface Rung {
  readonly parameters: CodeParameters;
  readonly overhead: number;
}

/** What a rung must be better than the goal by when it is chosen. */
const ROOM_UP = 4;
const ROOM_DOWN = 16;
const WORTH = 10;
/** Between two reviews, microseconds: models take milliseconds. */
const REVIEW_MICROS = 100_000;
const CALM_MICROS = 10_000_000;
const MOST_CALM_MICROS = 16 * CALM_MICROS;
/** Having to go up again so soon after going down means that the link is at a boundary. */
const RELAPSE_MICROS = 120_000_000;

export class Adaptation {
  private readonly rungs: readonly Rung[];
  private present: number;
  private reviewMicros = -Infinity;
  private calmSinceMicros = -Infinity;
  /** Highest rung that was needed since `calmSinceMicros`. */
  private needed = 0;
  private calmMicros = CALM_MICROS;
  private wentDownMicros = -Infinity;
  /** Risk by rung for `riskLink`; NaN where nobody asked. */
  private readonly risks: Float64Array;
  private riskLink: LossEstimate | null = null;

  /** `configured` is where it begins, and one of the rungs. */
  constructor(configured: CodeParameters, bounds: AdaptationBounds) {
    this.rungs = ladder(configured, bounds);
    this.present = this.rungs.findIndex(({ parameters }) => parameters === configured);
    this.risks = new Float64Array(this.rungs.length);
  }

  /** The code to use from now on, or null to stay. Once a round trip or as often as one likes. */
  consider(situation: Situation, nowMicros: number): CodeParameters | null {
    if (nowMicros - this.reviewMicros < REVIEW_MICROS) return null;
    this.reviewMicros = nowMicros;
    this.useLink(situation.link);
    if (this.riskOf(this.present) > situation.goal) return this.riseFor(situation, nowMicros);
    return this.sinkFor(situation, nowMicros);
  }

  private riseFor(situation: Situation, nowMicros: number): CodeParameters | null {
    this.calmSinceMicros = -Infinity;
    if (situation.isQueueing) return null;
    const wanted = this.cheapest(situation, ROOM_UP);
    if (wanted <= this.present) return null;
    if (nowMicros - this.wentDownMicros < RELAPSE_MICROS) this.noteRelapse();
    return this.change(wanted);
  }

  private noteRelapse(): void {
    this.calmMicros = Math.min(MOST_CALM_MICROS, 2 * this.calmMicros);
    this.wentDownMicros = -Infinity;
  }

  private sinkFor(situation: Situation, nowMicros: number): CodeParameters | null {
    const wanted = this.cheapest(situation, ROOM_DOWN);
    if (wanted >= this.present) {
      this.calmSinceMicros = -Infinity;
      return null;
    }
    if (this.calmSinceMicros === -Infinity) {
      this.calmSinceMicros = nowMicros;
      this.needed = 0;
    }
    this.needed = Math.max(this.needed, wanted);
    if (nowMicros - this.calmSinceMicros < this.calmMicros) return null;
    if (nowMicros - this.wentDownMicros > RELAPSE_MICROS) this.calmMicros = CALM_MICROS;
    this.wentDownMicros = nowMicros;
    return this.change(this.needed);
  }

  private change(rung: number): CodeParameters {
    this.present = rung;
    this.calmSinceMicros = -Infinity;
    return (this.rungs[rung] as Rung).parameters;
  }

  private cheapest({ goal }: Situation, room: number): number {
    let best = this.present;
    let bestRisk = Infinity;
    for (let rung = 0; rung < this.rungs.length; rung++) {
      const risk = this.riskOf(rung);
      if (risk * WORTH > bestRisk) continue;
      best = rung;
      bestRisk = risk;
      if (risk * room <= goal) break;
    }
    return best;
  }

  private useLink(link: LossEstimate): void {
    if (link.loss === this.riskLink?.loss && link.burst === this.riskLink.burst) return;
    this.riskLink = link;
    this.risks.fill(NaN);
  }

  private riskOf(rung: number): number {
    const known = this.risks[rung] ?? 1;
    if (!Number.isNaN(known) || this.riskLink === null) return known;
    const risk = fullRisk((this.rungs[rung] as Rung).parameters, this.riskLink);
    this.risks[rung] = risk;
    return risk;
  }
}

/** Repairs for each data packet, when nobody waits and the line is busy. */
export function overheadOf(parameters: CodeParameters): number {
  switch (parameters.kind) {
    case "layered":
      return parameters.interleave.length / parameters.r;
    case "sliding-window":
      return parameters.c / parameters.r;
    case "block":
      return parameters.m / parameters.k;
  }
}

/** Of a packet that has had all its repairs when it was their turn. */
function fullRisk(parameters: CodeParameters, link: LossEstimate): number {
  const level = levelsOf(parameters);
  const whole = { layers: level, spread: level, copies: 0, stride: 1, depth: MAX_DEPTH };
  return riskModelOf(parameters, link).packetRisk(whole);
}

function layered(r: number, ...interleave: number[]): LayeredParameters {
  return { kind: "layered", r, interleave };
}

function slidingWindow(r: number, c: number, window: number): CodeParameters {
  return { kind: "sliding-window", r, c, window, density: 16 };
}

/**
 * No repair comes later than those of the default code, a thousand packets behind. For equal
 * overhead, layered codes come first: they take less time. Windows are as short as their overhead
 * allows, since time is the product of both. The cheapest are windows because a line that falls idle
 * flushes: one repair of a window, but a repair from each bin of a layer.
 */
const LADDER: readonly CodeParameters[] = [
  slidingWindow(64, 1, 512),
  slidingWindow(32, 1, 512),
  slidingWindow(16, 1, 256),
  slidingWindow(8, 1, 128),
  layered(8, 1, 10, 100),
  slidingWindow(8, 2, 128),
  slidingWindow(8, 3, 128),
  slidingWindow(4, 2, 128),
  slidingWindow(4, 3, 128),
  slidingWindow(4, 4, 128),
  layered(4, 1, 4, 16, 64, 160),
];

function ladder(configured: CodeParameters, bounds: AdaptationBounds): readonly Rung[] {
  const isWithin = (code: CodeParameters): boolean => {
    const overhead = overheadOf(code);
    return overhead >= bounds.minOverhead && overhead <= bounds.maxOverhead;
  };
  const isOther = (code: CodeParameters): boolean => !isSameCode(code, configured);
  return [...LADDER.filter((code) => isWithin(code) && isOther(code)), configured]
    .map((parameters) => ({
      parameters,
      overhead: overheadOf(parameters),
    }))
    .toSorted((a, b) => a.overhead - b.overhead || cost(a.parameters) - cost(b.parameters));
}

/** Packets that are added up for each data packet: what the processor does. */
function cost(parameters: CodeParameters): number {
  return parameters.kind === "sliding-window"
    ? overheadOf(parameters) * parameters.window
    : overheadOf(parameters);
}

function isSameCode(a: CodeParameters, b: CodeParameters): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
