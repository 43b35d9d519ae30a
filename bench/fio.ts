/**
 * fio's jobs, for data: those of `JOBS`, or the sections of the same name in the job files of a
 * directory given (`seq1m.fio`, `rand4k.fio`, `sync4k.fio`).
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { SmfsError } from "../lib/errors.ts";

const run = promisify(execFile);

export interface FioJob {
  readonly file: string;
  readonly section: string;
  readonly arguments: readonly string[];
}

const GLOBAL = ["--ioengine=psync", "--invalidate=1", "--group_reporting"];
const SEQUENTIAL = [...GLOBAL, "--bs=1m", "--size=512m", "--filename=f.seq"];
/** Random reads use the file of the sequential jobs. */
const RANDOM = [...GLOBAL, "--bs=4k", "--size=512m", "--filename=f.seq", "--numjobs=2"];
const SYNCED = [...GLOBAL, "--bs=4k", "--size=4m", "--numjobs=16", "--fsync=1"];
const seconds = (count: number): string[] => ["--time_based", `--runtime=${count}`];

export const JOBS = {
  write: {
    file: "seq1m.fio",
    section: "w",
    arguments: [...SEQUENTIAL, "--rw=write", "--end_fsync=1"],
  },
  read: { file: "seq1m.fio", section: "r", arguments: [...SEQUENTIAL, "--rw=read"] },
  random: {
    file: "rand4k.fio",
    section: "rr",
    arguments: [...RANDOM, "--rw=randread", ...seconds(3)],
  },
  synced: {
    file: "sync4k.fio",
    section: "sync",
    arguments: [...SYNCED, "--rw=randwrite", ...seconds(4)],
  },
} as const satisfies Record<string, FioJob>;

interface Direction {
  readonly total_ios: number;
  /** Milliseconds. */
  readonly runtime: number;
}

/** fio(1), "FIO OUTPUT, json". */
interface FioOutput {
  readonly jobs: readonly { readonly read: Direction; readonly write: Direction }[];
}

export function hasFio(): Promise<boolean> {
  return run("fio", ["--version"]).then(
    () => true,
    () => false,
  );
}

/** `given`: a directory that may hold the job's file. */
export async function runFio(
  { file, section, arguments: own }: FioJob,
  directory: string,
  given: string | undefined,
): Promise<{ operations: number; seconds: number }> {
  const path = given === undefined ? undefined : join(given, file);
  const isGiven = path !== undefined && existsSync(path);
  const what = isGiven ? [`--section=${section}`, path] : [`--name=${section}`, ...own];
  const where = [`--directory=${directory}`, "--output-format=json"];
  const { stdout } = await run("fio", [...where, ...what]);
  // Before the JSON stands what fio has to say about files that it lays out.
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as FioOutput;
  const [job] = jobs;
  if (job === undefined) throw new SmfsError("IO", `fio ran no job ${section}`);
  const { total_ios: operations, runtime } = job.read.total_ios > 0 ? job.read : job.write;
  if (runtime === 0) throw new SmfsError("IO", `fio's job ${section} did nothing`);
  return { operations, seconds: runtime / 1000 };
}
