/** `smfs log`: the states of a file system that can be mounted, from the newest back. */
import { Command } from "commander";
import { type PastState, pastStates } from "../logfs/core/fs/history.ts";
import type { Snapshot } from "../logfs/core/fs/snapshot.ts";
import { storeOf } from "./mountpoints.ts";
import { readStored, type StoredVolume } from "./stored-volume.ts";

const DEFAULT_LIMIT = 50;

/** A line of the list. */
interface Commit {
  readonly kind: "snapshot" | "checkpoint";
  /** The state is that after this record. */
  readonly sequence: number;
  /** Every record up to this one can be mounted, too. */
  readonly untilSequence: number;
  readonly timeMicros: number;
  /** Of a snapshot. */
  readonly name: string | null;
}

export function logCommand(): Command {
  return new Command("log")
    .description("snapshots, and the past states that are still whole: see mount --at")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("-n, --limit <count>", "past states shown at most", Number, DEFAULT_LIMIT)
    .option("--json", "print one JSON object")
    .action(async (path: string, { limit, json }: { limit: number; json?: true }) => {
      const store = storeOf(path);
      const commits = await readStored(store, (stored) => commitsOf(stored, limit));
      const text = json
        ? `${JSON.stringify({ schemaVersion: 1, store, commits })}\n`
        : commits.map(lineOf).join("");
      process.stdout.write(text);
    });
}

async function commitsOf(
  { log, checkpoint, volume }: StoredVolume,
  limit: number,
): Promise<Commit[]> {
  const commits = volume.keptSnapshots.map(ofSnapshot);
  let shown = 0;
  for await (const state of pastStates(log, checkpoint)) {
    if (++shown > limit) break;
    commits.push(ofState(state));
  }
  return commits.toSorted((a, b) => b.sequence - a.sequence);
}

function ofSnapshot({ name, sequence, createdMicros: timeMicros }: Snapshot): Commit {
  return { kind: "snapshot", sequence, untilSequence: sequence, timeMicros, name };
}

function ofState({ sequence, untilSequence, timeMicros }: PastState): Commit {
  return { kind: "checkpoint", sequence, untilSequence, timeMicros, name: null };
}

function lineOf({ sequence, untilSequence, timeMicros, name }: Commit): string {
  const records = sequence === untilSequence ? `${sequence}` : `${sequence}-${untilSequence}`;
  const what = name === null ? "checkpoint" : `snapshot ${name}`;
  return `${records.padEnd(24)}  ${new Date(timeMicros / 1000).toISOString()}  ${what}\n`;
}
