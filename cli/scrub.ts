/**
 * `smfs scrub`: has the site that runs on a store read everything that it has, and compare it with
 * its checksums. Exit 0: nothing is damaged (any more), 1: something is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { formatBytes, parseSize } from "../lib/units.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { askControl } from "./control.ts";
import { EXIT, parseFlag } from "./exit.ts";
import { storeOf } from "./mountpoints.ts";
import { ProgressLine } from "./progress.ts";
import { describeScrub, type ScrubReport } from "./scrub-report.ts";

const ASK_MILLIS = 500;

interface ScrubFlags {
  readonly rate: string;
  readonly background?: true;
  readonly status?: true;
  readonly stop?: true;
  readonly json?: true;
}

export function scrubCommand(): Command {
  return new Command("scrub")
    .description("have the running site read all it has; what is damaged comes from the mirror")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--rate <size>", "bytes a second, at most", "64MiB")
    .option("--background", "do not wait for the end")
    .option("--status", "only say how far the one is that runs")
    .option("--stop", "stop the one that runs")
    .option("--json", "print one JSON object")
    .action(scrub);
}

async function scrub(path: string, flags: ScrubFlags): Promise<void> {
  const { controlSocket } = StoreRegistry.open(storeOf(path));
  const status = (): Promise<ScrubReport> => askControl<ScrubReport>(controlSocket, "GET /scrub");
  if (flags.stop) await askControl(controlSocket, "POST /scrub/stop");
  else if (!flags.status) {
    const rate = parseFlag("--rate", flags.rate, parseRateSize);
    await askControl(controlSocket, `POST /scrub?rate=${rate}`);
  }
  const waits = !flags.stop && !flags.status && !flags.background;
  const report = waits ? await ended(status) : await status();
  const text = flags.json
    ? `${JSON.stringify(report)}\n`
    : describeScrub(report, systemTime.wallMicros());
  process.stdout.write(text);
  process.exitCode = exitCodeOf(report);
}

function parseRateSize(text: string): number {
  const rate = parseSize(text);
  if (rate > 0) return rate;
  throw new SmfsError("USAGE", "a rate is more than 0");
}

async function ended(status: () => Promise<ScrubReport>): Promise<ScrubReport> {
  const line = new ProgressLine();
  for (;;) {
    const report = await status();
    const { scrub: found } = report;
    if (found?.state !== "running") {
      line.end();
      return report;
    }
    const share = found.totalBytes === 0 ? 1 : found.scrubbedBytes / found.totalBytes;
    line.show(share, () => `${formatBytes(found.scrubbedBytes)}, ${found.damaged} damaged`);
    await sleep(ASK_MILLIS);
  }
}

function exitCodeOf({ scrub: found }: ScrubReport): number {
  if (found === null) return EXIT.done;
  if (found.state === "failed") return EXIT.io;
  return found.damaged > found.repaired ? EXIT.no : EXIT.done;
}
