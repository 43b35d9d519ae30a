/** What the simulator runs a seed of: each gives numbers that are summed over all seeds, or throws. */
import { inspect } from "node:util";
import { fuzzImage } from "../fuzz-image.ts";
import { CRASH_QUICK, CRASH_THOROUGH, CrashExplorer } from "./crash-explorer.ts";
import { runFecCell } from "./fec-run.ts";
import { World } from "./world.ts";

const RUNNERS = {
  sites: async (seed: number) => {
    const { seed: _, faults, virtualSeconds, ...counts } = await new World(seed).run();
    return { ...counts, ...faults, virtualSeconds: Math.round(virtualSeconds) };
  },
  crash: async (seed: number) => ({ ...(await new CrashExplorer(seed, CRASH_THOROUGH).run()) }),
  quickCrash: async (seed: number) => ({ ...(await new CrashExplorer(seed, CRASH_QUICK).run()) }),
  fec: async (seed: number) => runFecCell(seed),
  fuzz: async (seed: number) => ({ ...(await fuzzImage(seed)) }),
} satisfies Record<string, (seed: number) => Promise<Counts>>;

export type RunnerName = keyof typeof RUNNERS;
type Counts = Readonly<Record<string, number>>;

/** `error`: the violation, as text. */
export type Outcome =
  | { readonly seed: number; readonly counts: Counts }
  | { readonly seed: number; readonly error: string };

/** Never rejects. */
export async function outcomeOf(runner: RunnerName, seed: number): Promise<Outcome> {
  try {
    return { seed, counts: await RUNNERS[runner](seed) };
  } catch (error) {
    return { seed, error: inspect(error) };
  }
}
