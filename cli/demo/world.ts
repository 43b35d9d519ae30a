/**
 * Two sites and a WAN on one machine, each a process of its own: what both demonstrations stand on.
 * Everything lives in one temporary directory, and nothing is left behind when it closes.
 */
import { createSocket } from "node:dgram";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SmfsError } from "../../lib/errors.ts";
import { writeKeyFile } from "../../gateway/udp/keys.ts";
import { fuserunmount } from "../../sys/fusermount.ts";
import { mountAt } from "../../sys/mountinfo.ts";
import { unmount } from "../../sys/mount.ts";
import type { SiteStatus } from "../../web/status-types.ts";
import { askControl } from "../control.ts";
import { type Access, LibraryAccess, MountedAccess, type SitePaths } from "./access.ts";
import { Child, until } from "./processes.ts";
import { Wan, wanArguments, type WanOptions } from "./wan.ts";

export type Mode = "local" | "network" | "remote";

export interface WorldOptions extends WanOptions {
  readonly mode: Mode;
  readonly access: Access["kind"];
}

export class World {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), "smfs-demo-")));
  readonly primary: SitePaths = this.paths("primary");
  readonly mirror: SitePaths = this.paths("mirror");
  readonly access: Access;
  private readonly options: WorldOptions;
  private readonly children: Child[] = [];
  private starting: Promise<void> = Promise.resolve();
  private isClosing = false;
  private emulated: Wan | null = null;
  private primarySite: Child | null = null;
  private mirrorSite: Child | null = null;

  constructor(options: WorldOptions) {
    this.options = options;
    const { primary, mirror } = this;
    this.access =
      options.access === "fuse" ? new MountedAccess(primary, mirror) : new LibraryAccess();
  }

  /** Makes the stores, starts the WAN, the mirror and the primary, and waits until they stream. */
  start(): Promise<void> {
    this.starting = this.startAll();
    return this.starting;
  }

  private async startAll(): Promise<void> {
    const key = join(this.directory, "key");
    writeKeyFile(key);
    const [primaryEnd, mirrorEnd] = [await freePort(), await freePort()];
    this.emulated = this.startWan(primaryEnd, mirrorEnd);
    await this.format(this.mirror, ["--mirror"]);
    await this.format(this.primary, []);
    this.mirrorSite = this.startSite(this.mirror, [
      ...["--listen", `127.0.0.1:${mirrorEnd}`, "--key-file", key],
    ]);
    const { mode, rate } = this.options;
    this.primarySite = this.startSite(this.primary, [
      ...["--peer", `127.0.0.1:${primaryEnd}`, "--key-file", key, "--rate", rate],
      ...["--fsync", mode, "--data-sync", mode, "--osync", mode],
      ...(mode === "local" ? ["--config", this.withoutRepairs()] : []),
    ]);
    await until("waiting for the mirror to follow", this.children, async () => {
      const status = await this.status("primary");
      const streams = status?.mirror?.state === "streaming";
      return streams && this.access.isServed(status) ? true : undefined;
    });
    await this.served("mirror", "mirror");
  }

  /** Waits until the site can be used in its role. */
  private async served(site: "primary" | "mirror", role: SiteStatus["role"]): Promise<void> {
    await until(`waiting for the ${site}'s file system`, this.children, async () => {
      const status = await this.status(site);
      return status?.role === role && this.access.isServed(status) ? true : undefined;
    });
  }

  async status(site: "primary" | "mirror"): Promise<SiteStatus | undefined> {
    try {
      return await askControl<SiteStatus>(this.socket(site), "GET /status", 5000);
    } catch (error) {
      if (error instanceof SmfsError || (error as { code?: string }).code === "ECONNRESET") {
        return undefined;
      }
      throw error;
    }
  }

  async metrics(site: "primary" | "mirror"): Promise<string> {
    return (await askControl<{ text: string }>(this.socket(site), "GET /metrics")).text;
  }

  private socket(site: "primary" | "mirror"): string {
    return join(this[site].store, "control.sock");
  }

  /** The mirror becomes the primary, though nobody has said that the old one is gone. */
  async promoteMirror(): Promise<void> {
    await askControl(this.socket("mirror"), "POST /promote?force=1");
    await this.served("mirror", "primary");
  }

  get wan(): Wan {
    if (this.emulated === null) throw new SmfsError("USAGE", "the WAN was not started");
    return this.emulated;
  }

  /** The loss of the site: SIGKILL to every process of the primary, at one moment. */
  async killPrimary(): Promise<void> {
    const site = this.primarySite;
    if (site === null) throw new SmfsError("USAGE", "the primary was not started");
    const dying = [site, ...this.access.programs];
    for (const child of dying) child.kill("SIGKILL");
    await Promise.all(dying.map((child) => child.exited));
    await detach(this.primary.mountPoint);
    this.primarySite = null;
  }

  async stopMirror(): Promise<void> {
    await this.mirrorSite?.stop();
    this.mirrorSite = null;
  }

  /** Ends everything and leaves nothing behind, whatever went before. */
  async close(): Promise<void> {
    this.isClosing = true;
    await this.primarySite?.stop();
    await this.mirrorSite?.stop();
    const others = [...this.access.programs, ...this.children].filter((child) => !child.ended);
    await Promise.all(others.map((child) => child.stop(2000)));
    // Whoever waits for the start is told; here only its end matters.
    await this.starting.catch(() => {});
    for (const { mountPoint } of [this.primary, this.mirror]) await detach(mountPoint);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private paths(name: SitePaths["name"]): SitePaths {
    const mountPoint = join(this.directory, name);
    mkdirSync(mountPoint);
    return { name, store: join(this.directory, `${name}.store`), mountPoint };
  }

  /** What `local` is compared with: mirrors of today, whose packets go alone (SMFS §5.2, local-sync). */
  private withoutRepairs(): string {
    const path = join(this.directory, "primary.toml");
    writeFileSync(path, "[mirror]\ncode = { r = 8, interleave = [] }\n");
    return path;
  }

  private startSite(site: SitePaths, flags: readonly string[]): Child {
    return this.track(this.access.startSite(site, flags));
  }

  private async format(paths: SitePaths, args: readonly string[]): Promise<void> {
    const child = Child.smfs("mkfs", ["mkfs", paths.store, ...args]);
    await child.closed;
    if (child.process.exitCode !== 0) throw new SmfsError("IO", child.lastWords);
  }

  private startWan(primaryEnd: number, mirrorEnd: number): Wan {
    const args = wanArguments(this.options, primaryEnd, mirrorEnd);
    return new Wan(this.track(Child.smfs("the emulated WAN", args)));
  }

  private track(child: Child): Child {
    this.children.push(child);
    if (!this.isClosing) return child;
    child.kill("SIGKILL");
    throw new SmfsError("UNREACHABLE", "the demonstration is ending");
  }
}

/** Takes away what a dead process left mounted. */
export async function detach(mountPoint: string): Promise<void> {
  if (mountAt(mountPoint) === undefined) return;
  await (process.geteuid?.() === 0 ? unmount : fuserunmount)(mountPoint, "detach");
}

/** A UDP port of the loopback that nobody has now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    socket.once("error", reject);
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}
