/** `smfs quota`: how much a file system may hold. Through the site when one runs on the store. */
import { Command } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { formatBytes, parseSize } from "../lib/units.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { askControl } from "./control.ts";
import { parseFlag } from "./exit.ts";
import { storeOf } from "./mountpoints.ts";
import { type QuotaChange, type QuotaReport, quotaOf, quotaReport } from "./quota-report.ts";
import { changeStored, readStored, unlessRunning } from "./stored-volume.ts";

interface QuotaFlags {
  readonly bytes?: string;
  readonly inodes?: string;
  readonly json?: true;
}

export function quotaCommand(): Command {
  return new Command("quota")
    .description("show or set how much a file system may hold")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--bytes <size>", "of file data; or none")
    .option("--inodes <count>", "files and directories; or none")
    .option("--json", "print one JSON object")
    .action(quota);
}

async function quota(path: string, flags: QuotaFlags): Promise<void> {
  const store = storeOf(path);
  const change = {
    bytes: limitFrom("--bytes", flags.bytes, parseSize),
    inodes: limitFrom("--inodes", flags.inodes, parseCount),
  };
  const isChange = change.bytes !== undefined || change.inodes !== undefined;
  const report = await (isChange ? set(store, change) : show(store));
  process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : describeQuota(report));
}

/** 0: no limit; undefined: not said. A limit of nothing would say so, too, and is refused. */
function limitFrom(
  flag: string,
  text: string | undefined,
  parse: (text: string) => number,
): number | undefined {
  if (text === undefined) return undefined;
  if (text === "none") return 0;
  const limit = parseFlag(flag, text, parse);
  if (limit > 0) return limit;
  throw new SmfsError("USAGE", `${flag}: more than 0, or none`);
}

function parseCount(text: string): number {
  if (/^[1-9][0-9]{0,14}$/.test(text)) return Number(text);
  throw new SmfsError("USAGE", `"${text}" is not a whole number`);
}

function show(store: string): Promise<QuotaReport> {
  const { controlSocket } = StoreRegistry.open(store);
  return unlessRunning(
    () => askControl<QuotaReport>(controlSocket, "GET /quota"),
    () => readStored(store, async ({ volume }) => quotaReport(volume.statistics)),
  );
}

async function set(store: string, change: QuotaChange): Promise<QuotaReport> {
  const { controlSocket } = StoreRegistry.open(store);
  const query = new URLSearchParams();
  for (const [what, limit] of Object.entries(change)) {
    if (limit !== undefined) query.set(what, String(limit));
  }
  await unlessRunning(
    () => askControl(controlSocket, `POST /quota?${query.toString()}`),
    () =>
      changeStored(store, (volume) => volume.setQuota(quotaOf(volume.statistics.quota, change))),
  );
  return show(store);
}

function describeQuota({ usedBytes, limitBytes, usedInodes, limitInodes }: QuotaReport): string {
  const bytes = limitBytes === null ? "no limit" : `of ${formatBytes(limitBytes)}`;
  const inodes = limitInodes === null ? "no limit" : `of ${limitInodes}`;
  return `bytes   ${formatBytes(usedBytes)}, ${bytes}\ninodes  ${usedInodes}, ${inodes}\n`;
}
