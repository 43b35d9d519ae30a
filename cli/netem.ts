/**
 * `smfs netem`: the emulated WAN as a process. Options set both directions; while it runs, a
 * timeline or commands on stdin (see netem/udp/control.ts) change it.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { Command, Option } from "commander";
import { messageOf, SmfsError } from "../lib/errors.ts";
import type { Logger } from "../lib/ports.ts";
import { parseChanges, SETTINGS, type SettingName } from "../netem/core/parse.ts";
import { PRESET_NAMES, PRESETS, type PresetName } from "../netem/core/presets.ts";
import { changeSettings, IDEAL_LINK, type LinkSettings } from "../netem/core/settings.ts";
import { parseTimeline, type TimelineEvent } from "../netem/core/timeline.ts";
import { answerLine, statisticsReply } from "../netem/udp/control.ts";
import { linesOf } from "../netem/udp/lines.ts";
import { type Endpoint, type Relay, startRelay } from "../netem/udp/relay.ts";

/** What the command line gives, as typed. */
export interface NetemOptions extends Partial<Record<SettingName, string>> {
  readonly listen: string;
  readonly peer: string;
  readonly preset?: PresetName;
  readonly timeline?: string;
  readonly seed: string;
  readonly json?: boolean;
}

/** The process around it; a test gives its own. */
export interface NetemSurroundings {
  readonly input: Readable;
  readonly isTerminal: boolean;
  writeOutput(text: string): void;
  writeError(text: string): void;
  /** Ends the command when it aborts. */
  readonly stop: AbortSignal;
}

const LIVE_LINE_MILLIS = 1000;

const EPILOGUE = `
Presets:
${PRESET_NAMES.map((name) => `  ${name.padEnd(18)}${PRESETS[name].doc}`).join("\n")}

Commands on stdin, one JSON object a line, one answer a line:
  {"set": {"loss": "1%", "burst": 8}, "direction": "a>b"}
  {"cut": true}   {"restore": true}   {"stats": true}
With --json the relay ends when stdin does.

A timeline has a line for each change: when, perhaps a>b or b>a, and what.
  10s           loss=1% burst=8
  12.5s   a>b   rate=100mbit
  20s           cut

Example:
  smfs netem --listen 127.0.0.1:7000 --peer 127.0.0.1:7001 --delay 50ms --loss 0.5%`;

export function netemCommand(): Command {
  const command = new Command("netem")
    .description("Emulate a wide-area path between two UDP addresses of this machine.")
    .requiredOption("--listen <host:port>", "where site A sends to")
    .requiredOption("--peer <host:port>", "address of site B")
    .addOption(new Option("--preset <name>", "start from a known path").choices(PRESET_NAMES));
  for (const [name, { form, doc }] of Object.entries(SETTINGS)) {
    command.option(`--${name} <${form}>`, doc);
  }
  return command
    .option("--timeline <file>", "changes over time")
    .option("--seed <number>", "one seed, one history of losses", "1")
    .option("--json", "write JSON, and end when stdin ends")
    .addHelpText("after", EPILOGUE)
    .action(async (_options, self: Command) => runNetem(readOptions(self), thisProcess()));
}

/** Commander turns `reorder-delay` into `reorderDelay`; the settings keep their own names. */
function readOptions(command: Command): NetemOptions {
  const { reorderDelay, ...options } = command.opts<NetemOptions & { reorderDelay?: string }>();
  return reorderDelay === undefined ? options : { ...options, "reorder-delay": reorderDelay };
}

/** Runs until `stop`, or with `json` until the input ends. Throws `SmfsError` USAGE or IO. */
export async function runNetem(options: NetemOptions, around: NetemSurroundings): Promise<void> {
  const settings = linkSettings(options);
  const peerB = parseEndpoint(options.peer, "--peer");
  const relay = await startRelay({
    listenA: parseEndpoint(options.listen, "--listen"),
    peerB,
    settingsAtoB: settings,
    settingsBtoA: settings,
    seed: parseSeed(options.seed),
    timeline: readTimeline(options.timeline),
    logger: lineLogger(around),
  });
  try {
    announce(relay.address, peerB, options, around);
    await serve(relay, options.json === true, around);
  } finally {
    await relay.close();
  }
}

