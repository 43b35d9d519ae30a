/**
 * The sender's code: which one is in use, when it changes, and by which model its packets are judged.
 *
 * The peer's reports come in, once a round trip; `Adaptation` chooses; the change is made when the
 * encoder has nothing left to give and nobody waits any more for packets of the code before the
 * present one. So two codes are in use at most, and every packet is judged by its own (`safety.ts`).
 *
 * Two measures of the link are kept apart. `setLink` has the receiver's, all losses, for the models:
 * what is lost to a full queue is lost as well. Adaptation gets one without the rounds in which the
 * pacer backed off: what sending less would avoid is not to be answered with repairs (RFC 9265 §3).
 */
import { Adaptation, overheadOf } from "../code/adaptation.ts";
import type { CodeParameters, Encoder, LossEstimate } from "../code/code.ts";
import type { TransportConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { LossEstimator } from "../code/loss-estimator.ts";
import type { AckFields } from "./packets.ts";
import { depthPackets, flushedLevelOf, horizonPackets, levelsOf } from "../code/parameters.ts";
import { riskModelOf } from "../code/risk.ts";
import type { CodeLevels, Safety } from "./safety.ts";
import { roundUp, SteadyEstimate } from "../code/steady-estimate.ts";

/** Assumed before the first report: a poor line. */
const INITIAL_ESTIMATE: LossEstimate = { loss: 0.02, burst: 1.5 };
/** Somebody who waited so recently will wait again, microseconds. */
const WAITER_MICROS = 60_000_000;
/** Share of the peak of open packets that is left after a round trip. */
const PEAK_DECAY = 0.98;
/** Beyond, acknowledgements are what safety rests on. */
const MOST_OPEN_PACKETS = 4096;

export interface Round {
  readonly isBackingOff: boolean;
  /** Packets whose fate is open. */
  readonly openPackets: number;
}

type PathTotals = Pick<AckFields, "judgedPackets" | "missedPackets"> & { readonly runs: number };

export class CodeControl {
  private readonly config: TransportConfig;
  private readonly encoder: Encoder;
  private readonly safety: Safety;
  private readonly counters: Counters;
  private readonly adaptation: Adaptation | null;
  private readonly estimator = new LossEstimator("both");
  private before: CodeParameters;
  /** Levels of protection of the code in use. */
  levels = 0;
  private presentHorizon = 0;
  private wish: CodeParameters | null = null;
  /** For the models. */
  private readonly link = new SteadyEstimate(INITIAL_ESTIMATE);
  /** For the choice. */
  private readonly uncongested = new SteadyEstimate(INITIAL_ESTIMATE);
  private last: PathTotals = { judgedPackets: 0, missedPackets: 0, runs: 0 };
  private wasBackingOff = false;
  private hasWaiter = false;
  private waitedMicros = -Infinity;
  private peakOpenPackets = 0;

  constructor(config: TransportConfig, encoder: Encoder, safety: Safety, counters: Counters) {
    this.config = config;
    this.encoder = encoder;
    this.safety = safety;
    this.counters = counters;
    this.before = config.code;
    // Who wants no repairs gets none.
    const bounds = levelsOf(config.code) === 0 ? null : config.adapt;
    this.adaptation = bounds === null ? null : new Adaptation(config.code, bounds);
    this.noteCode();
    this.judge();
  }

  /** The code that takes packets in, and while some of its packets are waited for, the one before. */
  get inUse(): readonly CodeParameters[] {
    const { parameters } = this.encoder;
    return this.safety.hasTwoEpochs ? [parameters, this.before] : [parameters];
  }

  /** Ids behind a packet after which its last repair has left. */
  get horizonPackets(): number {
    const { presentHorizon, safety } = this;
    return safety.hasTwoEpochs
      ? Math.max(presentHorizon, horizonPackets(this.before))
      : presentHorizon;
  }

  /** Somebody waits for safety: the code must give it. */
  noteWaiter(): void {
    this.hasWaiter = true;
  }

  /** What the receiver measured. */
  setLink(measured: LossEstimate, nowMicros: number): void {
    const isWindow = this.encoder.parameters.kind === "sliding-window";
    if (this.link.update(measured, isWindow ? "dear" : "cheap", nowMicros)) this.judge();
  }

  private judge(): void {
    const { encoder, safety, before } = this;
    const link = this.link.value;
    const previous = safety.hasTwoEpochs ? riskModelOf(before, link) : null;
    safety.setModels(riskModelOf(encoder.parameters, link), previous);
  }

  /** A round trip is over; `ack` is its last. */
  handleRound(ack: AckFields, round: Round, nowMicros: number): void {
    this.measure(ack, round.isBackingOff);
    if (this.hasWaiter) this.waitedMicros = nowMicros;
    this.hasWaiter = false;
    this.peakOpenPackets = Math.max(round.openPackets, PEAK_DECAY * this.peakOpenPackets);
    this.choose(round.isBackingOff, nowMicros);
  }

  private measure(ack: AckFields, isBackingOff: boolean): void {
    const { last } = this;
    const { judgedPackets, missedPackets } = ack;
    const now = { judgedPackets, missedPackets, runs: runsOf(ack) };
    this.last = now;
    // What a queue lost is reported a round trip later, too.
    const isCongested = isBackingOff || this.wasBackingOff;
    this.wasBackingOff = isBackingOff;
    const judged = judgedPackets - last.judgedPackets;
    const missed = missedPackets - last.missedPackets;
    const runs = now.runs - last.runs;
    const isPlausible = judged >= missed && missed >= runs && runs >= 0;
    if (!isCongested && isPlausible) this.estimator.add(judged, missed, runs);
  }

  private choose(isQueueing: boolean, nowMicros: number): void {
    if (this.adaptation === null) return;
    this.uncongested.update(this.estimator.estimate(), "dear", nowMicros);
    const open = Math.min(MOST_OPEN_PACKETS, roundUp(Math.max(1, this.peakOpenPackets), 1 / 2));
    const isWaited = nowMicros - this.waitedMicros < WAITER_MICROS;
    const wish = this.adaptation.consider(
      {
        link: this.uncongested.value,
        goal: this.config.targetRisk / (isWaited ? open : 1),
        isQueueing,
      },
      nowMicros,
    );
    if (wish !== null) this.change(wish);
  }

  /** `code` is used as soon as a change is possible. */
  change(code: CodeParameters): void {
    this.wish = code;
  }

  /** The encoder has nothing to give now. True when a change of code made repairs due. */
  noteDrained(nowMicros: number): boolean {
    const { wish, encoder, safety } = this;
    if (wish === null || safety.hasTwoEpochs) return false;
    this.wish = null;
    if (wish === encoder.parameters) return false;
    this.before = encoder.parameters;
    encoder.setParameters(wish, nowMicros);
    safety.beginEpoch(codeLevels(wish));
    this.judge();
    this.counters.codeChanges++;
    this.noteCode();
    return true;
  }

  private noteCode(): void {
    const { counters } = this;
    const { parameters } = this.encoder;
    this.levels = levelsOf(parameters);
    this.presentHorizon = horizonPackets(parameters);
    const isBlock = parameters.kind === "block";
    counters.codeDataPackets = isBlock ? parameters.k : parameters.r;
    counters.codeOverhead = overheadOf(parameters);
    counters.codeRepairPackets = Math.round(counters.codeDataPackets * counters.codeOverhead);
    counters.codeSpanPackets = depthPackets(parameters);
  }
}

export function codeLevels(parameters: CodeParameters): CodeLevels {
  return { all: levelsOf(parameters), flushed: flushedLevelOf(parameters) };
}

function runsOf(ack: AckFields): number {
  const upTo8 = ack.runs1 + ack.runs2 + ack.runs4 + ack.runs8;
  return upTo8 + ack.runs16 + ack.runs32 + ack.runs64 + ack.runsLonger;
}
