/**
 * One file system, cut at every step of its disk: everything acknowledged is there, the rest is there
 * as far as some record, fsck is clean to the byte, and it goes on. Thousands of short lives, by the
 * command that runs tens of thousands: `npm run sim -- crash --seed N --runs M`.
 */
import { expect, it } from "vitest";
import { simulate } from "./command.ts";
import { CrashExplorer, CRASH_QUICK } from "./crash-explorer.ts";

const FIRST_SEED = 1000;
const SEEDS = 2000;

it("no cut at any step of the disk loses what was acknowledged, or half of anything", async () => {
  const total = await simulate("crash", FIRST_SEED, SEEDS, 580_000);
  // The lives must have been worth it.
  expect(total.crashes).toBeGreaterThan(SEEDS * 30);
  expect(total.images).toBeGreaterThan(SEEDS * 15);
  expect(total.failedSyncs).toBeGreaterThan(SEEDS / 10);
  expect(total.refusedForSpace).toBeGreaterThan(SEEDS / 20);
  expect(total.refusedForQuota).toBeGreaterThan(SEEDS / 20);
  expect(total.snapshots).toBeGreaterThan(SEEDS);
  expect(total.cleanedSegments).toBeGreaterThan(SEEDS / 10);
  expect(total.segmentsDropped).toBeGreaterThan(SEEDS / 10);
}, 600_000);

it("one seed gives one history", async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + 8; seed++) {
    const run = () => new CrashExplorer(seed, CRASH_QUICK).run();
    expect(await run()).toEqual(await run());
  }
});
