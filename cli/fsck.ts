/**
 * `smfs fsck STORE`: is the file system whole? Reads, and writes nothing: a tail that a crash tore is
 * reported and left to the next mount. `--repair` is in `fsck-repair.ts`.
 */
import { Command, Option } from "commander";
import { messageOf, SmfsError } from "../lib/errors.ts";
import { formatBytes, parseSize } from "../lib/units.ts";
import { type CheckProgress, type CheckReport, checkVolume } from "../logfs/core/fs/check.ts";
import { inspectLog } from "../logfs/core/log/inspect.ts";
import { describeAddress } from "../logfs/core/log/record.ts";
import { systemTime } from "../sys/time.ts";
import { FSCK_EXIT, reportFailure } from "./exit.ts";
import { jsonOf, linesOf, type LogFinding } from "./fsck-report.ts";
import { openOffline } from "./offline.ts";
import { ProgressLine } from "./progress.ts";
import { closeLog } from "./site/primary.ts";

export interface FsckFlags {
  readonly json?: true;
  readonly deep?: true;
  readonly memory: number;
}

export function fsckCommand(): Command {
  return new Command("fsck")
    .description(
      "check a store that no site runs on; exit 0: whole, 4: damaged, 8: could not be checked",
    )
    .argument("<store>", "the store's directory")
    .option("--deep", "also read all file data and verify its checksum")
    .addOption(
      new Option("--memory <size>", "for what is noted of inodes, and as much again for --deep")
        .argParser(parseSize)
        .default(64 * 2 ** 20, "64MiB"),
    )
    .option("--json", "print one JSON object")
    .action(async (path: string, flags: FsckFlags) => {
      try {
        process.exitCode = await fsck(path, flags);
      } catch (error) {
        reportFailure(error);
        const isUsage = error instanceof SmfsError && error.code === "USAGE";
        process.exitCode = isUsage ? FSCK_EXIT.usage : FSCK_EXIT.failed;
      }
    });
}

async function fsck(path: string, flags: FsckFlags): Promise<number> {
  const store = openOffline(path, "keep out");
  try {
    const inspected = inspectLog(store.files, store.options, systemTime);
    const found: LogFinding[] = [];
    const { failure, tornAt, log } = inspected;
    if (failure !== null) found.push({ severity: "error", what: messageOf(failure) });
    if (tornAt !== null) {
      const what = `a torn tail at ${describeAddress(tornAt)}: the next mount cuts it off`;
      found.push({ severity: "note", what });
    }
    let report: CheckReport | null = null;
    const progress = new ProgressLine();
    if (log !== null && log.checkpoint !== null) {
      report = await checkVolume(log, log.checkpoint, {
        segments: inspected.store.list(),
        depth: flags.deep ? "data" : "structure",
        memoryBytes: flags.memory,
        paths: "find",
        onProgress: ({ share, totals }) => progress.show(share, () => progressText(totals)),
      });
      await closeLog(log);
    } else if (failure === null) {
      found.push({ severity: "error", what: "the log holds no file system" });
    }
    progress.end();
    const result = { path, found, report, seconds: progress.elapsedSeconds };
    process.stdout.write(flags.json ? `${JSON.stringify(jsonOf(result))}\n` : linesOf(result));
    return isClean(found, report) ? FSCK_EXIT.clean : FSCK_EXIT.uncorrected;
  } finally {
    store.close();
  }
}

function isClean(found: readonly LogFinding[], report: CheckReport | null): boolean {
  if (report === null || found.some(({ severity }) => severity === "error")) return false;
  return report.complete && report.errors + report.warnings === 0;
}

function progressText({ inodes, items, verifiedBytes }: CheckProgress["totals"]): string {
  const read = verifiedBytes === 0 ? "" : `, ${formatBytes(verifiedBytes)} of data`;
  return `${inodes} inodes, ${items} items${read}`;
}
