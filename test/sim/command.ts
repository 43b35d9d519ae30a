/** `npm run sim` for tests: every seed must pass; in as many threads as there are cores. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SIM = fileURLToPath(new URL("../../dist/test/sim/main.js", import.meta.url));
const MAX_OUTPUT_BYTES = 2 ** 26;

/** Sums over all seeds. Rejects with what was violated, the seed and how to see it again. */
export async function simulate(
  kind: "sites" | "crash",
  first: number,
  runs: number,
  timeoutMillis: number,
): Promise<Record<string, number>> {
  const flags = [kind, "--seed", `${first}`, "--runs", `${runs}`];
  const options = { timeout: timeoutMillis, maxBuffer: MAX_OUTPUT_BYTES };
  const run = await promisify(execFile)(process.execPath, [SIM, ...flags], options).catch(
    (error: Error & { stdout?: string }) => {
      throw new Error(error.stdout || error.message);
    },
  );
  return JSON.parse(run.stdout.trim().split("\n").at(-1) ?? "") as Record<string, number>;
}
