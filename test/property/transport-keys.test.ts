/** Laws of key updates under any loss, reordering and duplication. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { KEY_OVERLAP_MICROS } from "../../gateway/core/transport/key-update.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { Prng } from "../../lib/prng.ts";
import { End, ends } from "../transport-keys.ts";

/** Notes each use of a key with a nonce. */
function watched(used: Set<string>): CryptoPort {
  return {
    ...nodeCrypto,
    seal(key, nonce, associated, plain, out) {
      const use = `${Buffer.from(key).toString("hex")} ${Buffer.from(nonce).toString("hex")}`;
      expect(used.has(use), "a nonce is used once with a key").toBe(false);
      expect(
        key.some((byte) => byte !== 0),
        "an erased key is not used",
      ).toBe(true);
      used.add(use);
      return nodeCrypto.seal(key, nonce, associated, plain, out);
    },
  };
}

it("no nonce is used twice, packets open once, and both sides end with the same keys", () => {
  fc.assert(
    fc.property(fc.integer(), fc.double({ min: 0, max: 0.6, noNaN: true }), (seed, loss) => {
      const prng = new Prng(seed);
      const used = new Set<string>();
      const limits = { rekeyPackets: 4, rekeyMicros: 1_000_000 };
      const [a, b] = ends(watched(used), limits);
      // The initiator is heard first: so the handshake is confirmed.
      b.take(a.seal(0), 0);
      const wire = { a: [] as Uint8Array[], b: [] as Uint8Array[] };
      let nowMicros = 0;
      const counts = { sealed: 0 };
      for (let step = 0; step < 120; step++) {
        nowMicros += prng.below(KEY_OVERLAP_MICROS / 4);
        for (const [end, to] of [
          [a, wire.b],
          [b, wire.a],
        ] as const) {
          end.update.handleTimeout(nowMicros);
          const exchange = end.poll(nowMicros);
          if (exchange !== null) to.push(exchange);
          to.push(end.seal(1 + (counts.sealed++ % 7)));
        }
        for (const [end, inbox] of [
          [a, wire.a],
          [b, wire.b],
        ] as const)
          deliver(end, inbox);
      }
      // A quiet end: nothing is lost any more.
      for (let step = 0; step < 8; step++) {
        nowMicros += 600_000;
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          const exchange = from.poll(nowMicros);
          if (exchange !== null) to.take(exchange, nowMicros);
          expect(to.take(from.seal(1), nowMicros)).toBe(true);
        }
      }
      expect(a.channel.epoch).toBe(b.channel.epoch);
      expect(a.channel.epoch).toBeGreaterThan(0);

      function deliver(end: End, inbox: Uint8Array[]): void {
        const waiting = inbox.splice(0);
        for (const datagram of waiting) {
          if (prng.chance(loss)) continue;
          if (prng.chance(0.3)) {
            inbox.push(datagram);
            continue;
          }
          const isOpened = end.take(datagram, nowMicros);
          if (isOpened) expect(end.take(datagram, nowMicros), "a duplicate").toBe(false);
        }
      }
    }),
    { numRuns: 25 },
  );
});
