/**
 * Pacing: when the next datagram may leave (a token bucket in time), and at what rate.
 *
 * The rate begins at an eighth of its maximum and doubles each round trip until a queue or an overrun
 * shows. Then it backs off multiplicatively, once a round trip, when queues grow or when the code is
 * overrun by loss that sending less makes smaller, and recovers by a part that is the larger the
 * lower the rate: so those who share a path and its round trip come to share it evenly. Of different
 * round trips, the shorter gets more. Loss that the code repairs does not slow us; the code must not
 * hide congestion (RFC 9265 §3), so loss before repair is exported, and delay is watched before loss.
 */

/** Back-to-back datagrams: fewer than the receive queue of an untuned socket (212,992 bytes). */
export const BURST_DATAGRAMS = 32;

export class Pacer {
  private nextMicros = 0;
  private readonly burstBytes: number;

  constructor(burstBytes: number) {
    this.burstBytes = burstBytes;
  }

  /** When a datagram may leave. */
  get readyMicros(): number {
    return this.nextMicros;
  }

  noteSent(bytes: number, bitsPerSecond: number, nowMicros: number): void {
    const microsPerByte = 8e6 / bitsPerSecond;
    const earliest = nowMicros - this.burstBytes * microsPerByte;
    this.nextMicros = Math.max(this.nextMicros, earliest) + bytes * microsPerByte;
  }
}

const BACK_OFF = 0.85;
/**
 * Growth in a round trip is √(rate × this), bits per second: 1.4 % of 1 Gbit/s, 4.5 % of 100 Mbit/s.
 * Of two who share a path and back off together, the slower so gains on the faster.
 */
const GROWTH_BITS_PER_SECOND = 2e5;
const MOST_GROWTH = 0.15;
/**
 * On a shorter path, two busy processes and their sockets are what delays and floods: there every
 * back-off is a small one, and growth is this.
 */
const NEAR_MICROS = 10_000;
const NEAR_GROWTH = 1.05;
/** Beyond this share lost no path is merely lossy. */
const FLOODED_SHARE = 0.3;
const LEAST_FACTOR = 0.3;
/** Queueing that starts a back-off: this much, or a quarter of the empty path if that is more. */
const QUEUE_MICROS = 20_000;
const QUEUE_SHARE = 0.25;
/** Share of packets beyond repair that counts as overload. */
const OVERLOAD_SHARE = 0.01;
/** After a back-off for loss, the share that arrives must have grown by this, or loss is random. */
const RELIEF = 1.05;
/** Round trips during which loss that did not yield to back-off is taken as the path's own. */
const RANDOM_LOSS_ROUNDS = 32;
const LEAST_BITS_PER_SECOND = 1e6;
/** Slow start: from this share of the maximum, doubling each round until the first back-off. */
const START_SHARE = 1 / 8;
const START_GROWTH = 2;

/** What happened to our packets in the last round trip. */
export interface RoundReport {
  readonly queueMicros: number;
  readonly leastMicros: number;
  /** Data packets whose fate became known. */
  readonly packets: number;
  readonly lost: number;
  readonly unrecoverable: number;
}

export class RateControl {
  bitsPerSecond: number;
  /** In the last round trip: queues grew, or loss may have been the path's being full. */
  isBackingOff = false;
  private isStarting = true;
  private readonly maximum: number;
  private readonly minimum: number;
  private arrivedBeforeBackOff = 0;
  private randomLossRounds = 0;

  constructor(maximumBitsPerSecond: number) {
    this.maximum = maximumBitsPerSecond;
    this.minimum = Math.min(maximumBitsPerSecond, LEAST_BITS_PER_SECOND);
    this.bitsPerSecond = Math.max(this.minimum, START_SHARE * maximumBitsPerSecond);
  }

  /** Once a round trip. */
  handleRound(report: RoundReport): void {
    const delayed = report.queueMicros > Math.max(QUEUE_MICROS, QUEUE_SHARE * report.leastMicros);
    const overrun = this.isOverrun(report);
    this.isBackingOff = delayed || overrun;
    if (this.isBackingOff) this.isStarting = false;
    const factor = this.isBackingOff ? backOff(report) : this.growth(report);
    this.bitsPerSecond = Math.min(
      this.maximum,
      Math.max(this.minimum, this.bitsPerSecond * factor),
    );
  }

  private growth(report: RoundReport): number {
    if (this.isStarting) return START_GROWTH;
    if (isNear(report)) return NEAR_GROWTH;
    return 1 + Math.min(MOST_GROWTH, Math.sqrt(GROWTH_BITS_PER_SECOND / this.bitsPerSecond));
  }

  /**
   * Sending less through a full bottleneck makes a larger share arrive; it does nothing against
   * random loss. So one back-off that brought no relief ends the back-offs for a while.
   */
  private isOverrun(report: RoundReport): boolean {
    const isFlooded = report.unrecoverable > FLOODED_SHARE * report.packets;
    if (isFlooded && !isNear(report)) return true;
    if (this.randomLossRounds > 0) {
      this.randomLossRounds--;
      return false;
    }
    if (report.unrecoverable <= OVERLOAD_SHARE * report.packets) {
      this.arrivedBeforeBackOff = 0;
      return false;
    }
    const arrived = 1 - report.lost / report.packets;
    const before = this.arrivedBeforeBackOff;
    this.arrivedBeforeBackOff = arrived;
    if (before === 0 || arrived >= before * RELIEF) return true;
    this.arrivedBeforeBackOff = 0;
    this.randomLossRounds = RANDOM_LOSS_ROUNDS;
    return false;
  }
}

function isNear({ leastMicros }: RoundReport): boolean {
  return leastMicros < NEAR_MICROS;
}

/** What arrived is what the path can carry, when it is flooded. */
function backOff(report: RoundReport): number {
  if (isNear(report)) return BACK_OFF;
  const arrived = 1 - report.lost / report.packets;
  return Math.max(LEAST_FACTOR, Math.min(BACK_OFF, arrived));
}
