import { describe, expect, it } from "vitest";
import { BURST_BUCKETS, LossMeter } from "../../gateway/core/code/loss-meter.ts";
import { LossProcess } from "../../netem/core/loss.ts";
import { Prng } from "../../lib/prng.ts";

/** Pushes `count` ids from `first`, without those that `isLost`. */
function feed(meter: LossMeter, count: number, isLost: (n: number) => boolean, first = 0): void {
  for (let n = 0; n < count; n++) if (!isLost(n)) meter.push((first + n) >>> 0);
}

describe("the loss meter", () => {
  it("assumes about one percent, independent, before it has seen anything", () => {
    const { loss, burst } = new LossMeter().estimate();
    expect(loss).toBeGreaterThan(0.01);
    expect(loss).toBeLessThan(0.02);
    expect(burst).toBeLessThan(1.5);
  });

  it("comes down to what a clean link allows to say", () => {
    const meter = new LossMeter();
    feed(meter, 20_000, () => false);
    // Rule of three, one-sided 95 %: about 2.7 / 20,000.
    expect(meter.estimate().loss).toBeLessThan(2e-4);
    expect(meter.estimate().loss).toBeGreaterThan(1e-4);
    // No burst was seen, so little is known of their length.
    expect(meter.estimate().burst).toBeGreaterThan(1.2);
    expect(meter.estimate().burst).toBeLessThan(1.5);
  });

  it("bounds independent loss from above, closely", () => {
    const prng = new Prng(5);
    const meter = new LossMeter();
    feed(meter, 60_000, () => prng.chance(0.01));
    const { loss, burst } = meter.estimate();
    expect(loss).toBeGreaterThan(0.0095);
    expect(loss).toBeLessThan(0.0125);
    expect(burst).toBeLessThan(1.05);
  });

  it("bounds the mean burst from above, closely", () => {
    const meter = new LossMeter();
    feed(meter, 60_000, (n) => n % 800 >= 100 && n % 800 < 108);
    const { loss, burst } = meter.estimate();
    expect(burst).toBeGreaterThan(8);
    expect(burst).toBeLessThan(10);
    expect(loss).toBeGreaterThan(0.01);
    expect(loss).toBeLessThan(0.014);
  });

  it.each([
    { share: 0.01, meanPackets: 1.01 },
    { share: 0.01, meanPackets: 8 },
    { share: 0.05, meanPackets: 3 },
  ])("is above the truth nine times in ten: $share in bursts of $meanPackets", (truth) => {
    let lossHeld = 0;
    let burstHeld = 0;
    for (let seed = 1000; seed < 1100; seed++) {
      const losses = new LossProcess({ kind: "bursts", ...truth }, new Prng(seed));
      const meter = new LossMeter();
      feed(meter, 30_000, () => losses.next());
      const { loss, burst } = meter.estimate();
      if (loss >= truth.share) lossHeld++;
      if (burst >= truth.meanPackets) burstHeld++;
    }
    expect(lossHeld).toBeGreaterThanOrEqual(90);
    expect(burstHeld).toBeGreaterThanOrEqual(90);
  });

  it("sees through reordering of up to 63 places, and over the end of the ids", () => {
    const meter = new LossMeter();
    const prng = new Prng(6);
    const ids = Array.from({ length: 5000 }, (_, n) => ({ n, at: n + prng.below(63) }));
    const arriving = ids.filter(({ n }) => n % 100 !== 50).toSorted((a, b) => a.at - b.at);
    for (const { n } of arriving) meter.push((0xfffffc00 + n) >>> 0);
    expect(meter.statistics.lostPackets).toBe(meter.statistics.bursts);
    // The fiftieth, 50 from the end, is not judged yet.
    expect(meter.statistics.lostPackets).toBe(49);
  });

  it("keeps a histogram of burst lengths", () => {
    const meter = new LossMeter();
    const starts = new Map([
      [100, 1],
      [200, 2],
      [300, 4],
      [400, 5],
      [600, 100],
    ]);
    const lost = new Set<number>();
    for (const [start, length] of starts) for (let i = 0; i < length; i++) lost.add(start + i);
    feed(meter, 1000, (n) => lost.has(n));
    expect(meter.statistics.burstsByLength).toEqual([1, 1, 1, 1, 0, 0, 0, 1]);
    expect(meter.statistics.burstsByLength.length).toBe(BURST_BUCKETS.length);
    expect(meter.statistics.lostPackets).toBe(112);
  });

  it("does not take an outage for loss", () => {
    const meter = new LossMeter();
    feed(meter, 1000, () => false);
    feed(meter, 1000, () => false, 1_000_000);
    expect(meter.statistics).toMatchObject({ outages: 1, lostPackets: 0 });
  });

  it.each([
    [0.01, 0.05],
    [0.001, 0.02],
    [0, 0.01],
  ])("believes within 2,000 packets that loss went from %d to %d", (before, after) => {
    for (let seed = 1; seed <= 20; seed++) {
      const prng = new Prng(seed);
      const meter = new LossMeter();
      feed(meter, 60_000, () => prng.chance(before));
      feed(meter, 2_000, () => prng.chance(after), 60_000);
      expect(meter.estimate().loss, `seed ${seed}`).toBeGreaterThan(0.7 * after);
    }
  });

  it("does not take chance for a change", () => {
    const prng = new Prng(8);
    const meter = new LossMeter();
    feed(meter, 40_000, () => prng.chance(0.01));
    let highest = 0;
    for (let n = 40_000; n < 400_000; n += 1_000) {
      feed(meter, 1_000, () => prng.chance(0.01), n);
      highest = Math.max(highest, meter.estimate().loss);
    }
    expect(highest).toBeLessThan(0.015);
  });

  it("says how far packets were overtaken", () => {
    const meter = new LossMeter();
    feed(meter, 100, (n) => n === 50);
    expect(meter.statistics.overtakenBy).toBe(0);
    meter.push(50);
    meter.push(50);
    expect(meter.statistics.overtakenBy).toBe(49);
  });

  it("forgets: a link that got better is believed after a while", () => {
    const meter = new LossMeter();
    feed(meter, 60_000, (n) => n % 20 === 0);
    const bad = meter.estimate().loss;
    feed(meter, 400_000, () => false, 60_000);
    expect(bad).toBeGreaterThan(0.05);
    expect(meter.estimate().loss).toBeLessThan(0.002);
  });
});
