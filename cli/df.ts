/** `smfs df`: how much room a store has, and what takes it. Through the site when one runs on it. */
import { Command } from "commander";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { SmfsError } from "../lib/errors.ts";
import { FrozenVolume } from "../logfs/core/fs/frozen-volume.ts";
import { inspectLog } from "../logfs/core/log/inspect.ts";
import { askControl } from "./control.ts";
import { describeSpace, type SpaceReport, spaceReport } from "./df-report.ts";
import { storeOf } from "./mountpoints.ts";
import { openOffline } from "./offline.ts";
import { closeLog } from "./site/primary.ts";
import { unlessRunning } from "./stored-volume.ts";

export function dfCommand(): Command {
  return new Command("df")
    .description("show how much room a store has, and what takes it")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--json", "print one JSON object")
    .action(async (path: string, { json }: { json?: true }) => {
      const store = storeOf(path);
      const { controlSocket } = StoreRegistry.open(store);
      const report = await unlessRunning(
        () => askControl<SpaceReport>(controlSocket, "GET /space"),
        () => measureStored(store),
      );
      process.stdout.write(json ? `${JSON.stringify(report)}\n` : describeSpace(report));
    });
}

async function measureStored(path: string): Promise<SpaceReport> {
  const { files, options, close } = openOffline(path, "let be");
  try {
    const { log, failure } = inspectLog(files, options, systemTime);
    if (log === null) throw failure ?? new SmfsError("DAMAGED", `${path} holds no log`);
    if (log.checkpoint === null) throw new SmfsError("DAMAGED", `${path} holds no file system`);
    const environment = { clock: systemTime, space: () => files.space() };
    const now = { sequence: log.head.sequence };
    const volume = await FrozenVolume.open(log, log.checkpoint, environment, now);
    const use = volume.measureSpace(files.list());
    await closeLog(log);
    return spaceReport(path, files, use, volume.statistics, volume.keptSnapshots.length);
  } finally {
    close();
  }
}
