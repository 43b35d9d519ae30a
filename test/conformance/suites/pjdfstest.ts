/**
 * pjdfstest: what POSIX and Linux say of each system call on names and attributes, as root and as
 * users without rights.
 */
import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { lastLines, requireProgram, run } from "../command.ts";
import type { MountedStore } from "../mounted-store.ts";
import { type Checks, checkoutOf, type Suite, type SuiteOptions, withStore } from "../suite.ts";

const LIMIT_SECONDS = 1800;

export const pjdfstest: Suite = {
  about: "pjdfstest, built, as root",
  run: (checks, options) => runOn("product", checks, options),
};

export const ownChecks: Suite = {
  about: "the same, with the file system's own permission checks only",
  run: (checks, options) => runOn("own checks", checks, options),
};

async function runOn(
  server: "product" | "own checks",
  checks: Checks,
  options: SuiteOptions,
): Promise<void> {
  requireProgram("prove", "perl");
  const source = checkoutOf("pjdfstest", "pjdfstest.o", options);
  const body = async (store: MountedStore): Promise<void> => {
    const directory = store.at("pjdfstest");
    mkdirSync(directory);
    const tests = join(source, "tests");
    const { output } = await run("prove", ["-r", tests], {
      cwd: directory,
      seconds: LIMIT_SECONDS,
    });
    readSummary(checks, output, tests);
  };
  await withStore(checks, options, body, { server });
}

/** `prove` ends with the number of tests; before that it lists, by file, those that failed. */
function readSummary(checks: Checks, output: string, tests: string): void {
  const total = Number(/^Files=\d+, Tests=(\d+)/m.exec(output)?.[1] ?? 0);
  if (total === 0) throw new Error(`prove did not finish\n${lastLines(output)}`);
  const failed = [...failures(output, tests)];
  checks.notePassed(total - failed.length);
  for (const name of failed) checks.note(name, "failed", "not as expected");
  // A file that ends early has tests that did not run.
  const plans = /Bad plan|No plan found|Non-zero exit status/.exec(output);
  if (plans !== null) checks.note("every file to its end", "failed", plans[0]);
}

/** `rename/09.t 12`, for each test that failed. */
function* failures(output: string, tests: string): Generator<string> {
  let file = "";
  for (const line of output.split("\n")) {
    file = /^(\S+\.t) +\(Wstat/.exec(line)?.[1] ?? file;
    const ranges = /^ {2}Failed tests?: +(.*)/.exec(line)?.[1];
    if (ranges === undefined) continue;
    for (const number of ranges.split(",").flatMap(numbersOf)) {
      yield `${relative(tests, file)} ${number}`;
    }
  }
}

/** `7` or `2-5`. */
function numbersOf(range: string): number[] {
  const [first = 0, last = first] = range.trim().split("-").map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
