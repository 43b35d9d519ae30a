/** `smfs mount` runs a site on a store until it is unmounted; `smfs umount` ends it. */
import { resolve as resolvePath } from "node:path";
import { Command, Option } from "commander";
import { pino } from "pino";
import { SmfsError } from "../lib/errors.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { fuserunmount } from "../sys/fusermount.ts";
import { unmount } from "../sys/mount.ts";
import { runInBackground } from "./background.ts";
import { configFrom, type FlagValues } from "./config.ts";
import { askControl } from "./control.ts";
import { reportFailure } from "./exit.ts";
import { mountPointOf, storeOf } from "./mountpoints.ts";
import { Site } from "./site/site.ts";

const LEVELS = ["written", "local", "network", "remote"];
interface MountFlags extends FlagValues {
  readonly background?: true;
  readonly readOnly?: true;
  readonly at?: string;
}

/** How long `umount` waits for the site to write its last checkpoint. */
const UMOUNT_SECONDS = 60;

export function mountCommand(): Command {
  const level = (flags: string, what: string): Option => new Option(flags, what).choices(LEVELS);
  return new Command("mount")
    .description("run a site: open a store, connect it with the other site, mount its file system")
    .argument("[store]", "the store's directory")
    .argument("[directory]", "where to mount; without it the store is served unmounted")
    .option("-b, --background", "return when it is mounted; the log goes to the store's smfs.log")
    .option("--config <file>", "TOML; flags win over it (docs/CONFIG.md)")
    .option("--listen <host:port>", "wait here for the other site")
    .option("--peer <host:port>", "connect to the other site")
    .option("--key-file <file>", "the key that both sites share (smfs genkey)")
    .option("--rate <rate>", "most that is sent, repair packets included")
    .option("--target-risk <probability>", "that `network` may take")
    .addOption(level("--floor <level>", "what every operation waits for"))
    .addOption(level("--fsync <level>", "what fsync waits for"))
    .addOption(level("--data-sync <level>", "what fdatasync and O_DSYNC wait for"))
    .addOption(level("--osync <level>", "what O_SYNC waits for"))
    .addOption(
      new Option("--on-unreachable <what>", "when a level cannot be reached").choices([
        ...["block", "eio", "degrade"],
      ]),
    )
    .option("--timeout <duration>", "of block")
    .option("--capacity <size>", "the store may grow to this")
    .option("--allow-other", "let other users use the mount")
    .option("--read-only", "only show the file system: no site, nothing is written")
    .option("--at <state>", "with --read-only: a snapshot, a record's number (smfs log), or a time")
    .option("--status <host:port>", "serve the status page and /metrics here")
    .option("--log-level <level>", "debug, info, warn, error")
    .action(mount);
}

export function umountCommand(): Command {
  return new Command("umount")
    .description("unmount, and wait until the site has written everything and ended")
    .argument("<directory>", "where it is mounted, or the store")
    .option("--lazy", "detach a mount that is busy, or whose process is dead")
    .action(umount);
}

async function mount(
  store: string | undefined,
  directory: string | undefined,
  { background, readOnly, at, ...flags }: MountFlags,
): Promise<void> {
  if (at !== undefined && !readOnly) {
    throw new SmfsError("USAGE", "a past state can only be shown: add --read-only");
  }
  if (background) {
    process.exitCode = await runInBackground(configFrom(flags, store, directory).store.path);
    return;
  }
  if (readOnly) return mountToLook(store, directory, at, flags);
  const site = await startSite(store, directory, flags);
  announce(site);
  await site.ended.catch(reportFailure);
  // Sockets and worker threads of libraries must not keep a finished site alive.
  process.exit(process.exitCode);
}

async function mountToLook(
  store: string | undefined,
  directory: string | undefined,
  at: string | undefined,
  flags: FlagValues,
): Promise<void> {
  const { store: of, mount: on } = configFrom(flags, store, directory);
  if (on.point === null) throw new SmfsError("USAGE", "say where to mount it");
  const { mountAt } = await import("./mount-at.ts");
  await mountAt(resolvePath(of.path), on.point, { at, allowOther: on.allowOther });
  process.exit(process.exitCode);
}

/** The site that the flags describe, ended by SIGINT and SIGTERM. */
export async function startSite(
  store: string | undefined,
  directory: string | undefined,
  flags: FlagValues,
): Promise<Site> {
  const config = configFrom(flags, store, directory);
  const logger = pino(
    { level: config.log.level, base: { site: config.store.path } },
    pino.destination({ dest: config.log.file ?? 2, sync: true }),
  );
  const site = await Site.start(config, logger);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => void site.stop().catch(reportFailure));
  }
  return site;
}

function announce(site: Site): void {
  const { point } = site.config.mount;
  const later = point === null ? "not mounted" : `mounts ${point} when the first primary has come`;
  const where = site.mount?.mountpoint ?? later;
  process.stdout.write(`${site.config.store.path}: ${site.registry.role}, ${where}\n`);
}

async function umount(path: string, flags: { lazy?: true }): Promise<void> {
  const mountPoint = mountPointOf(path);
  const store = storeOf(path);
  if (mountPoint === undefined) {
    throw new SmfsError("NOT_FOUND", `no smfs file system is mounted at ${path}`);
  }
  const socket = controlSocketOf(store);
  const how = flags.lazy ? "detach" : "now";
  try {
    await (process.geteuid?.() === 0 ? unmount : fuserunmount)(mountPoint, how);
  } catch (error) {
    const busy = (error as { code?: unknown }).code === "EBUSY";
    if (!busy) throw error;
    const hint = `${mountPoint} is in use; close what uses it (fuser -vm ${mountPoint}), or --lazy`;
    throw new SmfsError("BUSY", hint, error);
  }
  if (socket !== null) await siteEnded(socket);
}

/** null for a state that is mounted by itself: its source is no store's path. */
function controlSocketOf(store: string): string | null {
  try {
    return StoreRegistry.open(store).controlSocket;
  } catch (error) {
    if (error instanceof SmfsError && error.code === "NOT_FOUND" && store.includes("@"))
      return null;
    throw error;
  }
}

/** The control socket answers as long as the site lives. */
async function siteEnded(socket: string): Promise<void> {
  const deadline = Date.now() + UMOUNT_SECONDS * 1000;
  while (Date.now() < deadline) {
    try {
      await askControl(socket, "GET /status", 5000);
    } catch {
      return;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
  throw new SmfsError("TIMED_OUT", `the site still runs after ${UMOUNT_SECONDS} s`);
}
