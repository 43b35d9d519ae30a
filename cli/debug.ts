/**
 * `smfs debug log` and `smfs debug tree`: what stands in a store's log, and in the tree of its file
 * system. Both only read, print as they go, and go on behind damage.
 */
import { Command, Option } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { KIND } from "../logfs/core/log/format.ts";
import { surveyLog } from "../logfs/core/log/survey.ts";
import { describeTree, type TreeRequest } from "./debug-tree.ts";
import { describePart, isWanted, type LogFilter } from "./debug-log.ts";
import { openOffline } from "./offline.ts";
import { Output } from "./output.ts";

interface LogFlags {
  readonly from?: number;
  readonly to?: number;
  readonly kind?: keyof typeof KIND;
  readonly json?: true;
}

export function debugCommand(): Command {
  return new Command("debug")
    .description("look into a store, whole or damaged, in use or not; changes nothing")
    .addCommand(logCommand())
    .addCommand(treeCommand());
}

function logCommand(): Command {
  return new Command("log")
    .description("print the records of the log in order, and what is no record")
    .argument("<store>", "the store's directory")
    .option("--from <sequence>", "first record", parseWhole)
    .option("--to <sequence>", "last record", parseWhole)
    .addOption(new Option("--kind <kind>", "only records of a kind").choices(Object.keys(KIND)))
    .option("--json", "one JSON object a line")
    .action(debugLog);
}

function treeCommand(): Command {
  return new Command("tree")
    .description("print the nodes and items of the file system's tree")
    .argument("<store>", "the store's directory")
    .option("--inode <number>", "only the items of an inode", parseWhole)
    .option("--at <sequence>", "as of the newest checkpoint at or before a record", parseWhole)
    .option("--snapshot <name>", "of a snapshot")
    .option("--json", "one JSON object a line")
    .action(debugTree);
}

function parseWhole(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new SmfsError("USAGE", `'${text}' is not a number of a record or an inode`);
}

async function debugLog(path: string, { from, to, kind, json }: LogFlags): Promise<void> {
  const store = openOffline(path, "let be");
  const output = new Output(json ? "json" : "text");
  const filter: LogFilter = {
    from: from ?? 0,
    to: to ?? Infinity,
    kind: kind === undefined ? null : KIND[kind],
  };
  try {
    for (const part of surveyLog(store.files, store.placement.id)) {
      if (part.kind === "record" && part.record.header.sequence > filter.to) break;
      if (isWanted(part, filter)) await output.print(describePart(part));
      if (output.isClosed) break;
    }
  } finally {
    store.close();
  }
}

async function debugTree(path: string, flags: TreeRequest & { json?: true }): Promise<void> {
  const store = openOffline(path, "let be");
  const output = new Output(flags.json ? "json" : "text");
  try {
    await describeTree(store, flags, output);
  } finally {
    store.close();
  }
}
