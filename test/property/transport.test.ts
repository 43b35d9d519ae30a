/** Laws of the transport's parts, against the simplest thing that has them. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Arrivals } from "../../gateway/core/transport/arrivals.ts";
import { Flight } from "../../gateway/core/transport/flight.ts";
import { Reassembly } from "../../gateway/core/transport/reassembly.ts";
import { REPLAY_WINDOW_PACKETS, ReplayWindow } from "../../gateway/core/transport/replay.ts";
import { Prng } from "../../lib/prng.ts";

describe("replay window", () => {
  it("takes every number of the window once, in any order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 300 }), (numbers) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let highest = -1;
        for (const number of numbers) {
          const isOld = number + REPLAY_WINDOW_PACKETS <= highest;
          expect(window.isFresh(number)).toBe(!isOld && !seen.has(number));
          if (!window.isFresh(number)) continue;
          window.mark(number);
          seen.add(number);
          highest = Math.max(highest, number);
        }
      }),
    );
  });

  it("works past 2^32", () => {
    const window = new ReplayWindow();
    window.mark(2 ** 40);
    expect(window.isFresh(2 ** 40)).toBe(false);
    expect(window.isFresh(2 ** 40 - 1)).toBe(true);
    expect(window.isFresh(2 ** 40 - REPLAY_WINDOW_PACKETS)).toBe(false);
  });
});

describe("reassembly", () => {
  it("hands on every byte once and in order, however pieces overlap", () => {
    const piece = fc.record({ at: fc.nat(200), length: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 120 }), (pieces) => {
        const out: number[] = [];
        const reassembly = new Reassembly(64, (bytes) => out.push(...bytes));
        const kept = new Set<number>();
        for (const { at, length } of pieces) {
          const bytes = Uint8Array.from({ length }, (_, i) => at + i);
          const fits = at + length <= out.length + 64;
          expect(reassembly.insert(at, bytes)).toBe(fits);
          if (fits) for (let i = at; i < at + length; i++) kept.add(i);
          let prefix = 0;
          while (kept.has(prefix)) prefix++;
          expect(out).toEqual(Array.from({ length: prefix }, (_, i) => i & 255));
          expect(reassembly.deliveredOffset).toBe(prefix);
        }
      }),
    );
  });
});

describe("arrivals and flight", () => {
  it("agree on what arrived, under any loss of data and acks", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0, max: 0.5, noNaN: true }), (seed, loss) => {
        const prng = new Prng(seed);
        const events = { acknowledged: new Set<number>(), lost: 0 };
        const flight: Flight = new Flight(() => ({
          segmentAcknowledged: (segment) => {
            expect(events.acknowledged.has(segment)).toBe(false);
            events.acknowledged.add(segment);
          },
          segmentLost: () => events.lost++,
          messageLost: () => {},
        }));
        const arrivals = new Arrivals();
        const had = new Set<number>();
        const bitmap = new Uint8Array(512);
        const rule = { horizonPackets: 50, horizonMicros: Infinity };
        let sent = 0;
        for (let step = 0; step < 600; step++) {
          const lost = flight.nextLost();
          const id =
            lost >= 0
              ? flight.resend(lost, Infinity, step)
              : flight.sendNew(0, 10 * sent++, 10, step);
          if (prng.chance(loss)) continue;
          arrivals.settle(flight.settledId);
          if (arrivals.check(id) === "new") arrivals.mark(id);
          had.add(flight.segmentOf(id));
          if (prng.chance(0.5)) continue;
          const length = arrivals.writeBitmap(bitmap);
          flight.acknowledgeBelow(arrivals.baseId);
          flight.acknowledgeBitmap(
            arrivals.baseId - (arrivals.baseId % 8),
            bitmap.subarray(0, length),
          );
          flight.settle(rule, step);
        }
        for (const segment of events.acknowledged) expect(had.has(segment)).toBe(true);
        expect(arrivals.unrecoverable).toBeLessThanOrEqual(events.lost);
        const unacknowledged = sent - events.acknowledged.size;
        expect(flight.inFlightBytes).toBeLessThanOrEqual(10 * unacknowledged);
      }),
      { numRuns: 60 },
    );
  });
});
