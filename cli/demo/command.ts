/**
 * `smfs demo`: two sites on this machine joined by an emulated WAN, to look at (`--scenario live`) or
 * to lose one of them (`--scenario disaster`).
 */
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { SmfsError } from "../../lib/errors.ts";
import { parseDuration, parseRate, parseShare } from "../../lib/units.ts";
import { EXIT, parseFlag } from "../exit.ts";
import { whyNoMount } from "./access.ts";
import { runDisaster } from "./disaster.ts";
import { runLive } from "./live.ts";
import { type Mode, World, type WorldOptions } from "./world.ts";

/** What there is thousands of on every machine that runs this: the packages it was built with. */
const DEFAULT_TREE = fileURLToPath(new URL("../../../node_modules", import.meta.url));

interface DemoFlags {
  readonly scenario: "live" | "disaster";
  readonly mode: Mode;
  readonly loss: string;
  readonly burst: number | undefined;
  readonly delay: string;
  readonly rate: string;
  readonly tree: string;
  readonly seed: number;
  readonly duration: string;
  readonly json?: true;
}

export function demoCommand(): Command {
  return new Command("demo")
    .description("two sites on this machine, joined by an emulated WAN, to try everything out")
    .addOption(
      new Option("--scenario <name>", "live: look at it until Ctrl-C; disaster: lose a site")
        .choices(["live", "disaster"])
        .default("live"),
    )
    .addOption(
      new Option(
        "--mode <mode>",
        "what an fsync waits for; local: as mirrors of today, without repair packets",
      )
        .choices(["local", "network", "remote"])
        .default("network"),
    )
    .option("--loss <share>", "packets the WAN loses (disaster: in the last half second)", "0.5%")
    .option("--burst <packets>", "losses come in bursts of this mean length", wholeNumber)
    .option("--delay <duration>", "one way", "50ms")
    .option("--rate <rate>", "of the WAN", "1gbit")
    .option("--tree <directory>", "disaster: the tree to copy", DEFAULT_TREE)
    .option("--seed <number>", "of the WAN's losses", wholeNumber, 1)
    .option("--duration <time>", "disaster: how long messages go on after the copy", "3s")
    .option("--json", "disaster: print one JSON object")
    .action(demo);
}

async function demo(flags: DemoFlags): Promise<void> {
  checkFlags(flags);
  const options = await worldOptions(flags);
  const world = new World(options);
  const stopped = onSignal(() => world.close());
  try {
    if (flags.scenario === "live") await runLive(world, stopped);
    else await Promise.race([disaster(world, options, flags), stopped.then(noteInterruption)]);
  } finally {
    await world.close();
  }
  // What still waits for a site that is gone must not keep the command alive.
  process.exit(process.exitCode);
}

function noteInterruption(): void {
  say("interrupted before the end: nothing was measured");
  process.exitCode = EXIT.no;
}

async function worldOptions(flags: DemoFlags): Promise<WorldOptions> {
  const reason = await whyNoMount();
  if (reason !== undefined) {
    say(`cannot mount here, so everything goes through the library instead: ${reason}`);
  }
  // The paper's disaster raises the loss at the end; until then the line has half of it.
  const isDisaster = flags.scenario === "disaster";
  const loss = isDisaster ? String(parseShare(flags.loss) / 2) : flags.loss;
  const access = reason === undefined ? "fuse" : "library";
  const { mode, delay, rate, seed, burst } = flags;
  return { access, mode, delay, rate, seed, loss, burst };
}

async function disaster(world: World, options: WorldOptions, flags: DemoFlags): Promise<void> {
  const report = await runDisaster(world, {
    ...options,
    tree: flags.tree,
    finalLoss: flags.loss,
    messagesMillis: parseDuration(flags.duration) / 1000,
    say,
  });
  process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : summary(report));
  if (!report.promiseKept) process.exitCode = EXIT.no;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function checkFlags(flags: DemoFlags): void {
  parseFlag("--loss", flags.loss, parseShare);
  parseFlag("--delay", flags.delay, parseDuration);
  parseFlag("--rate", flags.rate, parseRate);
  if (parseFlag("--duration", flags.duration, parseDuration) < 1e6) {
    throw new SmfsError("USAGE", `--duration ${flags.duration} is shorter than 1s`);
  }
  if (!existsSync(flags.tree) || !statSync(flags.tree).isDirectory()) {
    throw new SmfsError("USAGE", `--tree ${flags.tree} is not a directory`);
  }
}

/** Resolves at the first Ctrl-C or SIGTERM; a second one ends at once what `close` could not. */
function onSignal(close: () => Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    let seen = 0;
    const handle = (): void => {
      seen++;
      resolve();
      if (seen === 2) void close().finally(() => process.exit(EXIT.no));
    };
    process.on("SIGINT", handle);
    process.on("SIGTERM", handle);
  });
}

function summary(report: Awaited<ReturnType<typeof runDisaster>>): string {
  const { latencyMillis: latency, network } = report;
  return [
    `mode ${report.mode}: ${report.promiseKept ? "kept its promise" : "DID NOT KEEP ITS PROMISE"}`,
    `  messages   ${report.messagesAcknowledged} acknowledged, ${report.messagesLost} lost`,
    `  files      ${report.filesCopied} copied, ${report.filesIdentical} identical at the mirror`,
    `  mirror     ${report.mirrorConsistent ? "consistent" : "NOT CONSISTENT"} after promotion`,
    `  network    ${network.sent} packets sent, ${network.lost} lost, ${network.rebuilt} rebuilt, ${network.retransmitted} retransmitted`,
    `  latency    p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms`,
    "",
  ].join("\n");
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new SmfsError("USAGE", `'${text}' is not a whole number`);
  return Number(text);
}