async function serve(relay: Relay, isJson: boolean, around: NetemSurroundings): Promise<void> {
  const live = isJson || !around.isTerminal ? null : startLiveLine(relay, around);
  const stopped = untilAborted(around.stop);
  const commanded = answerCommands(relay, around);
  // A relay on a terminal outlives its input; one that a program started ends with that program.
  await Promise.race([stopped, isJson ? commanded : commanded.then(() => stopped)]);
  around.input.destroy();
  if (live !== null) clearInterval(live);
  const statistics = statisticsReply(relay.statistics());
  around.writeOutput(isJson ? `${JSON.stringify({ statistics })}\n` : `\n${summary(relay)}\n`);
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

async function answerCommands(relay: Relay, around: NetemSurroundings): Promise<void> {
  try {
    for await (const line of linesOf(around.input)) {
      if (line.trim() === "") continue;
      around.writeOutput(`${JSON.stringify(answerLine(relay, line))}\n`);
    }
  } catch (error) {
    // Stopping destroys the input under the reader; that is no failure.
    if (!around.stop.aborted) throw error;
  }
}

function linkSettings(options: NetemOptions): LinkSettings {
  const base = options.preset === undefined ? IDEAL_LINK : PRESETS[options.preset].settings;
  const texts = Object.keys(SETTINGS).flatMap((name) => {
    const text = options[name as SettingName];
    return text === undefined ? [] : [[name, text]];
  });
  return changeSettings(base, parseChanges(Object.fromEntries(texts) as Record<string, string>));
}

function parseEndpoint(text: string, option: string): Endpoint {
  const match = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text);
  const [host, port] = [match?.[1] ?? "", Number(match?.[2] ?? -1)];
  if (isIP(host) !== 0 && port >= 0 && port <= 65_535) return { host, port };
  throw new SmfsError(
    "USAGE",
    `${option} must be an address and a port such as 127.0.0.1:7000 or [::1]:7000, not '${text}'`,
  );
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (Number.isSafeInteger(seed) && seed >= 0) return seed;
  throw new SmfsError("USAGE", `--seed must be a whole number, 0 or more, not '${text}'`);
}

function readTimeline(path: string | undefined): TimelineEvent[] {
  if (path === undefined) return [];
  try {
    return parseTimeline(readFileSync(path, "utf8"), path);
  } catch (error) {
    if (error instanceof SmfsError) throw error;
    throw new SmfsError("USAGE", `--timeline: ${messageOf(error)}`, error);
  }
}

function announce(
  listening: Endpoint,
  peer: Endpoint,
  options: NetemOptions,
  around: NetemSurroundings,
): void {
  const line = options.json
    ? JSON.stringify({ listening, peer })
    : `relay: ${listening.host}:${listening.port} <-> ${peer.host}:${peer.port} (Ctrl-C ends it)`;
  around.writeOutput(`${line}\n`);
}

function startLiveLine(relay: Relay, around: NetemSurroundings): NodeJS.Timeout {
  let before = 0;
  return setInterval(() => {
    const { bytes } = statisticsReply(relay.statistics());
    const megabits = ((bytes - before) * 8) / 1e6 / (LIVE_LINE_MILLIS / 1000);
    before = bytes;
    around.writeOutput(`\r\u001B[K${megabits.toFixed(1)} Mbit/s  ${summary(relay)}`);
  }, LIVE_LINE_MILLIS);
}

function summary(relay: Relay): string {
  const { sent, delivered, lost, overflowed, cut, aToB, bToA } = statisticsReply(
    relay.statistics(),
  );
  const inFlight = aToB.inFlight + bToA.inFlight;
  const share = sent === 0 ? "" : ` (${((100 * lost) / sent).toFixed(2)} %)`;
  return `packets: ${sent} sent, ${delivered} delivered, ${lost} lost${share}, ${overflowed} overflowed, ${cut} cut, ${inFlight} in flight`;
}

function lineLogger(around: NetemSurroundings): Logger {
  const write = (fields: object, message: string): void =>
    around.writeError(`smfs netem: ${message} ${JSON.stringify(fields)}\n`);
  return { debug: () => {}, info: write, warn: write, error: write };
}

function thisProcess(): NetemSurroundings {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  return {
    input: process.stdin,
    isTerminal: process.stdout.isTTY,
    writeOutput: (text) => process.stdout.write(text),
    writeError: (text) => process.stderr.write(text),
    stop: stop.signal,
  };
}
