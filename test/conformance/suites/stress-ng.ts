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
      const args = ["--class", "filesystem", ...size, "--verify", "--temp-path", store.point];
      const { output } = await run("stress-ng", args, { seconds: LIMIT_SECONDS });
      readSummary(checks, output);
    });
  },
};

/** It ends with `passed: 74: access (2) bad-ioctl (2) …`, and the same for failed and skipped. */
function readSummary(checks: Checks, output: string): void {
  const namesOf = (result: string): string[] => {
    const list = new RegExp(`\\] ${result}: \\d+: (.*)`).exec(output)?.[1] ?? "";
    return [...list.matchAll(/(\S+) \(\d+\)/g)].map(([, name]) => name ?? "");
  };
  const [passed, failed] = [namesOf("passed"), namesOf("failed")];
  if (passed.length === 0) throw new Error(`stress-ng did not finish\n${lastLines(output)}`);
  for (const name of passed) checks.note(name, "passed");
  for (const name of failed) checks.note(name, "failed", complaintOf(output, name));
}

function complaintOf(output: string, stressor: string): string {
  const line = output.split("\n").find((text) => text.includes("fail:") && text.includes(stressor));
  return line ?? "it does not say why";
}
