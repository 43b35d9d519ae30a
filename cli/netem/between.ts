/**
 * `smfs netem up` and `down`: the emulated WAN between two network namespaces, which any program can
 * be run in (`ip netns exec siteA …`).
 */
import { setTimeout } from "node:timers/promises";
import { Command } from "commander";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { claimedNamespaces, readRecord } from "../../netem/tun/claim.ts";
import { sweep } from "../../netem/tun/site.ts";
import { startTunPath, type TunEnd } from "../../netem/tun/tun-path.ts";
import {
  addLinkOptions,
  type LinkOptions,
  pathSettings,
  withSettingNames,
} from "./link-options.ts";
import { lineLogger, type NetemSurroundings, serve, thisProcess } from "./serve.ts";

/** From the ranges for benchmarks: RFC 2544, C.2.2, and RFC 5180, section 8. */
const ADDRESSES_A = "198.18.0.1/30,2001:2::1/64";
const ADDRESSES_B = "198.18.0.2/30,2001:2::2/64";
/** For a path that is told to end to take away what it made. */
const END_MILLIS = 10_000;
const LOOK_AGAIN_MILLIS = 20;

export interface UpOptions extends LinkOptions {
  readonly between: string;
  readonly addressA: string;
  readonly addressB: string;
  readonly mtu: string;
}

const UP_EPILOGUE = `
A namespace that is there is used; one that is not is made, with a default route over the path, and
deleted at the end. In each, the device wan0 has the site's addresses. It needs root; a user without
it can run everything inside namespaces of their own:
  unshare --map-root-user --net --mount sh -c \\
    'mount -t tmpfs none /run && smfs netem up --between siteA,siteB'

In the background:
  smfs netem up --between siteA,siteB --preset wan </dev/null &
  ip netns exec siteA ping 198.18.0.2
  smfs netem down --between siteA,siteB

One TCP flow fills a long, fast path only with larger windows than most systems allow:
  ip netns exec siteA sysctl net.ipv4.tcp_wmem="4096 65536 67108864"
  ip netns exec siteB sysctl net.ipv4.tcp_rmem="4096 131072 67108864"`;

export function upCommand(): Command {
  const command = new Command("up")
    .description("Emulate a path between two network namespaces, for any IP traffic.")
    .requiredOption("--between <a,b>", "names of the namespaces of site A and site B")
    .option("--address-a <list>", "addresses of site A, with their prefix", ADDRESSES_A)
    .option("--address-b <list>", "addresses of site B", ADDRESSES_B)
    .option("--mtu <bytes>", "longest packet", "1500");
  return addLinkOptions(command)
    .addHelpText("after", UP_EPILOGUE)
    .action(async (_options, self: Command) =>
      runUp(withSettingNames(self.opts<UpOptions>()), thisProcess()),
    );
}

export function downCommand(): Command {
  return new Command("down")
    .description("End paths between namespaces, and clean up after those that were killed.")
    .option("--between <a,b>", "this path only")
    .action(async ({ between }: { between?: string }) => runDown(between));
}

/** Runs until `stop`, or with `json` until the input ends; then nothing of it is left. */
export async function runUp(options: UpOptions, around: NetemSurroundings): Promise<void> {
  const [a, b] = parsePair(options.between);
  const siteA = { namespace: a, addresses: options.addressA.split(",") };
  const siteB = { namespace: b, addresses: options.addressB.split(",") };
  const path = startTunPath({
    siteA,
    siteB,
    mtuBytes: Number(options.mtu),
    path: pathSettings(options),
    logger: lineLogger(around),
  });
  try {
    // Answers come from the data plane: once there is one, packets are carried.
    await path.answer('{"stats":true}');
    announce(siteA, siteB, options, around);
    await serve(path, options.json === true, around);
  } finally {
    await path.close();
  }
}

function announce(a: TunEnd, b: TunEnd, options: UpOptions, around: NetemSurroundings): void {
  const line = options.json
    ? JSON.stringify({ siteA: a, siteB: b, mtuBytes: Number(options.mtu) })
    : `path: ${a.namespace} (${a.addresses.join(", ")}) <-> ${b.namespace} (${b.addresses.join(", ")}) (Ctrl-C ends it)`;
  around.writeOutput(`${line}\n`);
}

/** Ends what runs, cleans up what was killed. Throws `SmfsError` TIMED_OUT when a path stays. */
async function runDown(between: string | undefined): Promise<void> {
  const claimed = claimedNamespaces();
  const wanted = between === undefined ? claimed : parsePair(between);
  const present = wanted.filter((name) => claimed.includes(name));
  if (present.length === 0 && between !== undefined) {
    throw new SmfsError("NOT_FOUND", `there is no path between ${wanted.join(" and ")}`);
  }
  const told = new Set<number>();
  for (const namespace of present) await end(namespace, told);
}

/** `told` are the processes that were asked to end: a second signal would cut their cleaning short. */
async function end(namespace: string, told: Set<number>): Promise<void> {
  const deadline = performance.now() + END_MILLIS;
  while (!sweep(namespace)) {
    const pid = readRecord(namespace)?.pid;
    if (pid !== undefined && !told.has(pid)) tell(pid);
    if (pid !== undefined) told.add(pid);
    if (performance.now() > deadline) {
      throw new SmfsError("TIMED_OUT", `process ${pid} does not let go of ${namespace}`);
    }
    await setTimeout(LOOK_AGAIN_MILLIS);
  }
}

function tell(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    // Gone by itself: what it left is swept.
    if (!/ESRCH/.test(messageOf(error))) throw error;
  }
}

function parsePair(text: string): [string, string] {
  const [a, b, more] = text.split(",");
  if (a && b && more === undefined) return [a, b];
  throw new SmfsError("USAGE", `--between needs two names such as siteA,siteB, not '${text}'`);
}
