/**
 * One file system, cut at every step of its disk: everything acknowledged is there, the rest is there
 * as far as some record, fsck is clean to the byte, and it goes on. Thousands of short lives, by the
 * command that runs tens of thousands (`npm run sim -- crash --seed N --runs M`), in a thread a core.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { CrashExplorer, CRASH_QUICK, type ExplorerSummary } from "./crash-explorer.ts";

const SIM = fileURLToPath(new URL("../../dist/test/sim/main.js", import.meta.url));
const FIRST_SEED = 1000;
const SEEDS = 2000;

it("no cut at any step of the disk loses what was acknowledged, or half of anything", async () => {
  const total = await explore(FIRST_SEED, SEEDS);
  // The lives must have been worth it.
  expect(total.crashes).toBeGreaterThan(SEEDS * 30);
  expect(total.images).toBeGreaterThan(SEEDS * 15);
  expect(total.failedSyncs).toBeGreaterThan(SEEDS / 10);
  expect(total.refusedForSpace).toBeGreaterThan(SEEDS / 20);
  expect(total.refusedForQuota).toBeGreaterThan(SEEDS / 20);
  expect(total.snapshots).toBeGreaterThan(SEEDS);
  expect(total.cleanedSegments).toBeGreaterThan(SEEDS / 10);
  expect(total.segmentsDropped).toBeGreaterThan(SEEDS / 10);
}, 300_000);

/** Throws what was violated, with the seed and how to see it again. */
async function explore(first: number, runs: number): Promise<ExplorerSummary> {
  const flags = ["crash", "--seed", `${first}`, "--runs", `${runs}`];
  const options = { timeout: 280_000, maxBuffer: 2 ** 26 };
  const run = await promisify(execFile)(process.execPath, [SIM, ...flags], options).catch(
    (error: Error & { stdout?: string }) => {
      throw new Error(error.stdout || error.message);
    },
  );
  return JSON.parse(run.stdout.trim().split("\n").at(-1) ?? "") as ExplorerSummary;
}

it("one seed gives one history", async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + 8; seed++) {
    const run = () => new CrashExplorer(seed, CRASH_QUICK).run();
    expect(await run()).toEqual(await run());
  }
});
