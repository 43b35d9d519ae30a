/**
 * Several associations through one bottleneck, in virtual time: each pair has its own way to the
 * bottleneck's far end and back, so that round trips may differ.
 */
import { Prng } from "../../lib/prng.ts";
import { MAX_DATAGRAM_BYTES, type TransportConfig } from "../../gateway/core/transport/config.ts";
import { EmulatedLink } from "../../netem/core/link.ts";
import { IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";
import { KEY, seededCrypto, Side } from "./transport-world.ts";

interface Parcel {
  readonly flow: Flow;
  readonly bytes: Uint8Array;
}

interface Flow {
  readonly a: Side;
  readonly b: Side;
  readonly ahead: EmulatedLink<Uint8Array>;
  readonly back: EmulatedLink<Uint8Array>;
}

const UDP_OVERHEAD_BYTES = 28;
const LEAST_WRITE_BYTES = 2 ** 16;

export class SharedWorld {
  nowMicros = 0;
  readonly flows: Flow[] = [];
  readonly bottleneck: EmulatedLink<Parcel>;
  private readonly prng: Prng;
  private readonly config: Partial<TransportConfig>;
  private readonly buffer = new Uint8Array(MAX_DATAGRAM_BYTES);

  constructor(seed: number, settings: Partial<LinkSettings>, config: Partial<TransportConfig>) {
    this.prng = new Prng(seed);
    this.config = config;
    this.bottleneck = new EmulatedLink({ ...IDEAL_LINK, ...settings }, this.child());
  }

  private child(): Prng {
    return new Prng(this.prng.u32());
  }

  /** A pair whose round trip without queues is twice `oneWayMicros`. */
  join(oneWayMicros: number): void {
    const own = { ...IDEAL_LINK, delayMicros: oneWayMicros };
    const side = (role: "initiator" | "responder"): Side =>
      new Side(role, seededCrypto(this.child()), KEY, this.config, {}, this.nowMicros);
    this.flows.push({
      a: side("initiator"),
      b: side("responder"),
      ahead: new EmulatedLink(own, this.child()),
      back: new EmulatedLink(own, this.child()),
    });
  }

  /** Bytes that each flow's receiver was handed during the run. */
  run(micros: number): number[] {
    const before = this.flows.map(({ b }) => b.receivedOffset);
    const end = this.nowMicros + micros;
    while (this.nowMicros < end) {
      this.step();
      const next = Math.min(this.bottleneck.nextTimeoutMicros(), ...this.flows.map(nextMicros));
      this.nowMicros = Math.max(this.nowMicros, Math.min(end, Math.ceil(next)));
    }
    return this.flows.map(({ b }, i) => b.receivedOffset - (before[i] ?? 0));
  }

  private step(): void {
    const { nowMicros } = this;
    for (let p = this.bottleneck.poll(nowMicros); p !== null; p = this.bottleneck.poll(nowMicros)) {
      p.flow.ahead.send(p.bytes, p.bytes.length, nowMicros);
    }
    for (const flow of this.flows) {
      const { a, b, ahead, back } = flow;
      const send = (bytes: Uint8Array): void => {
        this.bottleneck.send({ flow, bytes }, bytes.length + UDP_OVERHEAD_BYTES, nowMicros);
      };
      const answer = (bytes: Uint8Array): void => void back.send(bytes, bytes.length, nowMicros);
      this.deliver(ahead, b, answer);
      this.deliver(back, a, send);
      if (a.link.writableBytes > LEAST_WRITE_BYTES) a.write(a.link.writableBytes);
      this.pump(a, send);
      this.pump(b, answer);
    }
  }

  private deliver(
    path: EmulatedLink<Uint8Array>,
    to: Side,
    reply: (bytes: Uint8Array) => void,
  ): void {
    for (let d = path.poll(this.nowMicros); d !== null; d = path.poll(this.nowMicros)) {
      to.link.handleDatagram(d, this.nowMicros);
      const length = to.link.pollReply(this.buffer);
      if (length > 0) reply(this.buffer.slice(0, length));
    }
  }

  private pump(side: Side, send: (bytes: Uint8Array) => void): void {
    side.link.handleTimeout(this.nowMicros);
    for (;;) {
      const length = side.link.pollTransmit(this.buffer, this.nowMicros);
      if (length === 0) break;
      send(this.buffer.slice(0, length));
    }
    side.link.noteLeft();
  }
}

function nextMicros({ a, b, ahead, back }: Flow): number {
  return Math.min(
    ahead.nextTimeoutMicros(),
    back.nextTimeoutMicros(),
    a.link.nextTimeoutMicros(),
    b.link.nextTimeoutMicros(),
  );
}

/** Jain's fairness index (Jain, Chiu and Hawe 1984): 1 when all are equal. */
export function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return (sum * sum) / (shares.length * squares);
}
