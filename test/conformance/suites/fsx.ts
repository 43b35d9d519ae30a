/**
 * fsx: random reads, writes, truncations, mappings and fallocates of one file, each read compared
 * with what a file must hold. From xfstests, whose fsx also copies, seeks holes and zeroes ranges.
 */
import { join } from "node:path";
import type { MountedStore } from "../mounted-store.ts";
import { succeed } from "../command.ts";
import { checkoutOf, type Suite, withStore } from "../suite.ts";

const DEFAULT_OPERATIONS = 1_000_000;
const RUN_OPERATIONS = 20_000;
const FILE_BYTES = 2 ** 20;

/** What the operations go through. */
const WAYS: readonly (readonly [string, readonly string[]])[] = [
  ["mapped", []],
  ["read and write only", ["-W", "-R"]],
  ["O_DIRECT", ["-Z", "-W", "-R", "-r", "4096", "-w", "4096"]],
  ["without the page cache", ["-f"]],
  ["opened again and again", ["-c", "10"]],
  ["O_DIRECT, asynchronous", ["-A", "-Z", "-W", "-R", "-r", "4096", "-w", "4096"]],
  ["bytes behind the end", ["-e", "1"]],
  ["appends and punches", ["-s", "1", "-o", "8192"]],
];

export const fsx: Suite = {
  about: `fsx of xfstests, built; --count: operations (${DEFAULT_OPERATIONS})`,
  async run(checks, options) {
    const program = join(checkoutOf("xfstests", "ltp/fsx", options), "ltp/fsx");
    const runs = Math.ceil((options.count ?? DEFAULT_OPERATIONS) / RUN_OPERATIONS);
    await withStore(checks, options, async (store) => {
      for (let i = 0; i < runs; i++) {
        const [way, flags] = WAYS[i % WAYS.length] ?? ["", []];
        const seed = options.seed + i;
        await checks.check(`seed ${seed}, ${way}`, () => runFsx(program, store, seed, flags));
      }
    });
  },
};

async function runFsx(
  program: string,
  store: MountedStore,
  seed: number,
  flags: readonly string[],
): Promise<void> {
  const size = ["-N", `${RUN_OPERATIONS}`, "-l", `${FILE_BYTES}`];
  // The record that it keeps of its operations is not a part of the test.
  const args = ["-q", "-S", `${seed}`, ...size, "-P", store.beside("fsx"), ...flags];
  await succeed(program, [...args, store.at(`fsx-${seed}`)]);
}
