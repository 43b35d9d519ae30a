/**
 * The simulator by hand; a failing seed replays exactly.
 * - `npm run sim -- --seed N --runs M`: two sites and a WAN (`world.ts`)
 * - `npm run sim -- crash --seed N --runs M`: one file system, cut everywhere (`crash-explorer.ts`);
 *   `--thorough`: longer lives, every fate of every cut
 * - `npm run sim -- fec --seed N --runs M`: seed N is a cell of the redundancy model's grid
 *   (`fec-grid.ts`); `--verbose` shows each cell's figures
 * - `npm run sim -- fuzz --seed N --runs M`: changed images, checksums made right (`fuzz-image.ts`)
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { Outcome, RunnerName } from "./runners.ts";
import { runSeeds } from "./seed-pool.ts";

const USAGE =
  "usage: sim [crash | fec | fuzz] --seed N --runs M [--thorough] [--jobs N] [--verbose]\n";
const PROGRESS_MILLIS = 10_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "100" },
    jobs: { type: "string", default: `${availableParallelism()}` },
    thorough: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

const [kind = "sites"] = positionals;
const [first, runs, jobs] = [values.seed, values.runs, values.jobs].map(Number) as [
  number,
  number,
  number,
];
const runner = runnerOf(kind);
if (runner === null || ![first, runs, jobs].every((number) => Number.isSafeInteger(number))) {
  process.stderr.write(USAGE);
  process.exit(64);
}
process.exitCode = (await runAll(runner)) > 0 ? 1 : 0;

function runnerOf(name: string): RunnerName | null {
  if (name === "crash") return values.thorough ? "crash" : "quickCrash";
  return name === "sites" || name === "fec" || name === "fuzz" ? name : null;
}

/** Gives the number of seeds that failed. */
async function runAll(one: RunnerName): Promise<number> {
  const started = Date.now();
  const total: Record<string, number> = {};
  let [done, failed, shown] = [0, 0, started];
  const handle = (outcome: Outcome): void => {
    done++;
    if ("error" in outcome) {
      failed++;
      process.stdout.write(`${replayOf(outcome.seed)}\n${outcome.error}\n`);
    } else {
      for (const [key, count] of Object.entries(outcome.counts)) {
        total[key] = (total[key] ?? 0) + count;
      }
      if (values.verbose) print({ seed: outcome.seed, ...outcome.counts });
    }
    if (Date.now() - shown < PROGRESS_MILLIS) return;
    shown = Date.now();
    process.stderr.write(`${done} of ${runs} seeds, ${failed} failed\n`);
  };
  await runSeeds({ runner: one, first, runs }, jobs, handle);
  print({ ...total, runs, failed, seconds: (Date.now() - started) / 1000 });
  return failed;
}

/** How to see a violation again. */
function replayOf(seed: number): string {
  const name = kind === "sites" ? "" : `${kind} `;
  const flag = values.thorough ? " --thorough" : "";
  return `seed ${seed}: npm run sim -- ${name}--seed ${seed} --runs 1${flag}`;
}

function print(fields: object): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}
