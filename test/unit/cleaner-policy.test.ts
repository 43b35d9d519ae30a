import { describe, expect, test } from "vitest";
import {
  chooseVictims,
  emptinessOf,
  gainOf,
  goalOf,
  type Need,
  type SegmentUsage,
  worthOf,
  writableBytes,
} from "../../logfs/core/fs/cleaner/policy.ts";
import { costBenefit, runModel } from "../sim/cleaning-model.ts";

const NOW = 1_000_000;

function segment(number: number, utilisation: number, ageSeconds: number): SegmentUsage {
  const writtenSeconds = NOW - ageSeconds;
  return { segment: number, bytes: 1000, liveBytes: 1000 * utilisation, writtenSeconds };
}

function chosen(candidates: SegmentUsage[], budgetBytes = 10_000, wantedBytes = 10_000): number[] {
  const victims = chooseVictims(candidates, NOW, { budgetBytes, wantedBytes });
  return victims.map((one) => one.segment);
}

describe("the choice of victims", () => {
  test("of two segments of one age the emptier goes first", () => {
    expect(chosen([segment(1, 0.8, 60), segment(2, 0.3, 60)])).toEqual([2, 1]);
  });

  test("a cold segment goes at 75 % before a hot one at 50 %", () => {
    expect(chosen([segment(1, 0.5, 10), segment(2, 0.75, 1000)])[0]).toBe(2);
  });

  test("what has no dead bytes, or hardly any, is left alone, whatever its age", () => {
    expect(chosen([segment(1, 1, 1e6), segment(2, 0.99, 1e6)])).toEqual([]);
  });

  test("what has no live bytes needs no cleaning", () => {
    expect(chosen([segment(1, 0, 60)])).toEqual([]);
  });

  test("live bytes stay within the budget, and a smaller victim takes the place of one too large", () => {
    const candidates = [segment(1, 0.5, 100), segment(2, 0.4, 90), segment(3, 0.1, 1)];
    expect(chosen(candidates, 600)).toEqual([2, 3]);
    expect(chosen(candidates, 50)).toEqual([]);
  });

  test("no more are chosen than give the dead bytes wanted", () => {
    const candidates = [1, 2, 3, 4].map((number) => segment(number, 0.5, 100));
    expect(chosen(candidates, 10_000, 900)).toEqual([1, 2]);
  });

  test("a clock that went back makes no segment's age negative", () => {
    expect(chosen([segment(1, 0.5, -1000), segment(2, 0.9, -1000)])).toEqual([1, 2]);
  });
});

describe("when to clean", () => {
  const thresholds = {
    garbageShare: 0.25,
    ownBytes: 100,
    pressureBytes: 50,
    leastGarbageBytes: 30,
  };
  const needOf = (freeBytes: number, garbageBytes: number, before: Need = "none"): Need =>
    goalOf({ freeBytes, usedBytes: 1000, garbageBytes }, thresholds, before).need;

  test("nothing is done while a quarter of the used bytes or less is garbage", () => {
    expect(needOf(1000, 250)).toBe("none");
    expect(needOf(1000, 251)).toBe("background");
  });

  test("background work goes on until there is a little less garbage than when it began", () => {
    expect(needOf(1000, 240, "background")).toBe("background");
    expect(needOf(1000, 220, "background")).toBe("none");
  });

  test("pressure begins above the cleaner's own space and ends at twice the distance", () => {
    expect(needOf(149, 0)).toBe("pressure");
    expect(needOf(150, 0)).toBe("none");
    expect(needOf(199, 0, "pressure")).toBe("pressure");
    expect(needOf(200, 0, "pressure")).toBe("none");
  });

  test("what is wanted is what is missing until there is no need any more", () => {
    const space = { freeBytes: 120, usedBytes: 1000, garbageBytes: 300 };
    expect(goalOf(space, thresholds, "none").wantedBytes).toBe(80);
    expect(goalOf({ ...space, freeBytes: 500 }, thresholds, "none").wantedBytes).toBe(75);
  });

  test("a little garbage in a small store is left alone", () => {
    const small = { freeBytes: 1000, usedBytes: 40, garbageBytes: 28 };
    expect(goalOf(small, thresholds, "none").need).toBe("none");
  });

  test("a segment that is not worth its move gains nothing", () => {
    expect(gainOf({ bytes: 1024, liveBytes: 1000 })).toBe(0);
    expect(gainOf({ bytes: 1024, liveBytes: 0 })).toBe(1024);
    expect(gainOf({ bytes: 1024, liveBytes: 512 })).toBe(504);
  });

  test("what can be written is what is free and garbage, less the cleaner's own", () => {
    expect(writableBytes({ freeBytes: 300, usedBytes: 700, garbageBytes: 310 }, 100)).toBe(510);
    expect(writableBytes({ freeBytes: 20, usedBytes: 700, garbageBytes: 10 }, 100)).toBe(0);
  });
});

describe("the simulator of LFS §3.5", () => {
  const model = { seed: 7, segments: 200, blocksPerSegment: 64 } as const;

  test("with uniform overwrites at 75 % the cleaned segments are about 55 % full, as the paper says", () => {
    const { cleanedUtilisation, writeCost } = runModel({
      ...model,
      utilisation: 0.75,
      pattern: "uniform",
      worth: emptinessOf,
    });
    expect(cleanedUtilisation).toBeGreaterThan(0.5);
    expect(cleanedUtilisation).toBeLessThan(0.66);
    expect(writeCost).toBeCloseTo(2 / (1 - cleanedUtilisation), 1);
  });

  test.each([0.5, 0.75, 0.85, 0.9])(
    "with hot and cold files at %f ours writes less than greedy and than the paper's cost-benefit",
    (utilisation) => {
      const run = { ...model, utilisation, pattern: "hot and cold" } as const;
      const ours = runModel({ ...run, worth: worthOf }).writeCost;
      expect(ours).toBeLessThan(0.9 * runModel({ ...run, worth: emptinessOf }).writeCost);
      expect(ours).toBeLessThan(0.95 * runModel({ ...run, worth: costBenefit }).writeCost);
    },
  );

  test("with uniform overwrites at 90 % it costs little more than greedy, and goes on for twenty fills", () => {
    const run = { ...model, utilisation: 0.9, fills: 20, pattern: "uniform" } as const;
    const ours = runModel({ ...run, worth: worthOf }).writeCost;
    expect(ours).toBeLessThan(1.15 * runModel({ ...run, worth: emptinessOf }).writeCost);
  });
});
