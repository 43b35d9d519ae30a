/** All suites, in the order of `all`. */
import type { Suite } from "./suite.ts";
import { compile, npmCi } from "./suites/build.ts";
import { fsstress } from "./suites/fsstress.ts";
import { fsx } from "./suites/fsx.ts";
import { git } from "./suites/git.ts";
import { killLoop } from "./suites/kill-loop.ts";
import { bonnie, dbench, postmark } from "./suites/loads.ts";
import { ownChecks, pjdfstest } from "./suites/pjdfstest.ts";
import { rsync } from "./suites/rsync.ts";
import { soak } from "./suites/soak.ts";
import { sqlite } from "./suites/sqlite.ts";
import { stressNg } from "./suites/stress-ng.ts";
import { tar } from "./suites/tar.ts";

export const SUITES: Readonly<Record<string, Suite>> = {
  pjdfstest,
  "pjdfstest-own-checks": ownChecks,
  fsx,
  fsstress,
  "stress-ng": stressNg,
  tar,
  rsync,
  git,
  "npm-ci": npmCi,
  compile,
  sqlite,
  dbench,
  postmark,
  "bonnie++": bonnie,
  "kill-loop": killLoop,
  soak,
};
