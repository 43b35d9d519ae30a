/** All suites, in the order of `all`. */
import type { Suite } from "./suite.ts";
import { fsstress } from "./suites/fsstress.ts";
import { fsx } from "./suites/fsx.ts";
import { killLoop } from "./suites/kill-loop.ts";
import { pjdfstest } from "./suites/pjdfstest.ts";
import { stressNg } from "./suites/stress-ng.ts";

export const SUITES: Readonly<Record<string, Suite>> = {
  pjdfstest,
  fsx,
  fsstress,
  "stress-ng": stressNg,
  "kill-loop": killLoop,
};
