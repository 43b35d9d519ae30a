/**
 * Snapshots while the cleaner moves data, segments are dropped and the power goes: every file of
 * every snapshot is what it was, byte for byte, and fsck finds nothing.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SnapshotScene, step } from "../snapshot-scene.ts";

test("every file of every snapshot is what it was, whatever is cleaned, dropped and lost", async () => {
  const tally = { cleaned: 0, dropped: 0, rollBacks: 0 };
  const history = fc.array(step, { minLength: 40, maxLength: 90, size: "max" });
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const scene = new SnapshotScene();
      for (const next of steps) {
        await scene.run(next);
        tally.cleaned = Math.max(tally.cleaned, scene.world.cleaner.counters.cleanedSegments);
        tally.dropped = Math.max(tally.dropped, scene.world.log.statistics.segmentsDropped);
      }
      await scene.verify();
      await scene.world.trim();
      await scene.verify();
      tally.rollBacks += scene.rollBacks;
    }),
    { numRuns: 25, endOnFailure: true },
  );
  expect(tally.cleaned).toBeGreaterThan(3);
  expect(tally.dropped).toBeGreaterThan(5);
  expect(tally.rollBacks).toBeGreaterThan(5);
});
