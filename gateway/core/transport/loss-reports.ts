/**
 * What the peer's acks say of loss, put to its uses: the counters, the rate, and the code with the
 * models that judge it.
 */
import type { CodeControl } from "./code-control.ts";
import type { Counters } from "./counters.ts";
import type { RateControl } from "./pacer.ts";
import type { AckFields } from "./packets.ts";
import type { RoundTrip } from "./rtt.ts";

/** The model is computed anew at most this often, microseconds. */
const MODEL_MICROS = 50_000;
const LEAST_ROUND_MICROS = 5_000;

type Totals = Pick<AckFields, "endId" | "lostPackets" | "rebuiltPackets" | "unrecoverablePackets">;
const NOTHING: Totals = { endId: 0, lostPackets: 0, rebuiltPackets: 0, unrecoverablePackets: 0 };

export class LossReports {
  private readonly code: CodeControl;
  private readonly rate: RateControl;
  private readonly counters: Counters;
  private last: Totals = NOTHING;
  private roundStart: Totals = NOTHING;
  private roundStartMicros: number;
  private modelMicros: number;

  constructor(code: CodeControl, rate: RateControl, counters: Counters, nowMicros: number) {
    this.code = code;
    this.rate = rate;
    this.counters = counters;
    this.roundStartMicros = nowMicros;
    counters.paceBitsPerSecond = Math.round(rate.bitsPerSecond);
    this.modelMicros = nowMicros - MODEL_MICROS;
  }

  /** `openPackets` wait for their fate. */
  handle(ack: AckFields, roundTrip: RoundTrip, openPackets: number, nowMicros: number): void {
    if (ack.endId < this.last.endId || ack.lostPackets < this.last.lostPackets) return;
    this.count(ack);
    this.measure(ack, nowMicros);
    this.last = ack;
    const round = Math.max(LEAST_ROUND_MICROS, roundTrip.smoothedMicros);
    if (nowMicros - this.roundStartMicros < round) return;
    this.endRound(ack, roundTrip, nowMicros);
    this.code.handleRound(ack, { isBackingOff: this.rate.isBackingOff, openPackets }, nowMicros);
  }

  private count(ack: AckFields): void {
    this.counters.lostPackets += ack.lostPackets - this.last.lostPackets;
    this.counters.rebuiltPackets += Math.max(0, ack.rebuiltPackets - this.last.rebuiltPackets);
    const unrecoverable = ack.unrecoverablePackets - this.last.unrecoverablePackets;
    this.counters.unrecoverablePackets += Math.max(0, unrecoverable);
  }

  private measure({ loss, burst }: AckFields, nowMicros: number): void {
    const isValid = loss >= 0 && loss <= 1 && burst >= 1;
    const isKnown = loss === this.counters.lossEstimate && burst === this.counters.burstEstimate;
    if (!isValid || isKnown || nowMicros - this.modelMicros < MODEL_MICROS) return;
    this.modelMicros = nowMicros;
    this.counters.lossEstimate = loss;
    this.counters.burstEstimate = burst;
    this.code.setLink({ loss, burst }, nowMicros);
  }

  private endRound(ack: AckFields, roundTrip: RoundTrip, nowMicros: number): void {
    this.rate.handleRound({
      queueMicros: roundTrip.queueMicros,
      leastMicros: roundTrip.leastMicros,
      packets: Math.max(1, ack.endId - this.roundStart.endId),
      lost: ack.lostPackets - this.roundStart.lostPackets,
      unrecoverable: ack.unrecoverablePackets - this.roundStart.unrecoverablePackets,
    });
    this.counters.paceBitsPerSecond = Math.round(this.rate.bitsPerSecond);
    this.roundStart = ack;
    this.roundStartMicros = nowMicros;
  }
}
