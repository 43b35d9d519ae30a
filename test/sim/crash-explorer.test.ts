/**
 * One file system, cut at every step of its disk: everything acknowledged is there, the rest is there
 * as far as some record, fsck is clean to the byte, and it goes on. More seeds, longer lives and all
 * fates of every cut: `npm run sim -- crash --seed N --runs M`.
 */
import { expect, it } from "vitest";
import { CrashExplorer, CRASH_QUICK, replayOf } from "./crash-explorer.ts";

const FIRST_SEED = 1000;
const SEEDS = 200;

it("no cut at any step of the disk loses what was acknowledged, or half of anything", async () => {
  const total = { cuts: 0, crashes: 0, failedSyncs: 0, refusedForSpace: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const explorer = new CrashExplorer(seed, CRASH_QUICK);
    await explorer.run().catch((error: unknown) => {
      throw new Error(replayOf(seed), { cause: error });
    });
    for (const key of Object.keys(total) as (keyof typeof total)[]) {
      total[key] += explorer.summary[key];
    }
  }
  // The lives must have been worth it.
  expect(total.crashes).toBeGreaterThan(SEEDS * 50);
  expect(total.failedSyncs).toBeGreaterThan(SEEDS / 10);
  expect(total.refusedForSpace).toBeGreaterThan(SEEDS / 10);
}, 180_000);

it("one seed gives one history", async () => {
  const run = () => new CrashExplorer(FIRST_SEED, CRASH_QUICK).run();
  expect(await run()).toEqual(await run());
});

it("a full store says so, where rounds of cleaning gained for ever what the next one cost", async () => {
  const longer = { ...CRASH_QUICK, operations: 70, livesAfter: 1, depth: 2 };
  const { refusedForSpace } = await new CrashExplorer(31008, longer).run();
  expect(refusedForSpace).toBeGreaterThan(0);
}, 60_000);
