import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { EmulatedLink } from "../../netem/core/link.ts";
import { IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";

const share = fc.double({ min: 0, max: 0.5, noNaN: true });
const settings: fc.Arbitrary<LinkSettings> = fc.record({
  delayMicros: fc.nat(1_000),
  jitterMicros: fc.nat(1_000),
  rateBitsPerSecond: fc.constantFrom(Infinity, 1e6, 1e9),
  queueBytes: fc.option(fc.nat(20_000)),
  loss: fc.oneof(
    fc.record({ kind: fc.constant("independent" as const), share }),
    fc.record({
      kind: fc.constant("bursts" as const),
      share,
      meanPackets: fc.integer({ min: 1, max: 50 }),
    }),
  ),
  reorderShare: share,
  reorderDelayMicros: fc.nat(2_000),
  duplicateShare: share,
  mtuBytes: fc.constantFrom(Infinity, 700),
});

type Step =
  | { readonly kind: "send"; readonly bytes: number }
  | { readonly kind: "poll"; readonly afterMicros: number }
  | { readonly kind: "configure"; readonly changes: LinkSettings }
  | { readonly kind: "cut" | "restore" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("send"), bytes: fc.nat(1_500) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("poll"), afterMicros: fc.nat(800) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("configure"), changes: settings }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("cut" as const, "restore") }) },
) as fc.Arbitrary<Step>;

const steps = fc.array(step, { maxLength: 200 });

/** Runs the steps; gives everything that could be seen from outside, in order. */
function history(initial: LinkSettings, seed: number, list: readonly Step[]): unknown[] {
  const link = new EmulatedLink<number>(initial, new Prng(seed));
  const seen: unknown[] = [];
  let nowMicros = 0;
  let next = 0;
  for (const each of list) {
    if (each.kind === "send") seen.push(link.send(next++, each.bytes, nowMicros));
    else if (each.kind === "configure") link.configure(each.changes, nowMicros);
    else if (each.kind === "poll") {
      nowMicros += each.afterMicros;
      seen.push([nowMicros, link.poll(nowMicros), link.nextTimeoutMicros()]);
    } else link[each.kind]();
    checkConservation(link);
  }
  return [...seen, { ...link.statistics }];
}

function checkConservation(link: EmulatedLink<number>): void {
  const { sent, duplicated, delivered, lost, overflowed, tooLong, cut } = link.statistics;
  const gone = lost + overflowed + tooLong + cut;
  expect(sent + duplicated).toBe(delivered + gone + link.packetsInFlight);
}

test("packets are conserved after every step, and one seed gives one history", () => {
  fc.assert(
    fc.property(settings, fc.nat(), steps, (initial, seed, list) => {
      expect(history(initial, seed, list)).toEqual(history(initial, seed, list));
    }),
    { numRuns: 150 },
  );
});

test("without reordering and duplication packets arrive at most once and in order", () => {
  fc.assert(
    fc.property(
      settings,
      fc.nat(),
      fc.array(fc.nat(2_000), { maxLength: 300 }),
      (any, seed, gaps) => {
        const calm = { ...any, reorderShare: 0, duplicateShare: 0 };
        const link = new EmulatedLink<number>(calm, new Prng(seed));
        const arrived: number[] = [];
        let nowMicros = 0;
        for (const [index, gap] of gaps.entries()) {
          nowMicros += gap;
          link.send(index, 1_000, nowMicros);
          const packet = link.poll(nowMicros);
          if (packet !== null) arrived.push(packet);
        }
        for (let p = link.poll(Infinity); p !== null; p = link.poll(Infinity)) arrived.push(p);
        expect(arrived).toEqual([...new Set(arrived)].toSorted((a, b) => a - b));
        expect(link.statistics.reordered).toBe(0);
      },
    ),
    { numRuns: 150 },
  );
});

test("the loss of each packet depends on the seed alone, not on the other effects", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(5_000), share, (seed, jitterMicros, reorderShare) => {
      const lost = (extra: Partial<LinkSettings>): unknown[] => {
        const base = { ...IDEAL_LINK, delayMicros: 100 };
        const calm = { jitterMicros: 0, reorderShare: 0, reorderDelayMicros: 9, duplicateShare: 0 };
        const loss = { kind: "bursts", share: 0.2, meanPackets: 3 } as const;
        const link = new EmulatedLink({ ...base, ...calm, loss, ...extra }, new Prng(seed));
        return Array.from({ length: 200 }, (_, i) => link.send(i, 100, i));
      };
      expect(lost({ jitterMicros, reorderShare, duplicateShare: 0.3 })).toEqual(lost({}));
    }),
    { numRuns: 50 },
  );
});
