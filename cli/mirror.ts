/** `smfs mirror`: how the mirror stands, and what to do when the primary is lost. */
import { Command } from "commander";
import { keepWritersOut } from "../logfs/log/lock.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import type { SiteStatus } from "../web/status-types.ts";
import { askControl } from "./control.ts";
import { storeOf } from "./mountpoints.ts";
import { promoteOffline } from "./promote.ts";
import { mirrorLines, siteStatus } from "./status.ts";
import { SmfsError } from "../lib/errors.ts";

/** Nagios plug-in guidelines: ok, warning, critical, unknown. */
const CHECK = { ok: 0, degraded: 1, critical: 2, unknown: 3 };
/** Behind by more than this is "degraded" for --check. */
const LAG_LIMIT_SECONDS = 60;

export function mirrorCommand(): Command {
  const mirror = new Command("mirror").description("the mirror of a file system");
  mirror
    .command("status")
    .description("is it connected, how far behind, what is at risk")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--json", "print one JSON object")
    .option("--check", "for monitoring: exit 0 ok, 1 degraded, 2 critical, 3 unknown")
    .action(status);
  mirror
    .command("promote")
    .description("make this mirror the primary: the old primary is fenced from then on")
    .argument("<store>", "the mirror's store, or where it is mounted")
    .option("--force", "even though the primary is still connected, or records are missing")
    .action(promote);
  mirror
    .command("adopt")
    .description(
      "make a mirror of a copy of a store, when its primary has dropped what a new one needs",
    )
    .argument("<store>", "the copy's directory; no site runs on it")
    .action(adopt);
  return mirror;
}

async function status(path: string, flags: { json?: true; check?: true }): Promise<void> {
  let site: SiteStatus;
  try {
    site = await siteStatus(path);
  } catch (error) {
    if (!flags.check) throw error;
    process.stdout.write(`UNKNOWN: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = CHECK.unknown;
    return;
  }
  const { mirror, role, schemaVersion } = site;
  if (flags.json) process.stdout.write(`${JSON.stringify({ schemaVersion, role, mirror })}\n`);
  else process.stdout.write(`${mirrorLines(mirror).join("\n")}\n`);
  if (flags.check) process.exitCode = judge(site);
}

function judge({ mirror }: SiteStatus): number {
  if (mirror === null) return CHECK.unknown;
  if (mirror.state !== "streaming" && mirror.state !== "following") return CHECK.critical;
  return (mirror.lagSeconds ?? 0) > LAG_LIMIT_SECONDS ? CHECK.degraded : CHECK.ok;
}

/** The copy's log is not touched: opening it as a mirror's cuts off what was copied in mid-write. */
function adopt(path: string): void {
  const registry = StoreRegistry.open(path);
  const { log } = registry;
  if (log === null) throw new SmfsError("USAGE", `${path} holds no log that could be followed`);
  const release = keepWritersOut(log.directory);
  try {
    registry.adoptAsMirror();
  } finally {
    release();
  }
  process.stdout.write(`${path}: a mirror; mount it with --listen and --key-file\n`);
  process.stdout.write(
    "if this was the primary's own store: smfs mirror promote makes it one again\n",
  );
}

/** Through the site when one runs, else on the store itself. */
async function promote(path: string, { force }: { force?: true }): Promise<void> {
  const registry = StoreRegistry.open(storeOf(path));
  try {
    const verb = `POST /promote${force ? "?force=1" : ""}` as const;
    const { term } = await askControl<{ term: number }>(registry.controlSocket, verb);
    process.stdout.write(`promoted: this site is the primary from term ${term} on\n`);
  } catch (error) {
    if (!(error instanceof SmfsError && error.code === "UNREACHABLE")) throw error;
    const term = await promoteOffline(registry, { force: force ?? false });
    process.stdout.write(`promoted: this store is a primary's from term ${term} on; mount it\n`);
  }
}
