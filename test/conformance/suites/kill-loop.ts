/** `kill -9` of the file server in the middle of what four writers do (see kill/loop.ts). */
import { KillLoop } from "../kill/loop.ts";
import { type Suite, withStore } from "../suite.ts";

const DEFAULT_ROUNDS = 100;
/** Small, so that segments are filled, sealed and checkpointed many times. */
const SEGMENT = "4MiB";

export const killLoop: Suite = {
  about: `kill -9 of the file server under 4 writers; --count: times (${DEFAULT_ROUNDS})`,
  async run(checks, options) {
    const rounds = options.count ?? DEFAULT_ROUNDS;
    const totals = { steps: 0, unacknowledged: 0 };
    await withStore(
      checks,
      options,
      async (store) => {
        const loop = new KillLoop(store, options.seed);
        for (let i = 1; i <= rounds; i++) {
          const isWhole = await checks.check(`kill ${i}`, async () => {
            const { steps, unacknowledged } = await loop.round();
            totals.steps += steps;
            totals.unacknowledged += unacknowledged;
          });
          if (!isWhole) break;
        }
      },
      { segmentSize: SEGMENT },
    );
    const { steps, unacknowledged } = totals;
    options.log(`${steps} steps acknowledged; ${unacknowledged} more were there unacknowledged`);
  },
};
