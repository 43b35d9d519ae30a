import { describe, expect, it } from "vitest";
import { Adaptation, overheadOf } from "../../gateway/core/code/adaptation.ts";
import {
  type CodeParameters,
  DEFAULT_CODE,
  type LossEstimate,
} from "../../gateway/core/code/code.ts";
import { levelsOf } from "../../gateway/core/code/parameters.ts";
import { LossEstimator } from "../../gateway/core/code/loss-estimator.ts";
import { riskModelOf } from "../../gateway/core/code/risk.ts";
import { Prng } from "../../lib/prng.ts";

const SECOND = 1_000_000;
const BOUNDS = { minOverhead: 0, maxOverhead: 0.5 };
const GOAL = 1e-6;
const CLEAN: LossEstimate = { loss: 1e-4, burst: 1.2 };
const BAD: LossEstimate = { loss: 0.06, burst: 1.05 };

interface Change {
  readonly atMicros: number;
  readonly code: CodeParameters;
}

/** The same situation, ten times a second. */
function hold(
  adaptation: Adaptation,
  link: LossEstimate,
  span: { readonly from: number; readonly seconds: number },
  isQueueing = false,
): Change[] {
  const changes: Change[] = [];
  for (let n = 0; n < span.seconds * 10; n++) {
    const atMicros = (span.from + n / 10) * SECOND;
    const code = adaptation.consider({ link, goal: GOAL, isQueueing }, atMicros);
    if (code !== null) changes.push({ atMicros, code });
  }
  return changes;
}

function riskOf(code: CodeParameters, link: LossEstimate): number {
  const level = levelsOf(code);
  const whole = { layers: level, spread: level, copies: 0, stride: 1, depth: 3 };
  return riskModelOf(code, link).packetRisk(whole);
}

describe("adaptation", () => {
  it("comes down to almost nothing on a clean link, after a while and in one step", () => {
    const changes = hold(new Adaptation(DEFAULT_CODE, BOUNDS), CLEAN, { from: 0, seconds: 60 });
    expect(changes.length).toBe(1);
    const { atMicros, code } = changes[0] as Change;
    expect(atMicros).toBeGreaterThanOrEqual(10 * SECOND);
    expect(overheadOf(code)).toBeLessThan(0.03);
    expect(riskOf(code, CLEAN)).toBeLessThanOrEqual(GOAL);
  });

  it("goes up at the first sight of a bad link, to what meets the goal", () => {
    const adaptation = new Adaptation(DEFAULT_CODE, BOUNDS);
    hold(adaptation, CLEAN, { from: 0, seconds: 30 });
    const changes = hold(adaptation, BAD, { from: 30, seconds: 5 });
    expect(changes.length).toBe(1);
    const { atMicros, code } = changes[0] as Change;
    expect(atMicros).toBe(30 * SECOND);
    expect(riskOf(code, BAD)).toBeLessThanOrEqual(GOAL);
  });

  it("does not answer queues with repairs, but what is left when they are gone", () => {
    const adaptation = new Adaptation(DEFAULT_CODE, BOUNDS);
    hold(adaptation, CLEAN, { from: 0, seconds: 30 });
    expect(hold(adaptation, BAD, { from: 30, seconds: 60 }, true)).toEqual([]);
    expect(hold(adaptation, BAD, { from: 90, seconds: 1 }).length).toBe(1);
  });

  it.each([
    [0.1, 0.2],
    [0.3, 1],
    [0, 0.05],
  ])("keeps within bounds of %d and %d", (minOverhead, maxOverhead) => {
    const adaptation = new Adaptation(DEFAULT_CODE, { minOverhead, maxOverhead });
    const links = [CLEAN, { loss: 0.01, burst: 1 }, { loss: 0.05, burst: 8 }, BAD];
    for (let from = 0; from < 2000; from += 100) {
      const link = links[(from / 100) % links.length] as LossEstimate;
      for (const { code } of hold(adaptation, link, { from, seconds: 100 })) {
        if (code === DEFAULT_CODE) continue;
        expect(overheadOf(code)).toBeGreaterThanOrEqual(minOverhead);
        expect(overheadOf(code)).toBeLessThanOrEqual(maxOverhead);
      }
    }
  });

  it("takes long bursts for what they are: dearer than as much independent loss", () => {
    const bursts = hold(
      new Adaptation(DEFAULT_CODE, { minOverhead: 0, maxOverhead: 1.3 }),
      { loss: 0.012, burst: 10 },
      { from: 0, seconds: 1 },
    );
    expect(bursts.length).toBe(1);
    expect(overheadOf((bursts[0] as Change).code)).toBeGreaterThan(0.5);
  });

  it("comes to rest on a link that turns bad again and again", () => {
    const adaptation = new Adaptation(DEFAULT_CODE, BOUNDS);
    const changes: Change[] = [];
    for (let from = 0; from < 1800; from += 30) {
      changes.push(...hold(adaptation, CLEAN, { from, seconds: 15 }));
      changes.push(...hold(adaptation, BAD, { from: from + 15, seconds: 15 }));
    }
    const late = changes.filter(({ atMicros }) => atMicros > 120 * SECOND);
    // Once it waits longer than the good times last, it stays up.
    expect(late.length).toBeLessThanOrEqual(2);
  });
});

describe("measured loss, 1,000 packets a second", () => {
  /** Changes by minute, for loss as a function of time in seconds. */
  function changesByMinute(seed: number, minutes: number, lossAt: (seconds: number) => number) {
    const prng = new Prng(seed);
    const estimator = new LossEstimator("both");
    const adaptation = new Adaptation(DEFAULT_CODE, BOUNDS);
    const byMinute = Array.from({ length: minutes }, () => 0);
    for (let tenth = 0; tenth < 600 * minutes; tenth++) {
      const loss = lossAt(tenth / 10);
      let lost = 0;
      for (let n = 0; n < 100; n++) if (prng.chance(loss)) lost++;
      estimator.add(100, lost, lost);
      const { loss: bound, burst } = estimator.estimate();
      // Rounded as the sender does, so that models are asked seldom.
      const link = { loss: 2 ** (Math.ceil(Math.log2(bound) * 8) / 8), burst: Math.max(1, burst) };
      const rounded = { ...link, burst: 2 ** (Math.ceil(Math.log2(link.burst) * 16) / 16) };
      const situation = { link: rounded, goal: GOAL, isQueueing: false };
      const code = adaptation.consider(situation, tenth * 100_000);
      if (code !== null)
        byMinute[Math.floor(tenth / 600)] = (byMinute[Math.floor(tenth / 600)] ?? 0) + 1;
    }
    return byMinute;
  }

  it.each([0.0003, 0.001, 0.003, 0.01, 0.02, 0.04])(
    "constant loss of %d: no oscillation",
    (loss) => {
      const byMinute = changesByMinute(3, 15, () => loss);
      expect(Math.max(...byMinute)).toBeLessThanOrEqual(4);
      // The last ten minutes.
      expect(byMinute.slice(5).reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(3);
    },
  );

  it("follows a slow drift in few steps, both ways", () => {
    const triangle = (seconds: number): number => 0.04 * (1 - Math.abs(seconds / 450 - 1));
    const byMinute = changesByMinute(4, 15, triangle);
    expect(Math.max(...byMinute)).toBeLessThanOrEqual(4);
    expect(byMinute.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(16);
    expect(byMinute.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(3);
  });
});
