/**
 * fsstress: processes that do random operations of every kind in one tree. It checks nothing by
 * itself; here the tree must be the same after a mount as before it, and fsck must find it whole.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { succeed } from "../command.ts";
import { checkoutOf, type Suite, withStore } from "../suite.ts";
import { expectSame, listTree } from "../tree.ts";

const DEFAULT_OPERATIONS = 5000;
const PROCESSES = 4;
const ROUNDS = 3;

export const fsstress: Suite = {
  about: `fsstress of xfstests, built; --count: operations of each process (${DEFAULT_OPERATIONS})`,
  async run(checks, options) {
    const program = join(checkoutOf("xfstests", "ltp/fsstress", options), "ltp/fsstress");
    const operations = options.count ?? DEFAULT_OPERATIONS;
    await withStore(checks, options, async (store) => {
      for (let seed = options.seed; seed < options.seed + ROUNDS; seed++) {
        const directory = store.at(`fsstress-${seed}`);
        mkdirSync(directory);
        const size = ["-n", `${operations}`, "-p", `${PROCESSES}`, "-s", `${seed}`];
        await checks.check(`seed ${seed}`, () => succeed(program, ["-d", directory, ...size]));
        const before = await listTree(directory);
        await store.remount();
        await checks.check(`seed ${seed}, the same after a mount`, async () =>
          expectSame(before, await listTree(directory)),
        );
      }
    });
  },
};
