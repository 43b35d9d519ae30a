/** The WAN of the two-site world: an emulated path that loses packets, breaks and mends. */
import { EmulatedPath } from "../../netem/core/path.ts";
import { IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";
import type { Prng } from "../../lib/prng.ts";
import type { VirtualClock } from "./clock.ts";

const NETWORK_OVERHEAD_BYTES = 28;

export type Way = "aToB" | "bToA";

export class WorldNetwork {
  brokenUntil = 0;
  private readonly clock: VirtualClock;
  private readonly prng: Prng;
  private readonly path: EmulatedPath<Uint8Array>;
  private readonly deliver: (way: Way, packet: Uint8Array) => void;
  private readonly armedMicros = { aToB: Infinity, bToA: Infinity };

  constructor(
    clock: VirtualClock,
    prng: Prng,
    seed: number,
    deliver: (way: Way, packet: Uint8Array) => void,
  ) {
    this.clock = clock;
    this.prng = prng;
    this.deliver = deliver;
    const settings = randomLink(prng);
    const paths = { aToB: settings, bToA: settings, seed, timeline: [] };
    this.path = new EmulatedPath<Uint8Array>(paths, 0);
  }

  get packets(): { readonly sent: number; readonly lost: number } {
    const { aToB, bToA } = this.path.statistics;
    return { sent: aToB.sent + bToA.sent, lost: aToB.lost + bToA.lost };
  }

  send(way: Way, datagram: Uint8Array): void {
    this.path[way].send(datagram, datagram.length + NETWORK_OVERHEAD_BYTES, this.now);
    this.arm(way);
  }

  break(micros: number): void {
    this.path.apply("both", { kind: "cut" }, this.now);
    this.brokenUntil = Math.max(this.brokenUntil, this.now + micros);
    this.clock.schedule(micros, () => {
      if (this.now >= this.brokenUntil) this.path.apply("both", { kind: "restore" }, this.now);
    });
  }

  changeLoss(): void {
    const changes = { loss: randomLoss(this.prng) };
    this.path.apply("both", { kind: "configure", changes }, this.now);
  }

  private get now(): number {
    return this.clock.nowMicros();
  }

  private arrive(way: Way): void {
    this.armedMicros[way] = Infinity;
    const link = this.path[way];
    for (let packet = link.poll(this.now); packet !== null; packet = link.poll(this.now)) {
      this.deliver(way, packet);
    }
    this.arm(way);
  }

  /** One wake-up a direction: for the next packet that arrives. */
  private arm(way: Way): void {
    const at = this.path[way].nextTimeoutMicros();
    if (at >= this.armedMicros[way]) return;
    this.armedMicros[way] = at;
    this.clock.at(at, () => {
      if (this.armedMicros[way] === at) this.arrive(way);
    });
  }
}

function randomLoss(prng: Prng): LinkSettings["loss"] {
  const share = prng.pick([0, 0.001, 0.005, 0.01]);
  return prng.chance(0.7)
    ? { kind: "independent", share }
    : { kind: "bursts", share, meanPackets: 2 + prng.below(7) };
}

function randomLink(prng: Prng): LinkSettings {
  return {
    ...IDEAL_LINK,
    delayMicros: prng.pick([1_000, 10_000, 50_000, 100_000]),
    jitterMicros: prng.pick([0, 0, 2_000]),
    rateBitsPerSecond: 1.2e9,
    loss: randomLoss(prng),
    reorderShare: prng.pick([0, 0, 0.01]),
    duplicateShare: prng.pick([0, 0, 0.01]),
  };
}
