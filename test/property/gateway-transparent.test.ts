/** Laws of the transparent mode: what is put back was sent, once, and the code's repairs suffice. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import { makeSendable, normalise } from "../../gateway/core/ip/fingerprint.ts";
import { IPV4, type IpPacket } from "../../gateway/core/ip/ip.ts";
import { transportChecksum } from "../../gateway/core/ip/ip-checksum.ts";
import { TransparentEgress } from "../../gateway/core/ip/transparent-egress.ts";
import { TransparentIngress } from "../../gateway/core/ip/transparent-ingress.ts";
import { toHex } from "../../lib/bytes.ts";
import { Prng } from "../../lib/prng.ts";
import { parsed, udpPacket } from "../ip-packets.ts";

const SECRET = Uint8Array.of(9, 8, 7, 6, 5, 4, 3, 2);
const CODE: CodeParameters = { kind: "layered", r: 8, interleave: [1, 10, 100] };
const ENDS = { source: "10.1.0.2", destination: "10.2.0.3" };
const MESSAGE_BYTES = 1350;

/** Two gateways and a path that loses and reorders; time is counted in packets. */
class World {
  readonly egress = new TransparentEgress({
    code: CODE,
    secret: SECRET,
    messageBytes: MESSAGE_BYTES,
  });
  readonly ingress: TransparentIngress;
  readonly arrived = new Set<string>();
  readonly injected: IpPacket[] = [];
  private readonly out = new Uint8Array(1500);
  private readonly prng: Prng;
  private readonly loss: number;
  private readonly delayed: { packet: Uint8Array; turn: number }[] = [];
  private now = 0;

  constructor(seed: number, loss: number, secret = SECRET) {
    this.prng = new Prng(seed);
    this.loss = loss;
    this.ingress = new TransparentIngress({ secret, windowPackets: 4096 });
  }

  send(packet: Uint8Array, lateness = 0): void {
    this.now += 100;
    this.egress.push(packet.slice(), this.now);
    if (this.prng.float() >= this.loss) {
      this.delayed.push({ packet, turn: this.now + lateness * 100 });
    }
    this.deliverDue();
    this.repair();
  }

  finish(): void {
    this.now += 1e6;
    this.deliverDue();
    this.repair();
  }

  private deliverDue(): void {
    for (let i = 0; i < this.delayed.length; ) {
      const { packet, turn } = this.delayed[i] ?? { packet: this.out, turn: Infinity };
      if (turn > this.now) {
        i++;
        continue;
      }
      this.delayed.splice(i, 1);
      this.arrived.add(idOf(packet));
      const seen = packet.slice();
      // A router took a hop off.
      seen[IPV4.ttlAt] = 55;
      this.ingress.noteSeen(seen);
      this.drain();
    }
  }

  private repair(): void {
    for (;;) {
      const length = this.egress.poll(this.out, this.now);
      if (length === 0) return;
      if (this.prng.float() < this.loss) continue;
      this.ingress.handleRepair(this.out.slice(0, length));
      this.drain();
    }
  }

  private drain(): void {
    for (;;) {
      const rebuilt = this.ingress.pollRebuilt();
      if (rebuilt === null) return;
      const copy = rebuilt.slice();
      makeSendable(copy, 20);
      this.injected.push(parsed(copy));
    }
  }
}

/** The packet as both ends see it. */
function idOf(packet: Uint8Array): string {
  const copy = packet.slice();
  normalise(copy);
  return toHex(copy.subarray(0, 60));
}

function packets(count: number, seed: number): Uint8Array[] {
  const prng = new Prng(seed);
  return Array.from({ length: count }, (_, i) => {
    const payload = new Uint8Array(40 + prng.below(1100));
    new DataView(payload.buffer).setUint32(0, i);
    return udpPacket(ENDS, payload, i & 0xffff);
  });
}

describe("between two gateways", () => {
  it("what is put back is what was sent and did not come, with right checksums", () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(0, 0.01, 0.1), fc.nat(3), (seed, loss, lateness) => {
        const world = new World(seed, loss);
        const sent = packets(400, seed);
        const prng = new Prng(seed);
        for (const packet of sent) world.send(packet, prng.below(lateness + 1));
        world.finish();
        const sentIds = new Set(sent.map(idOf));
        for (const packet of world.injected) {
          expect(transportChecksum(packet)).toBe(0);
          const id = idOf(packet.bytes);
          expect(sentIds).toContain(id);
        }
        if (lateness === 0) {
          for (const packet of world.injected)
            expect(world.arrived).not.toContain(idOf(packet.bytes));
        }
        const had = new Set([...world.arrived, ...world.injected.map((p) => idOf(p.bytes))]);
        if (loss <= 0.01) expect(had.size).toBe(sent.length);
        expect(world.ingress.statistics.wrongPackets).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it("a gateway with another secret rebuilds nothing", () => {
    const world = new World(1, 0.02, new Uint8Array(8));
    for (const packet of packets(400, 1)) world.send(packet);
    world.finish();
    expect(world.injected).toEqual([]);
  });

  it("packets too long for a repair are not protected, and counted", () => {
    const world = new World(1, 0);
    const { packetBytes } = world.egress;
    const fits = udpPacket(ENDS, new Uint8Array(packetBytes - 28));
    const tooLong = udpPacket(ENDS, new Uint8Array(packetBytes - 27));
    expect(world.egress.push(fits, 0)).toBe(0);
    expect(world.egress.push(tooLong, 0)).toBe(-1);
    expect(world.egress.statistics.tooLongPackets).toBe(1);
  });

  it("reports the loss as it was", () => {
    const world = new World(3, 0.05);
    for (const packet of packets(3000, 3)) world.send(packet);
    world.finish();
    const { missingPackets, latePackets } = world.ingress.statistics;
    const lost = 3000 - world.arrived.size;
    expect(missingPackets - latePackets).toBeGreaterThan(0.95 * lost);
    expect(missingPackets - latePackets).toBeLessThanOrEqual(lost);
  });

  it("messages with anything in them throw nothing but what the association counts", () => {
    const { ingress } = new World(1, 0);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          ingress.handleRepair(Uint8Array.of(1, bytes[0] ?? 0, 0, 0, ...bytes));
        } catch (error) {
          expect(error).toMatchObject({ name: "SmfsError" });
        }
        expect(ingress.pollRebuilt()).toBeNull();
      }),
      { numRuns: 300 },
    );
  });
});
