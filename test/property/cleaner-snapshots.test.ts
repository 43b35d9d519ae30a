/**
 * What snapshots hold is moved in the midst of everything else: random histories with partial
 * overwrites, shared blocks, long attribute values, snapshots taken and removed while the cleaner moves
 * what they hold, and the power going at any event of that. After each: files and snapshots are what
 * they were, fsck is clean to the byte, space is what trees refer to, and nothing is left of what is gone.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { CleanerMirror } from "../cleaner-mirror.ts";
import type { CleanerWorld } from "../cleaner-world.ts";
import { SnapshotScene, stepAmidTrimming } from "../snapshot-scene.ts";

/** Of this world: a segment that is not worth cleaning may be left. */
const SEGMENT_BYTES = 128 * 1024;
/** Segments that are not full, nodes, tables: more than all of them in these small stores. */
const SLACK_BYTES = 256 * 1024;

/** Of the tables of all trees, the most that each segment has: at most what is referred to. */
function neededBytes({ volume, log }: CleanerWorld): number {
  const { kept, live } = volume;
  return log.segments.reduce(
    (sum, { segment }) => sum + Math.max(live.of(segment), kept.mostOf(segment)),
    0,
  );
}

test("snapshots stay what they are and cost what they hold, whatever is moved, and when", async () => {
  const tally = { movedTrees: 0, snapshots: 0 };
  const history = fc.array(stepAmidTrimming, { minLength: 40, maxLength: 80, size: "max" });
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const scene = new SnapshotScene();
      const { world } = scene;
      await world.trim();
      const empty = world.storeBytes;
      for (const next of steps) {
        const before = world.volume.keptSnapshots.map(({ root }) => root);
        await scene.run(next);
        const after = new Set(world.volume.keptSnapshots.map(({ root }) => root));
        tally.snapshots += before.length;
        tally.movedTrees += before.filter((root) => !after.has(root)).length;
      }
      await scene.verify();
      await world.trim();
      await world.trim();
      await scene.verify();
      expect(world.storeBytes).toBeLessThan(1.25 * neededBytes(world) + SLACK_BYTES);
      await scene.clear();
      await world.trim();
      expect(world.storeBytes).toBeLessThan(empty + SEGMENT_BYTES);
      await scene.verify();
    }),
    { numRuns: 15, endOnFailure: true },
  );
  expect(tally.movedTrees).toBeGreaterThan(tally.snapshots / 50);
}, 60_000);

test("a mirror shows every snapshot as it is, wherever it was moved to, and drops nothing of it", async () => {
  const tally = { dropped: 0, snapshots: 0 };
  const history = fc.array(stepAmidTrimming, { minLength: 40, maxLength: 60, size: "max" });
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const scene = new SnapshotScene();
      const { world } = scene;
      const mirror = new CleanerMirror(world);
      // The primary drops nothing that this mirror lacks.
      world.mirror = mirror.log;
      scene.during = (work) => mirror.during(work);
      for (const [i, next] of steps.entries()) {
        await scene.run(next);
        if (i % 3 !== 0) continue;
        await world.durable();
        await mirror.catchUp();
        tally.snapshots += await scene.verifySnapshotsOf(mirror.volume);
      }
      tally.dropped += mirror.log.statistics.segmentsDropped;
      expect(mirror.expectEqualSegments()).toBeGreaterThan(0);
      await world.run(world.cleaner.stop());
    }),
    { numRuns: 8, endOnFailure: true },
  );
  expect(tally.dropped).toBeGreaterThan(50);
  expect(tally.snapshots).toBeGreaterThan(50);
}, 60_000);
