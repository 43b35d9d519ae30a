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
import { repairCommand, type RepairFlags } from "./fsck-repair.ts";
import { jsonOf, linesOf, type LogFinding } from "./fsck-report.ts";
import { openOffline } from "./offline.ts";
import { ProgressLine } from "./progress.ts";
import { closeLog } from "./site/primary.ts";

interface FsckFlags extends RepairFlags {
  readonly repair?: true;
}

export function fsckCommand(): Command {
  return new Command("fsck")
    .description(
      "check a store that no site runs on; exit 0: whole, 1: repaired, 4: damaged, 8: could not be checked",
    )
    .argument("<store>", "the store's directory")
    .option("--deep", "also read all file data and verify its checksum")
    .addOption(
      new Option("--memory <size>", "for what is noted of inodes, and as much again for --deep")
        .argParser(parseSize)
        .default(64 * 2 ** 20, "64MiB"),
    )
    .option("--repair", "repair what is damaged, and say what is done")
    .option(
      "--from <store>",
      "with --repair: take damaged bytes from this copy of the other site's store",
    )
    .option(
      "--zero-damaged",
      "with --repair: data that no copy has becomes zeros; else it stays unreadable",
    )
    .option("--dry-run", "with --repair: only say what would be done")
    .option("--json", "print one JSON object")
    .action(async (path: string, flags: FsckFlags) => {
      try {
        requireRepair(flags);
        process.exitCode = await (flags.repair ? repairCommand : fsck)(path, flags);
      } catch (error) {
        reportFailure(error);
        const isUsage = error instanceof SmfsError && error.code === "USAGE";
        process.exitCode = isUsage ? FSCK_EXIT.usage : FSCK_EXIT.failed;
      }
    });
}

function requireRepair({ repair, from, zeroDamaged, dryRun }: FsckFlags): void {
  if (repair || (from === undefined && !zeroDamaged && !dryRun)) return;
  throw new SmfsError("USAGE", "--from, --zero-damaged and --dry-run go with --repair");
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
