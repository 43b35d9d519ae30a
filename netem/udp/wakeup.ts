/**
 * One alarm on the event loop, finer than Node's timers where it pays.
 *
 * `setTimeout` counts whole milliseconds, so it wakes up to two milliseconds late. The last stretch
 * before something is due is waited for in turns of the event loop instead, which cost a core while
 * they last: hence only `SPIN_MICROS` of them.
 */

const SPIN_MICROS = 200;
/** Past this a timer is set again; it keeps `setTimeout` within its 31 bits. */
const LONGEST_TIMER_MILLIS = 3_600_000;

/** Monotonic microseconds since the process began. */
export function nowMicros(): number {
  return Math.floor(performance.now() * 1000);
}

export class Wakeup {
  private readonly callback: () => void;
  private timer: NodeJS.Timeout | null = null;
  private immediate: NodeJS.Immediate | null = null;
  private timerAtMicros = Infinity;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  /**
   * Calls back at `atMicros` or before; the callback schedules again. An earlier alarm that is set
   * stays set: to wake once too often is cheaper than a timer per packet.
   */
  schedule(atMicros: number): void {
    const untilMicros = atMicros - nowMicros();
    if (untilMicros <= SPIN_MICROS) this.spin();
    else if (atMicros < this.timerAtMicros) this.setTimer(atMicros, untilMicros);
  }

  cancel(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.immediate !== null) clearImmediate(this.immediate);
    this.timer = null;
    this.immediate = null;
    this.timerAtMicros = Infinity;
  }

  private spin(): void {
    this.immediate ??= setImmediate(() => {
      this.immediate = null;
      this.callback();
    });
  }

  private setTimer(atMicros: number, untilMicros: number): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.timerAtMicros = atMicros;
    const millis = Math.min(LONGEST_TIMER_MILLIS, Math.max(1, Math.floor(untilMicros / 1000)));
    this.timer = setTimeout(() => {
      this.timer = null;
      this.timerAtMicros = Infinity;
      this.callback();
    }, millis);
  }
}
