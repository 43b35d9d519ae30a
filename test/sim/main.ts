/** `npm run sim -- --seed N --runs M`: the simulator by hand. A failing seed replays exactly. */
import { parseArgs } from "node:util";
import { type RunSummary, World } from "./world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "100" },
    verbose: { type: "boolean", default: false },
  },
});
const first = Number(values.seed);
const runs = Number(values.runs);
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(runs) || runs < 1) {
  process.stderr.write("usage: sim --seed N --runs M [--verbose]\n");
  process.exit(64);
}

const started = Date.now();
const total = {
  operations: 0,
  acknowledged: 0,
  packets: 0,
  packetsLost: 0,
  dropped: 0,
  virtualSeconds: 0,
};
let failed = 0;
for (let seed = first; seed < first + runs; seed++) {
  try {
    const summary = await new World(seed).run();
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += summary[key];
    if (values.verbose) show(summary);
  } catch (error) {
    failed++;
    process.stdout.write(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}\n`);
  }
}
const seconds = ((Date.now() - started) / 1000).toFixed(1);
process.stdout.write(
  `${JSON.stringify({ ...total, runs, failed, virtualSeconds: Math.round(total.virtualSeconds), seconds })}\n`,
);
process.exitCode = failed > 0 ? 1 : 0;

function show(summary: RunSummary): void {
  process.stdout.write(`${JSON.stringify(summary)}\n`);
}
