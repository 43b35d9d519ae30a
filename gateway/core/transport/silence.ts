/**
 * Silence: for how long nothing has shown that our packets still arrive.
 *
 * A sign of life is a pong, or an ack that knows of a packet it did not know of before. Other
 * packets of the peer prove only the other direction: it pings and repeats acks on its own.
 *
 * While something is unacknowledged, acks come about every 25 ms, the first after a round trip. A
 * lone ack may be lost, and the probe that replaces it too; so from `doubtMicros` on the session
 * pings every DOUBT_PING_MICROS, and then ever more rarely, which leaves room for 10 pongs before
 * `endMicros`. That many are
 * not lost on a path that lives, bursts included. While nothing is unacknowledged the keep-alive
 * gives one sign per period, and the same allowance stands behind it.
 */

/** An ack may be late by so much: its own delay, those for holes, two busy processes. */
const LATE_MICROS = 50_000;
/** Between doubt and the end there is a round trip, for the first pong, and this. */
const PATIENCE_MICROS = 200_000;
const DOUBT_PING_MICROS = 20_000;
/** Of the time that has passed since doubt began: a long outage is not filled with pings. */
const DOUBT_PING_SHARE = 1 / 8;

/** Time between pings when doubt began so long ago. */
export function doubtPingMicros(overdueMicros: number): number {
  return Math.max(DOUBT_PING_MICROS, DOUBT_PING_SHARE * overdueMicros);
}

export class Silence {
  private readonly keepAliveMicros: number;
  private heardMicros: number;
  /** Since when something is unacknowledged; Infinity when nothing is. */
  private waitingMicros = Infinity;

  constructor(keepAliveMicros: number, nowMicros: number) {
    this.keepAliveMicros = keepAliveMicros;
    this.heardMicros = nowMicros;
  }

  noteHeard(nowMicros: number): void {
    this.heardMicros = nowMicros;
  }

  /** The first packet left since everything was acknowledged. */
  noteWaiting(nowMicros: number): void {
    this.waitingMicros = nowMicros;
  }

  noteAllAcknowledged(): void {
    this.waitingMicros = Infinity;
  }

  /** What will give the next sign leaves here at the latest. */
  private get baseMicros(): number {
    const latest = this.heardMicros + this.keepAliveMicros;
    return Math.max(this.heardMicros, Math.min(this.waitingMicros, latest));
  }

  /** When a sign of life is overdue. */
  doubtMicros(roundTripMicros: number): number {
    return this.baseMicros + roundTripMicros + LATE_MICROS;
  }

  /** When the peer or the path must be taken for gone until there is a sign. */
  endMicros(roundTripMicros: number): number {
    return this.doubtMicros(roundTripMicros) + roundTripMicros + PATIENCE_MICROS;
  }
}
