/**
 * The simulator by hand; a failing seed replays exactly.
 * - `npm run sim -- --seed N --runs M`: two sites and a WAN (`world.ts`)
 * - `npm run sim -- crash --seed N --runs M`: one file system, cut everywhere (`crash-explorer.ts`)
 * - `npm run sim -- fuzz --seed N --runs M`: changed images, checksums made right (`fuzz-image.ts`)
 */
import { inspect, parseArgs } from "node:util";
import { fuzzImage } from "../fuzz-image.ts";
import { CRASH_QUICK, CRASH_THOROUGH, CrashExplorer, replayOf } from "./crash-explorer.ts";
import { World } from "./world.ts";

const USAGE = "usage: sim [crash | fuzz] --seed N --runs M [--quick] [--verbose]\n";

/** Runs one seed; the numbers are summed over all of them. */
type Runner = (seed: number) => Promise<Readonly<Record<string, number>>>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "100" },
    quick: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

const runners: Record<string, Runner> = { sites, crash, fuzz };
const runner = runners[positionals[0] ?? "sites"];
const first = Number(values.seed);
const runs = Number(values.runs);
if (runner === undefined || !Number.isSafeInteger(first) || !Number.isSafeInteger(runs)) {
  process.stderr.write(USAGE);
  process.exit(64);
}
process.exitCode = (await runAll(runner)) > 0 ? 1 : 0;

/** Gives the number of seeds that failed. */
async function runAll(run: Runner): Promise<number> {
  const started = Date.now();
  const total: Record<string, number> = {};
  let failed = 0;
  for (let seed = first; seed < first + runs; seed++) {
    try {
      const summary = await run(seed);
      for (const [key, value] of Object.entries(summary)) total[key] = (total[key] ?? 0) + value;
      if (values.verbose) print({ seed, ...summary });
    } catch (error) {
      failed++;
      process.stdout.write(`seed ${seed}: ${inspect(error)}\n`);
    }
  }
  print({ ...total, runs, failed, seconds: (Date.now() - started) / 1000 });
  return failed;
}

function print(fields: object): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

async function sites(seed: number): ReturnType<Runner> {
  const { seed: _, faults, virtualSeconds, ...counts } = await new World(seed).run();
  const all = Object.values(faults).reduce((sum, count) => sum + count, 0);
  return { ...counts, faults: all, virtualSeconds: Math.round(virtualSeconds) };
}

async function crash(seed: number): ReturnType<Runner> {
  const explorer = new CrashExplorer(seed, values.quick ? CRASH_QUICK : CRASH_THOROUGH);
  await explorer.run().catch((error: unknown) => {
    throw new Error(replayOf(seed, values.quick ? "quick" : "thorough"), { cause: error });
  });
  return { ...explorer.summary };
}

async function fuzz(seed: number): ReturnType<Runner> {
  return { ...(await fuzzImage(seed)) };
}
