/**
 * Round-trip time: smoothed mean and variation (RFC 6298 §2) and the least of the last 10 to 20
 * seconds, the path without queues. All in microseconds.
 */
const INITIAL_MICROS = 250_000;
const MINIMUM_WINDOW_MICROS = 10_000_000;

export class RoundTrip {
  smoothedMicros = INITIAL_MICROS;
  variationMicros = INITIAL_MICROS / 2;
  private sampled = false;
  private leastNow = Infinity;
  private leastBefore = Infinity;
  private windowStartMicros = 0;

  sample(micros: number, nowMicros: number): void {
    const value = Math.max(1, micros);
    this.smooth(value);
    if (nowMicros - this.windowStartMicros > MINIMUM_WINDOW_MICROS) {
      this.leastBefore = this.leastNow;
      this.leastNow = value;
      this.windowStartMicros = nowMicros;
    }
    this.leastNow = Math.min(this.leastNow, value);
  }

  private smooth(value: number): void {
    if (this.sampled) {
      this.variationMicros += (Math.abs(value - this.smoothedMicros) - this.variationMicros) / 4;
      this.smoothedMicros += (value - this.smoothedMicros) / 8;
    } else {
      this.smoothedMicros = value;
      this.variationMicros = value / 2;
      this.sampled = true;
    }
  }

  get leastMicros(): number {
    const least = Math.min(this.leastNow, this.leastBefore);
    return least === Infinity ? this.smoothedMicros : least;
  }

  /** What standing queues add. */
  get queueMicros(): number {
    return Math.max(0, this.smoothedMicros - this.leastMicros);
  }
}
