/**
 * `smfs fsck STORE`: is the file system whole? Changes nothing but what every opening does: a tail
 * that a crash tore is cut off (as other file systems replay their journal first).
 */
import { Command } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { type CheckReport, checkVolume } from "../logfs/core/fs/check.ts";
import { Log } from "../logfs/core/log/log.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { EXIT } from "./exit.ts";
import { closeLog, openStore } from "./site/primary.ts";

const PROGRESS_MILLIS = 500;

interface FsckFlags {
  readonly json?: true;
  readonly deep?: true;
}

export function fsckCommand(): Command {
  return new Command("fsck")
    .description("check a store that is not mounted; exit 0: whole, 1: damaged")
    .argument("<store>", "the store's directory")
    .option("--deep", "also read all file data and verify its checksums")
    .option("--json", "print one JSON object")
    .action(fsck);
}

async function fsck(path: string, flags: FsckFlags): Promise<void> {
  const registry = StoreRegistry.open(path);
  const placement = registry.log;
  if (placement === null) throw new SmfsError("NOT_FOUND", `${path} holds no log yet`);
  const store = openStore(placement.directory, null);
  try {
    const { segmentBytes, maxRecordBytes } = placement;
    const follower = registry.role === "mirror";
    const recovered = Log.recover(store, { segmentBytes, maxRecordBytes, follower }, systemTime);
    if (!recovered.ok) throw recovered.failure;
    const { log } = recovered;
    if (log.checkpoint === null) throw new SmfsError("DAMAGED", "the log holds no file system");
    const report = await checkVolume(log, log.checkpoint, {
      segments: store.list(),
      depth: flags.deep ? "data" : "structure",
      onProgress: progress(),
    });
    await closeLog(log);
    print(path, report, flags);
    if (report.errors > 0 || !report.complete) process.exitCode = EXIT.no;
  } finally {
    store.close();
  }
}

/** A line that shows that the work goes on, on a terminal only. */
function progress(): (totals: CheckReport["totals"]) => void {
  let shownMillis = Date.now();
  return (totals) => {
    if (!process.stderr.isTTY || Date.now() - shownMillis < PROGRESS_MILLIS) return;
    shownMillis = Date.now();
    process.stderr.write(`\r${JSON.stringify(totals)}`);
  };
}

function print(path: string, report: CheckReport, { json }: FsckFlags): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ schemaVersion: 1, store: path, ...report })}\n`);
    return;
  }
  for (const { severity, inode, what, address } of report.findings) {
    const where = address === null ? "" : ` (segment ${address.segment} offset ${address.offset})`;
    const of = inode === null ? "" : `inode ${inode}: `;
    process.stdout.write(`${severity}: ${of}${what}${where}\n`);
  }
  const counts = Object.entries(report.totals).map(([name, count]) => `${name} ${count}`);
  const verdict = report.errors === 0 && report.complete ? "whole" : "DAMAGED";
  process.stdout.write(
    `${path}: ${verdict} at record ${report.sequence}: ${report.errors} errors, ${report.warnings} warnings; ${counts.join(", ")}\n`,
  );
}
