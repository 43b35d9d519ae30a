/**
 * The workloads that stand a file system beside another, and the ratios that are asked of ours:
 * data by fio, metadata by processes of our own, and a source tree unpacked by tar.
 */
import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SmfsError } from "../lib/errors.ts";
import { type FioJob, JOBS, runFio } from "./fio.ts";
import { measureMetadata } from "./metadata.ts";
import type { Meter } from "./meter.ts";

const execute = promisify(execFile);

export interface WorkloadOptions {
  /** Of the metadata workloads. */
  readonly files: number;
  /** Job files of fio that replace ours. */
  readonly fioDirectory?: string;
  /** A tar file. */
  readonly tree: string;
}

export interface Workload {
  readonly name: string;
  /** It is run once before it is measured: a server that is compiled as it runs is not measured doing that. */
  readonly isWarmed: boolean;
  /** Leaves nothing behind that the next run could use, but may use what the workload before left. */
  run(meter: Meter, directory: string, options: WorkloadOptions): Promise<void>;
}

const MIB = 2 ** 20;

/**
 * One operation is one block: the rate of 1 MiB blocks is MiB a second. With `removes`, a file that
 * an earlier run left is removed first: a new file is written, not an old one overwritten.
 */
function fio(name: string, job: FioJob, removes?: string): Workload {
  return {
    name,
    isWarmed: false,
    run(meter, directory, { fioDirectory }) {
      if (removes !== undefined) fs.rmSync(join(directory, removes), { force: true });
      return meter.measure(name, () => runFio(job, directory, fioDirectory));
    },
  };
}

function metadata(processes: number): Workload {
  return {
    name: `metadata, ${processes} processes`,
    isWarmed: true,
    run: (meter, directory, { files }) =>
      measureMetadata(meter, join(directory, "metadata"), files, processes),
  };
}

const untar: Workload = {
  name: "untar",
  isWarmed: true,
  async run(meter, directory, { tree }) {
    const into = join(directory, "tree");
    fs.mkdirSync(into);
    const { stdout } = await execute("tar", ["-tf", tree], { maxBuffer: 64 * MIB });
    const operations = stdout.split("\n").length - 1;
    await meter.measure("untar", async () => {
      await unpack(tree, into);
      return { operations };
    });
    fs.rmSync(into, { recursive: true });
  },
};

async function unpack(tree: string, into: string): Promise<void> {
  try {
    await execute("tar", ["-xf", tree, "-C", into], { maxBuffer: 64 * MIB });
  } catch (error) {
    const { stderr = String(error) } = error as { stderr?: string };
    throw new SmfsError("IO", `tar: ${stderr.split("\n", 1)[0]}`);
  }
}

export const DATA: readonly Workload[] = [
  fio("write 1 MiB", JOBS.write, "f.seq"),
  fio("read 1 MiB", JOBS.read),
  fio("random read 4 KiB", JOBS.random),
];
export const SYNCED: Workload = fio("write 4 KiB + fsync, 16 writers", JOBS.synced);
export const METADATA: readonly Workload[] = [metadata(1), metadata(4), untar];

/** The files of this checkout that are no longer than this: several thousand. */
const LARGEST_FILE = "256k";
const SKIPPED = ["(", "-name", ".git", "-o", "-name", "dist", ")", "-prune", "-o"];

/** Packs the tree that `untar` unpacks. */
export function packTree(place: string): string {
  const tree = join(place, "tree.tar");
  const root = fileURLToPath(
    new URL(import.meta.url.includes("/dist/") ? "../.." : "..", import.meta.url),
  );
  const find = [...SKIPPED, "-type", "f", "-size", `-${LARGEST_FILE}`, "-print0"];
  const names = execFileSync("find", [".", ...find], { cwd: root, maxBuffer: 64 * MIB });
  execFileSync("tar", ["-cf", tree, "-C", root, "--null", "--files-from=-"], { input: names });
  return tree;
}
