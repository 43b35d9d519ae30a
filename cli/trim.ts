/** `smfs trim`: clean away everything that is worth it, now. The site that runs on the store does it. */
import { Command } from "commander";
import { formatBytes } from "../lib/units.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import type { SiteStatus } from "../web/status-types.ts";
import { askControl } from "./control.ts";
import { storeOf } from "./mountpoints.ts";
import { ProgressLine } from "./progress.ts";
import type { TrimReport } from "./site/trim.ts";

/** Moving everything in a large store takes hours. */
const ANSWER_MILLIS = 24 * 3600 * 1000;
const LOOK_MILLIS = 500;

export function trimCommand(): Command {
  return new Command("trim")
    .description("give back to the device what deleted and overwritten data still takes")
    .argument("<store>", "the store's directory, or where it is mounted; its site must run")
    .option("--json", "print one JSON object")
    .action(async (path: string, { json }: { json?: true }) => {
      const { controlSocket } = StoreRegistry.open(storeOf(path));
      const report = await whileShowing(
        controlSocket,
        askControl<TrimReport>(controlSocket, "POST /trim", ANSWER_MILLIS),
      );
      process.stdout.write(json ? `${JSON.stringify(report)}\n` : describe(report));
    });
}

/** Says on a terminal how far it has come. */
async function whileShowing<T>(controlSocket: string, work: Promise<T>): Promise<T> {
  const line = new ProgressLine();
  const timer = setInterval(() => void show(), LOOK_MILLIS);
  let before: number | null = null;
  const show = async (): Promise<void> => {
    // What the site fails with is said by the work itself.
    const status = await askControl<SiteStatus>(controlSocket, "GET /status").catch(() => null);
    if (status?.cleaner == null) return;
    const { utilisation, cleanedSegments } = status.cleaner;
    before ??= utilisation;
    const done = before >= 1 ? 1 : Math.max(0, (utilisation - before) / (1 - before));
    line.show(Math.min(0.99, done), () => `${cleanedSegments} segments cleaned`);
  };
  try {
    return await work;
  } finally {
    clearInterval(timer);
    line.end();
  }
}

function describe(report: TrimReport): string {
  const { cleanedSegments, movedBytes, storeBytesBefore, storeBytes, tookSeconds } = report;
  const freed = Math.max(0, storeBytesBefore - storeBytes);
  const moved = `${cleanedSegments} segments cleaned, ${formatBytes(movedBytes)} moved`;
  const took = `in ${tookSeconds.toFixed(1)} s`;
  return `${formatBytes(freed)} given back ${took}: ${moved}; the log takes ${formatBytes(storeBytes)}\n`;
}
