/** An association between virtual sockets: what `gateway/udp` is in virtual time. */
import { Association } from "../../gateway/core/transport/association.ts";
import type { TransportConfig } from "../../gateway/core/transport/config.ts";
import type { LinkHandler } from "../../gateway/core/transport/link.ts";
import { Prng } from "../../lib/prng.ts";
import type { Life } from "./life.ts";
import { KEY, seededCrypto } from "./transport-world.ts";

const MAX_DATAGRAM = 65_536;

export class Endpoint {
  readonly association: Association;
  private readonly life: Life;
  private readonly send: (datagram: Uint8Array) => void;
  private readonly out = new Uint8Array(MAX_DATAGRAM);
  private armedMicros = Infinity;

  constructor(
    role: "initiator" | "responder",
    life: Life,
    seed: number,
    handler: LinkHandler,
    config: Partial<TransportConfig>,
    send: (datagram: Uint8Array) => void,
  ) {
    this.life = life;
    this.send = send;
    const options = { role, key: KEY, crypto: seededCrypto(new Prng(seed)), handler, config };
    const wallOffsetMicros = life.wallMicros() - life.nowMicros();
    this.association = new Association({ ...options, wallOffsetMicros }, life.nowMicros());
  }

  receive(datagram: Uint8Array): void {
    this.association.handleDatagram(datagram, this.life.nowMicros());
    const length = this.association.pollReply(this.out);
    if (length > 0) this.send(this.out.slice(0, length));
  }

  /** Sends what may leave now, and wakes up when there is more. */
  drain(): void {
    const now = this.life.nowMicros();
    for (;;) {
      const length = this.association.pollTransmit(this.out, now);
      if (length === 0) break;
      this.send(this.out.slice(0, length));
    }
    this.association.noteLeft();
    const next = this.association.nextTimeoutMicros();
    if (next >= this.armedMicros && this.armedMicros > now) return;
    if (next === Infinity) return;
    this.armedMicros = Math.max(next, now + 1);
    this.life.at(this.armedMicros, () => {
      this.armedMicros = Infinity;
      this.association.handleTimeout(this.life.nowMicros());
    });
  }
}
