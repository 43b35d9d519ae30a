/** What a running site answers about its snapshots on the control socket. */
import { SmfsError } from "../../lib/errors.ts";
import type { SnapshotInfo } from "../../logfs/core/fs/snapshot-usage.ts";
import type { ControlVerb } from "../control.ts";
import { writeAhead } from "./ahead.ts";
import type { PrimarySite } from "./primary.ts";
import type { Site } from "./site.ts";

export function snapshotVerbs(site: Site): Record<string, ControlVerb> {
  return {
    "GET /snapshots": () => list(site),
    "POST /snapshots/take": (query) => take(primaryOf(site), nameIn(query)),
    "POST /snapshots/remove": (query) => remove(primaryOf(site), nameIn(query), isForced(query)),
    "POST /snapshots/rollback": (query) => rollBack(site, nameIn(query), isForced(query)),
  };
}

function nameIn(query: URLSearchParams): string {
  return query.get("name") ?? "";
}

type Forced = "forced" | "asked";

function isForced(query: URLSearchParams): Forced {
  return query.get("force") === "1" ? "forced" : "asked";
}

async function list({ role }: Site): Promise<{ snapshots: SnapshotInfo[] }> {
  return { snapshots: (await role?.volume?.describeSnapshots()) ?? [] };
}

async function take(primary: PrimarySite, name: string): Promise<void> {
  await writeAhead(primary.volume);
  primary.volume.snapshots.take(name);
  await safe(primary);
}

async function remove(primary: PrimarySite, name: string, how: Forced): Promise<void> {
  await writeAhead(primary.volume);
  const { slot } = primary.volume.snapshots.require(name);
  const open = primary.vfs.openFilesOf(slot);
  if (open > 0 && how !== "forced") {
    throw new SmfsError("BUSY", `open files of ${name}: ${open}; close them, or --force`);
  }
  primary.volume.snapshots.remove(name);
  await safe(primary);
}

/** The kernel has cached what is about to change, so the file system is mounted anew. */
async function rollBack(site: Site, name: string, how: Forced): Promise<void> {
  const primary = primaryOf(site);
  primary.volume.snapshots.require(name);
  const { openHandles } = primary.fileSystem.statistics;
  if (openHandles > 0 && how !== "forced") {
    throw new SmfsError("BUSY", `open files: ${openHandles}; close them, or --force`);
  }
  await site.whileUnmounted(async () => {
    await primary.rollBack(name);
    await safe(primary);
  });
}

/** Waits until it is as safe as an fsync makes things. */
async function safe({ committer, volume, sync }: PrimarySite): Promise<void> {
  await committer.wait(volume.headSequence, sync.fsync);
}

/** Throws `SmfsError` USAGE at a mirror: it has the snapshots that its primary takes. */
function primaryOf({ role, registry }: Site): PrimarySite {
  if (role?.role === "primary") return role;
  const hint = "its snapshots are those of its primary: take and remove them there";
  throw new SmfsError("USAGE", `${registry.path} is a mirror; ${hint}`);
}
