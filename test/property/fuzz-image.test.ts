/**
 * Images that were changed and whose checksums are right: opened, read, written to and checked, they
 * answer or refuse, soon and in little memory. More seeds: `npm run sim -- fuzz --seed N --runs M`.
 */
import { expect, it } from "vitest";
import { fuzzImage } from "../fuzz-image.ts";

const SEEDS = 400;
/** A snapshot's root in segment 4 billion: opening went through all segments up to there. */
const FOUND = [2653];

it("no image, however damaged behind its checksums, makes us crash, hang or take memory", async () => {
  const total = { closed: 0, answered: 0, refused: 0 };
  for (const seed of [...Array.from({ length: SEEDS }, (_, i) => i), ...FOUND]) {
    const outcome = await fuzzImage(seed).catch((error: unknown) => {
      throw new Error(`npm run sim -- fuzz --seed ${seed} --runs 1`, { cause: error });
    });
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += outcome[key];
  }
  // Most must open, or what is behind opening was not tested; and some calls must meet the damage.
  expect(total.closed).toBeLessThan(SEEDS / 2);
  expect(total.answered).toBeGreaterThan(SEEDS * 50);
  expect(total.refused).toBeGreaterThan(SEEDS);
}, 120_000);
