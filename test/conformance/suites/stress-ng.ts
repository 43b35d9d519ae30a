/** stress-ng's file-system stressors, one after the other, each verifying what it did. */
import { lastLines, requireProgram, run } from "../command.ts";
import { type Checks, type Suite, withStore } from "../suite.ts";

const DEFAULT_SECONDS = 2;
const PROCESSES = 2;
const LIMIT_SECONDS = 3600;

export const stressNg: Suite = {
  about: `stress-ng --class filesystem; --count: seconds of each stressor (${DEFAULT_SECONDS})`,
  async run(checks, options) {
    requireProgram("stress-ng");
    await withStore(checks, options, async (store) => {
      const seconds = options.count ?? DEFAULT_SECONDS;
      const size = ["--sequential", `${PROCESSES}`, "--timeout", `${seconds}s`];
      const args = ["--class", "filesystem", ...size, "--verify", "--metrics-brief"];
      const { output } = await run("stress-ng", [...args, "--temp-path", store.point], {
        seconds: LIMIT_SECONDS,
      });
      readSummary(checks, output);
    });
  },
};

/** A line of its table for each stressor that ran; a line with `fail:` for each complaint. */
function readSummary(checks: Checks, output: string): void {
  if (!/successful run completed/.test(output)) {
    throw new Error(`stress-ng did not finish\n${lastLines(output)}`);
  }
  const complaints = new Map<string, string>();
  for (const [line, name = ""] of output.matchAll(/^stress-ng: fail: +\[\d+\] ([^:\s]+):.*$/gm)) {
    if (!complaints.has(name)) complaints.set(name, line);
  }
  for (const [line, name = ""] of output.matchAll(
    /^.*\(([^)\s]+)\) terminated with an error.*$/gm,
  )) {
    if (!complaints.has(name)) complaints.set(name, line);
  }
  for (const [name, line] of complaints) checks.note(name, "failed", line);
  for (const [, name = "", operations] of output.matchAll(TABLE_LINE)) {
    if (Number(operations) > 0 && !complaints.has(name)) checks.note(name, "passed");
  }
}

/** Name and operations. */
const TABLE_LINE = /^stress-ng: metrc: \[\d+\] (\S+) +(\d+) /gm;
