/**
 * Interfaces, addresses, routes and network namespaces, set up by ip(8) of the iproute2 package.
 * Every call is short and synchronous: this is for starting and ending, not for data.
 */
import { spawnSync } from "node:child_process";
import { SmfsError } from "../lib/errors.ts";

const TIMEOUT_MILLIS = 10_000;
/** Where systems keep `ip`, and users' shells do not look. */
const MORE_PLACES = ":/usr/sbin:/sbin";

/**
 * What `ip` printed. `namespace` null: the one that this process is in. Throws `SmfsError`
 * UNSUPPORTED without the program, NOT_PERMITTED, IO with what it said.
 */
export function ip(namespace: string | null, args: readonly string[]): string {
  const all = namespace === null ? args : ["-n", namespace, ...args];
  const { status, stdout, stderr, error } = spawnSync("ip", all, {
    encoding: "utf8",
    timeout: TIMEOUT_MILLIS,
    env: { ...process.env, PATH: (process.env["PATH"] ?? "") + MORE_PLACES },
  });
  if (error !== undefined) {
    throw new SmfsError("UNSUPPORTED", "ip(8) does not run: install the iproute2 package", error);
  }
  if (status === 0) return stdout;
  const forbidden = /Operation not permitted|Permission denied/.test(stderr);
  const message = `ip ${all.join(" ")}: ${stderr.trim()}`;
  throw new SmfsError(forbidden ? "NOT_PERMITTED" : "IO", message);
}
