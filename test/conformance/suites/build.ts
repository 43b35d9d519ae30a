/** Builds in the mount: this project with npm and its compiler, and a project in C with make -j4. */
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { requireProgram, shell } from "../command.ts";
import { inCheckout } from "../paths.ts";
import { checkoutOf, type Suite, withStore } from "../suite.ts";

export const npmCi: Suite = {
  about: "npm ci and a build of this project, from npm's cache when it has everything",
  async run(checks, options) {
    await withStore(checks, options, async (store) => {
      const copy = store.at("project");
      mkdirSync(copy);
      for (const name of PROJECT) {
        if (existsSync(inCheckout(name)))
          cpSync(inCheckout(name), join(copy, name), { recursive: true });
      }
      const how = { cwd: copy };
      await checks.check("npm ci", () =>
        shell("npm ci --prefer-offline --no-audit --no-fund", how),
      );
      await checks.check("npm ls", () => shell("npm ls --all > /dev/null", how));
      await checks.check("build", () => shell("npm run build", how));
      await store.remount();
      await checks.check("what was built runs after a mount", () =>
        shell("cli/smfs --version", how),
      );
      await checks.check("nothing to build after a mount", () =>
        shell(
          "touch -d '1 second ago' mark; npx tsc -b; test -z \"$(find dist -newer mark)\"",
          how,
        ),
      );
      await checks.check("rm -r", () => shell("rm -r node_modules dist", how));
    });
  },
};

const PROJECT = [
  ...["package.json", "package-lock.json", ".npmrc", "tsconfig.json", "tsconfig.core.json"],
  ...["bench", "cli", "gateway", "lib", "logfs", "mirror", "netem", "sys", "test", "web"],
  ...["envoy", "archive", "policy"],
];

export const compile: Suite = {
  about: "autotools, configure and make -j4 of a C project: xfstests",
  async run(checks, options) {
    for (const program of ["make", "cc", "autoconf", "automake"]) requireProgram(program);
    const source = checkoutOf("xfstests", "ltp/fsx.c", options);
    await withStore(checks, options, async (store) => {
      const how = { cwd: store.at("project"), seconds: 900 };
      await checks.check("copy", () => shell(`cp -a ${source}/. ${store.at("project")}`));
      await checks.check("make clean", () => shell("make distclean || make clean", how));
      await checks.check("configure", () => shell("make configure && ./configure", how));
      await checks.check("make -j4", () =>
        shell("make -j4 -C include && make -j4 -C lib && make -j4 -C ltp", how),
      );
      await store.remount();
      await checks.check("nothing to make after a mount", () => shell("make -q -C ltp fsx", how));
      await checks.check("what was made runs", () =>
        shell("ltp/fsx -q -N 1000 -S 1 ./fsx-file", how),
      );
    });
  },
};
