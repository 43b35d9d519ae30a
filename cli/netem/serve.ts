/**
 * A running emulated path and whoever watches it: commands on stdin, a live line on a terminal, the
 * counts at the end.
 */
import { once } from "node:events";
import type { Readable } from "node:stream";
import { SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import type { ControlReply, StatisticsReply } from "../../netem/control/control.ts";
import { linesOf } from "../../netem/control/lines.ts";

/** The process around it; a test gives its own. */
export interface NetemSurroundings {
  readonly input: Readable;
  readonly isTerminal: boolean;
  writeOutput(text: string): void;
  writeError(text: string): void;
  /** Ends the command when it aborts. */
  readonly stop: AbortSignal;
}

export interface ServedPath {
  /** Rejects when the path fails. */
  readonly failed?: Promise<never>;
  /** A line of the control protocol. */
  answer(line: string): ControlReply | Promise<ControlReply>;
}

const LIVE_LINE_MILLIS = 1000;
const ASK_STATISTICS = '{"stats":true}';

/** Until `stop`, or with `json` until the input ends. Throws `SmfsError`. */
export async function serve(
  path: ServedPath,
  isJson: boolean,
  around: NetemSurroundings,
): Promise<void> {
  const live = isJson || !around.isTerminal ? null : startLiveLine(path, around);
  const stopped = untilAborted(around.stop);
  const commanded = answerCommands(path, around);
  // A path on a terminal outlives its input; one that a program started ends with that program.
  const ends = [stopped, isJson ? commanded : commanded.then(() => stopped)];
  try {
    await Promise.race(path.failed === undefined ? ends : [...ends, path.failed]);
  } finally {
    around.input.destroy();
    if (live !== null) clearInterval(live);
  }
  const statistics = await statisticsOf(path);
  around.writeOutput(isJson ? `${JSON.stringify({ statistics })}\n` : `\n${summary(statistics)}\n`);
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

async function answerCommands(path: ServedPath, around: NetemSurroundings): Promise<void> {
  try {
    for await (const line of linesOf(around.input)) {
      if (line.trim() === "") continue;
      around.writeOutput(`${JSON.stringify(await path.answer(line))}\n`);
    }
  } catch (error) {
    // Stopping destroys the input under the reader; that is no failure.
    if (!around.stop.aborted) throw error;
  }
}

async function statisticsOf(path: ServedPath): Promise<StatisticsReply> {
  const reply = await path.answer(ASK_STATISTICS);
  if (reply.ok && reply.statistics !== undefined) return reply.statistics;
  throw new SmfsError("IO", reply.ok ? "the path gives no statistics" : reply.error);
}

function startLiveLine(path: ServedPath, around: NetemSurroundings): NodeJS.Timeout {
  let before = 0;
  const show = async (): Promise<void> => {
    const statistics = await statisticsOf(path);
    const megabits = ((statistics.bytes - before) * 8) / 1e6 / (LIVE_LINE_MILLIS / 1000);
    before = statistics.bytes;
    around.writeOutput(`\r\u001B[K${megabits.toFixed(1)} Mbit/s  ${summary(statistics)}`);
  };
  return setInterval(() => {
    show().catch((error: unknown) => around.writeError(`smfs netem: ${String(error)}\n`));
  }, LIVE_LINE_MILLIS);
}

function summary(statistics: StatisticsReply): string {
  const { sent, delivered, lost, overflowed, cut, aToB, bToA } = statistics;
  const inFlight = aToB.inFlight + bToA.inFlight;
  const share = sent === 0 ? "" : ` (${((100 * lost) / sent).toFixed(2)} %)`;
  return `packets: ${sent} sent, ${delivered} delivered, ${lost} lost${share}, ${overflowed} overflowed, ${cut} cut, ${inFlight} in flight`;
}

export function lineLogger(around: NetemSurroundings): Logger {
  const write = (fields: object, message: string): void =>
    around.writeError(`smfs netem: ${message} ${JSON.stringify(fields)}\n`);
  return { debug: () => {}, info: write, warn: write, error: write };
}

export function thisProcess(): NetemSurroundings {
  const stop = new AbortController();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, () => stop.abort());
  // Nobody reads what is written any more (EPIPE): whoever started the path is gone.
  process.stdout.on("error", () => stop.abort());
  return {
    input: process.stdin,
    isTerminal: process.stdout.isTTY,
    writeOutput: (text) => process.stdout.write(text),
    writeError: (text) => process.stderr.write(text),
    stop: stop.signal,
  };
}
