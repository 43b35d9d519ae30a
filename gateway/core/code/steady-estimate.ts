/**
 * An estimate of loss for those who take long to act on it: a model of a sliding window takes ten
 * milliseconds. It is rounded up, follows upwards at once, and downwards only when it matters.
 */
import type { LossEstimate } from "./code.ts";

/** Rounded up to steps of 2^(1/8) and 2^(1/16). */
const LOSS_STEPS = 8;
const BURST_STEPS = 16;
/** By so much the bounds of a steady link may sway while counts fade, and a little more. */
const SWAY = 2.5;
const LOWER_MICROS = 1_000_000;

export class SteadyEstimate {
  value: LossEstimate;
  private loweredMicros = -Infinity;

  constructor(initial: LossEstimate) {
    this.value = initial;
  }

  /** Takes in what was measured; whether `value` changed. `cost` is that of acting on it. */
  update(measured: LossEstimate, cost: "cheap" | "dear", nowMicros: number): boolean {
    const { loss, burst } = this.value;
    const next = {
      loss: Math.min(1, roundUp(measured.loss, LOSS_STEPS)),
      burst: roundUp(measured.burst, BURST_STEPS),
    };
    if (next.loss === loss && next.burst === burst) return false;
    const isUp = next.loss > loss || next.burst > burst;
    if (cost === "dear" && !isUp && !this.mayLower(next, nowMicros)) return false;
    this.value = next;
    return true;
  }

  private mayLower(next: LossEstimate, nowMicros: number): boolean {
    const { loss, burst } = this.value;
    const isMuch = next.loss * SWAY < loss || (next.burst - 1) * SWAY < burst - 1;
    if (!isMuch || nowMicros - this.loweredMicros < LOWER_MICROS) return false;
    this.loweredMicros = nowMicros;
    return true;
  }
}

/** To the next power of 2^(1/steps). */
export function roundUp(value: number, steps: number): number {
  return value <= 0 ? 0 : 2 ** (Math.ceil(Math.log2(value) * steps - 1e-9) / steps);
}
