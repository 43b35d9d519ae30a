/**
 * Whole histories: a primary, a WAN and a mirror with crashes, power losses, network faults, disks that
 * rot and fill up, and an old primary that comes back, in virtual time. More seeds:
 * `npm run sim -- --seed N --runs M`; one seed replays one history.
 */
import { expect, it } from "vitest";
import { simulate } from "./command.ts";
import { FAULTS, World } from "./world.ts";

const FIRST_SEED = 1000;
const SEEDS = 24;

it("no history of faults loses what was acknowledged", async () => {
  const total = await simulate("sites", FIRST_SEED, SEEDS, 580_000);
  // The histories must have been worth it.
  for (const fault of [...FAULTS, "oldPrimaryReturns"]) expect(total, fault).toHaveProperty(fault);
  expect(total.acknowledged).toBeGreaterThan(SEEDS * 50);
  expect(total.packetsLost).toBeGreaterThan(SEEDS * 10);
  expect(total.dropped).toBeGreaterThan(SEEDS * 10);
  expect(total.cleaned).toBeGreaterThan(SEEDS);
  expect(total.refused).toBeGreaterThan(SEEDS);
  expect(total.repaired).toBeGreaterThan(0);
}, 600_000);

it("one seed gives one history", async () => {
  const seed = FIRST_SEED - 1;
  expect(await new World(seed).run()).toEqual(await new World(seed).run());
}, 120_000);
