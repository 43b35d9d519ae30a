/**
 * The control protocol of an emulated path: one JSON object a line in, one a line out, in order.
 *
 *     {"set": {"loss": "1%", "burst": 8}, "direction": "a>b"}     {"ok": true}
 *     {"cut": true}   {"restore": true}                           {"ok": true}
 *     {"stats": true}                                             {"ok": true, "statistics": {…}}
 *
 * `direction` is `a>b`, `b>a` or `both` (the default). What cannot be done answers
 * `{"ok": false, "error": "…"}` and changes nothing.
 */
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { EmulatedLinkStatistics } from "../core/link.ts";
import { parseChanges } from "../core/parse.ts";
import type { Direction } from "../core/timeline.ts";
import type { ControlledPath, ShellStatistics } from "./controlled.ts";

/** Both directions together, then each by itself and what concerns the shell. */
export type StatisticsReply = Record<keyof EmulatedLinkStatistics, number> & ShellStatistics;

export type ControlReply =
  | { readonly ok: true; readonly statistics?: StatisticsReply }
  | { readonly ok: false; readonly error: string };

const VERBS = ["set", "cut", "restore", "stats"] as const;
type Verb = (typeof VERBS)[number];

/** Does what the line asks; never throws for what the line says. */
export function answerLine(path: ControlledPath, line: string): ControlReply {
  try {
    return answer(path, parseObject(line, "a command"));
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    return { ok: false, error: messageOf(error) };
  }
}

function answer(path: ControlledPath, command: Record<string, unknown>): ControlReply {
  const verb = verbOf(command);
  const direction = directionOf(command["direction"]);
  switch (verb) {
    case "set":
      path.configure(direction, parseChanges(textsOf(command["set"])));
      return { ok: true };
    case "cut":
      path.cut(direction);
      return { ok: true };
    case "restore":
      path.restore(direction);
      return { ok: true };
    case "stats":
      return { ok: true, statistics: statisticsReply(path.statistics()) };
  }
}

function statisticsReply(statistics: ShellStatistics): StatisticsReply {
  const { aToB, bToA } = statistics;
  return {
    sent: aToB.sent + bToA.sent,
    delivered: aToB.delivered + bToA.delivered,
    lost: aToB.lost + bToA.lost,
    overflowed: aToB.overflowed + bToA.overflowed,
    duplicated: aToB.duplicated + bToA.duplicated,
    reordered: aToB.reordered + bToA.reordered,
    tooLong: aToB.tooLong + bToA.tooLong,
    cut: aToB.cut + bToA.cut,
    bytes: aToB.bytes + bToA.bytes,
    ...statistics,
  };
}

function verbOf(command: Record<string, unknown>): Verb {
  const verbs = VERBS.filter((verb) => verb in command);
  const [verb] = verbs;
  const extra = Object.keys(command).find((key) => key !== "direction" && key !== verb);
  if (verb !== undefined && extra === undefined && isAsked(command[verb])) return verb;
  throw new SmfsError(
    "USAGE",
    'a command is {"set": {"loss": "1%"}}, {"cut": true}, {"restore": true} or {"stats": true}, ' +
      'and may have a "direction"',
  );
}

function isAsked(value: unknown): boolean {
  return value === true || (typeof value === "object" && value !== null);
}

function directionOf(value: unknown): Direction {
  if (value === undefined || value === "both") return "both";
  if (value === "a>b" || value === "b>a") return value;
  throw new SmfsError("USAGE", 'direction is "a>b", "b>a" or "both"');
}

/** Settings as texts; numbers are taken as they would be typed. */
function textsOf(value: unknown): Record<string, string> {
  const settings = typeof value === "object" ? value : null;
  if (settings === null)
    throw new SmfsError("USAGE", 'set needs settings: {"set": {"loss": "1%"}}');
  return Object.fromEntries(
    Object.entries(settings).map(([name, setting]) => [name, textOf(name, setting)]),
  );
}

function textOf(name: string, setting: unknown): string {
  if (typeof setting === "string") return setting;
  if (typeof setting === "number") return String(setting);
  throw new SmfsError("USAGE", `${name} must be a text with its unit, such as "50ms", or a number`);
}

function parseObject(line: string, what: string): Record<string, unknown> {
  const value = parseJson(line, what);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new SmfsError("USAGE", `${what} is one JSON object on a line`);
}

function parseJson(line: string, what: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new SmfsError(
      "USAGE",
      `${what} is one JSON object on a line: ${messageOf(error)}`,
      error,
    );
  }
}
