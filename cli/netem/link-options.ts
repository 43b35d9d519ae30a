/** What all emulated paths have in common on the command line: settings, preset, timeline, seed. */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { parseChanges, SETTINGS, type SettingName } from "../../netem/core/parse.ts";
import type { PathSettings } from "../../netem/core/path.ts";
import { PRESET_NAMES, PRESETS, type PresetName } from "../../netem/core/presets.ts";
import { changeSettings, IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";
import { parseTimeline, type TimelineEvent } from "../../netem/core/timeline.ts";

/** What the command line gives, as typed. */
export interface LinkOptions extends Partial<Record<SettingName, string>> {
  readonly preset?: PresetName;
  readonly timeline?: string;
  readonly seed: string;
  readonly json?: boolean;
}

export const LINK_EPILOGUE = `
Presets:
${PRESET_NAMES.map((name) => `  ${name.padEnd(18)}${PRESETS[name].doc}`).join("\n")}

Commands on stdin, one JSON object a line, one answer a line:
  {"set": {"loss": "1%", "burst": 8}, "direction": "a>b"}
  {"cut": true}   {"restore": true}   {"stats": true}
With --json the path ends when stdin does.

A timeline has a line for each change: when, perhaps a>b or b>a, and what.
  10s           loss=1% burst=8
  12.5s   a>b   rate=100mbit
  20s           cut
`;

export function addLinkOptions(command: Command): Command {
  command.addOption(new Option("--preset <name>", "start from a known path").choices(PRESET_NAMES));
  for (const [name, { form, doc }] of Object.entries(SETTINGS)) {
    command.option(`--${name} <${form}>`, doc);
  }
  return command
    .option("--timeline <file>", "changes over time")
    .option("--seed <number>", "one seed, one history of losses", "1")
    .option("--json", "write JSON, and end when stdin ends");
}

interface CamelNames {
  readonly reorderDelay?: string;
  readonly pathMtu?: string;
}

/** Commander turns `reorder-delay` into `reorderDelay`; the settings keep their own names. */
export function withSettingNames<T extends LinkOptions>(parsed: T & CamelNames): T {
  const { reorderDelay, pathMtu } = parsed;
  return {
    ...parsed,
    ...(reorderDelay === undefined ? {} : { "reorder-delay": reorderDelay }),
    ...(pathMtu === undefined ? {} : { "path-mtu": pathMtu }),
  };
}

/** Both directions alike. Throws `SmfsError` USAGE. */
export function pathSettings(options: LinkOptions): PathSettings {
  const settings = linkSettings(options);
  return {
    aToB: settings,
    bToA: settings,
    seed: parseSeed(options.seed),
    timeline: readTimeline(options.timeline),
  };
}

function linkSettings(options: LinkOptions): LinkSettings {
  const base = options.preset === undefined ? IDEAL_LINK : PRESETS[options.preset].settings;
  const texts = Object.keys(SETTINGS).flatMap((name) => {
    const text = options[name as SettingName];
    return text === undefined ? [] : [[name, text]];
  });
  return changeSettings(base, parseChanges(Object.fromEntries(texts) as Record<string, string>));
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
