/** What is wrong with a configuration, in words that say what to write instead. */
import type { TomlTable } from "smol-toml";
import type { z } from "zod";
import type { ConfigSource, Problem } from "./config-flags.ts";
import { type Key, SECTIONS, tableOf } from "./config-table.ts";

/** Characters of a wrong value that a message repeats. */
const MOST_QUOTED = 80;

type Issue = z.core.$ZodIssue;

const TABLES: Readonly<Record<string, Readonly<Record<string, Key>>>> = SECTIONS;

/** One problem for each thing to mend; an issue names all unknown keys of a section together. */
export function describeIssue(issue: Issue, raw: TomlTable, source: ConfigSource): Problem[] {
  const [section, key] = issue.path.map(String);
  if (issue.code === "unrecognized_keys" && key === undefined) {
    return issue.keys.map((name) => describeUnknown(section, name, source));
  }
  if (section === undefined) return [source.problem(["(top)"], issue.message)];
  if (key === undefined) {
    const message = `must be a section: write [${section}] on a line of its own, and its keys below`;
    return [source.problem([section], message)];
  }
  return [source.problem([section, key], describeValue(issue, section, key, raw))];
}

function describeValue(issue: Issue, section: string, key: string, raw: TomlTable): string {
  const form = tableOf(section)?.[key]?.form ?? "something else";
  const wish = issue.code === "custom" ? issue.message : `must be ${form}`;
  const value = (raw[section] as TomlTable)[key];
  return `${wish}, not ${JSON.stringify(value).slice(0, MOST_QUOTED)}`;
}

function describeUnknown(section: string | undefined, name: string, source: ConfigSource): Problem {
  if (section === undefined) return describeUnknownSection(name, source);
  const home = Object.keys(TABLES).find((each) => Object.hasOwn(TABLES[each] ?? {}, name));
  if (home !== undefined) return source.problem([section, name], `belongs in [${home}]`);
  const advice = adviceFor(name, Object.keys(tableOf(section) ?? {}));
  return source.problem([section, name], `there is no such key; ${advice}`);
}

function describeUnknownSection(name: string, source: ConfigSource): Problem {
  const home = Object.keys(TABLES).find((each) => Object.hasOwn(TABLES[each] ?? {}, name));
  if (home !== undefined) return source.problem([name], `is a key that belongs in [${home}]`);
  return source.problem(
    [name],
    `there is no such section; ${adviceFor(name, Object.keys(TABLES))}`,
  );
}

function adviceFor(name: string, valid: readonly string[]): string {
  const near = nearest(name, valid);
  return near === null ? `there are ${valid.join(", ")}` : `did you mean ${near}?`;
}

/** The valid name a slip or two away, or null. */
function nearest(name: string, valid: readonly string[]): string | null {
  const most = Math.max(1, Math.floor(name.length / 3));
  const near = valid
    .map((each) => ({ each, distance: editDistance(name.toLowerCase(), each) }))
    .filter(({ distance }) => distance <= most)
    .toSorted((a, b) => a.distance - b.distance);
  return near[0]?.each ?? null;
}

/** Levenshtein's distance: insertions, deletions and replacements between two short words. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of a.split("").entries()) {
    const current = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (previous[j] as number) + (letter === b[j] ? 0 : 1);
      const shifted = Math.min(previous[j + 1] as number, current[j] as number) + 1;
      current.push(Math.min(replaced, shifted));
    }
    previous = current;
  }
  return previous[b.length] as number;
}
