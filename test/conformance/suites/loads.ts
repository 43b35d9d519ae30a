/** Loads that fail when a call fails: dbench, postmark, bonnie++. */
import { mkdirSync } from "node:fs";
import { requireProgram, shell, succeed } from "../command.ts";
import { type Suite, withStore } from "../suite.ts";

const DBENCH_SECONDS = 20;

export const dbench: Suite = {
  about: `dbench with 4 clients; --count: seconds (${DBENCH_SECONDS})`,
  async run(checks, options) {
    requireProgram("dbench");
    const seconds = `${options.count ?? DBENCH_SECONDS}`;
    await withStore(checks, options, async (store) => {
      await checks.check("4 clients", () =>
        succeed("dbench", ["-D", store.point, "-t", seconds, "4"]),
      );
      await checks.check("4 clients, each write synchronous", () =>
        succeed("dbench", ["-s", "-D", store.point, "-t", seconds, "4"]),
      );
    });
  },
};

const POSTMARK = (location: string, seed: number): string => `set location ${location}
set seed ${seed}
set number 2000
set transactions 10000
set subdirectories 20
set size 500 100000
run
quit
`;

export const postmark: Suite = {
  about: "postmark, 10,000 transactions on 2,000 files",
  async run(checks, options) {
    requireProgram("postmark");
    await withStore(checks, options, async (store) => {
      mkdirSync(store.at("postmark"));
      await checks.check("transactions", async () => {
        const input = POSTMARK(store.at("postmark"), options.seed);
        const output = await succeed("postmark", [], { input });
        if (/error|cannot|failed/i.test(output)) throw new Error(output);
        // It removes what it made.
        await shell(`test -z "$(ls -A ${store.at("postmark")})"`);
      });
    });
  },
};

export const bonnie: Suite = {
  about: "bonnie++, 512 MiB and 4,096 files",
  async run(checks, options) {
    requireProgram("bonnie++");
    await withStore(checks, options, async (store) => {
      const size = ["-f", "-s", "512", "-r", "256", "-n", "4", "-u", "root", "-q"];
      await checks.check("all phases", () => succeed("bonnie++", ["-d", store.point, ...size]));
    });
  },
};
