/** Five rounds of what `npm run conformance -- kill-loop` does a hundred times. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KillLoop } from "../conformance/kill/loop.ts";
import { MountedStore } from "../conformance/mounted-store.ts";
import { whyNoMounts } from "./harness.ts";

const ROUNDS = 5;
/** A second or two a round on a machine that has nothing else to do. */
const LIMIT_MILLIS = 240_000;
const NO_MOUNTS =
  process.geteuid?.() === 0 ? await whyNoMounts() : "needs root, to detach a dead mount";

describe.skipIf(NO_MOUNTS)(`kill -9${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let store: MountedStore;
  beforeEach(async () => {
    store = await MountedStore.make({ segmentSize: "2MiB" });
  });
  afterEach(() => store.close());

  it(
    "what was acknowledged is there, and what was under way is whole or absent",
    async () => {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const loop = new KillLoop(store, seed);
      for (let round = 0; round < ROUNDS; round++) {
        const { steps } = await loop.round().catch((error: unknown) => {
          throw new Error(`seed ${seed}, round ${round}: ${String(error)}`, { cause: error });
        });
        expect(steps).toBeGreaterThanOrEqual(40);
      }
      await store.unmount();
      await store.check();
    },
    LIMIT_MILLIS,
  );
});
