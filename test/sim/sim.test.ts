/**
 * Whole histories: a primary, a WAN and a mirror with crashes, power losses and network faults, in
 * virtual time. More seeds: `npm run sim -- --seed N --runs M`; one seed replays one history.
 */
import { expect, it } from "vitest";
import { World } from "./world.ts";

const FIRST_SEED = 1000;
const SEEDS = 24;

it("no history of faults loses what was acknowledged", async () => {
  const faults = new Set<string>();
  let acknowledged = 0;
  let packetsLost = 0;
  let dropped = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const summary = await new World(seed).run();
      for (const fault of Object.keys(summary.faults)) faults.add(fault);
      acknowledged += summary.acknowledged;
      packetsLost += summary.packetsLost;
      dropped += summary.dropped;
    } catch (error) {
      throw new Error(`seed ${seed}: npm run sim -- --seed ${seed} --runs 1`, { cause: error });
    }
  }
  // The histories must have been worth it.
  expect(faults.size).toBe(13);
  expect(acknowledged).toBeGreaterThan(SEEDS * 50);
  expect(packetsLost).toBeGreaterThan(SEEDS * 10);
  expect(dropped).toBeGreaterThan(SEEDS * 10);
}, 180_000);

it("one seed gives one history", async () => {
  const seed = FIRST_SEED - 1;
  expect(await new World(seed).run()).toEqual(await new World(seed).run());
});
