import { expect, test } from "vitest";
import { QUICK, run } from "../../bench/cleaner.ts";

test("the cleaner's bench measures both patterns, and more than nothing is cleaned", async () => {
  const { measured, reference } = await run(QUICK);
  expect(measured.map(({ pattern }) => pattern)).toEqual(["uniform", "hot and cold"]);
  for (const { writeAmplification, logUtilisation } of measured) {
    expect(writeAmplification).toBeGreaterThan(1);
    expect(writeAmplification).toBeLessThan(3);
    expect(logUtilisation).toBeGreaterThan(0.4);
  }
  expect(reference.noVariance.points).toContainEqual([0.5, 2]);
  for (const { points } of [reference.ofPaper.uniform, reference.ofPolicy["hot and cold"]]) {
    const costs = points.map(([, cost]) => cost);
    expect(costs).toEqual(costs.toSorted((a, b) => a - b));
    expect(costs[0]).toBeGreaterThanOrEqual(1);
  }
});
