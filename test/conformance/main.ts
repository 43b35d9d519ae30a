/**
 * `npm run conformance -- SUITE… [options]`: what others wrote to find the mistakes of file systems,
 * on a store mounted by the product's own command line. Exit code 0: everything passed; 1: something
 * failed; 69: something needed is not there.
 */
import { parseArgs } from "node:util";
import { Missing } from "./command.ts";
import { closeAll } from "./mounted-store.ts";
import { Checks, readExclusions, type Suite, type SuiteOptions } from "./suite.ts";
import { SUITES } from "./suites.ts";

const EXIT = { passed: 0, failed: 1, usage: 64, missing: 69 };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    source: { type: "string" },
    seed: { type: "string", default: "1" },
    count: { type: "string" },
    scratch: { type: "string" },
    mount: { type: "string", multiple: true, default: [] },
  },
});

const names = positionals[0] === "all" ? Object.keys(SUITES) : positionals;
const seed = Number(values.seed);
const count = values.count === undefined ? undefined : Number(values.count);
const known = names.length > 0 && names.every((name) => name in SUITES);
if (!known || !isCount(seed) || (count !== undefined && !isCount(count))) {
  usage();
  process.exit(EXIT.usage);
}
const options: SuiteOptions = {
  source: values.source,
  seed,
  count,
  scratch: values.scratch,
  mountFlags: values.mount,
  log: (line) => process.stdout.write(`${line}\n`),
};
// Whoever ends the run early still wants no mount left behind.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void closeAll().finally(() => process.exit(EXIT.failed)));
}
const codes: number[] = [];
for (const name of names) codes.push(await runSuite(name, SUITES[name] as Suite));
process.exitCode = Math.max(...codes);

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

async function runSuite(name: string, suite: Suite): Promise<number> {
  const checks = new Checks(readExclusions(name), options.log);
  const started = performance.now();
  try {
    await suite.run(checks, options);
  } catch (error) {
    if (error instanceof Missing) {
      options.log(`${name}: not run, ${error.message}`);
      return EXIT.missing;
    }
    checks.note("the suite itself", "failed", error instanceof Error ? error.stack : String(error));
  }
  const { passed, failed, excluded } = checks;
  const seconds = Math.round((performance.now() - started) / 1000);
  const besides = excluded === 0 ? "" : `, ${excluded} excluded`;
  options.log(`${name}: ${passed} passed, ${failed} failed${besides} (${seconds} s)`);
  return failed === 0 && passed > 0 ? EXIT.passed : EXIT.failed;
}

function usage(): void {
  const lines = Object.entries(SUITES).map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`);
  process.stderr.write(`usage: npm run conformance -- SUITE… | all [options]

${lines.join("\n")}

  --source DIR    a checkout of the suite's project, or a directory that holds such checkouts
  --seed N        of what is random (1)
  --count N       how much, in the suite's unit
  --scratch DIR   where stores and mount points are made (the directory for temporary files)
  --mount=FLAG    a further flag of smfs mount, as --mount=--capacity=2GB; may be repeated
`);
}
