/**
 * The built program as its users run it: `smfs …` in processes of its own, on real mounts and sockets.
 *
 * A `Scene` is one temporary directory with everything that a test starts in it. `close` ends the
 * processes, detaches the mounts and removes the directory, whatever happened before.
 */
import { spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { askControl } from "../../cli/control.ts";
import { whyNoMount } from "../../cli/demo/access.ts";
import { Child, until } from "../../cli/demo/processes.ts";
import { Wan, wanArguments, type WanOptions } from "../../cli/demo/wan.ts";
import { detach, freePort } from "../../cli/demo/world.ts";
import { writeKeyFile } from "../../gateway/udp/keys.ts";
import { SmfsError } from "../../lib/errors.ts";
import { mounts } from "../../sys/mountinfo.ts";
import type { SiteStatus } from "../../web/status-types.ts";

/** The program. */
export const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const COMMAND_MILLIS = 30_000;
/** A small log, so that a test fills several segments quickly. */
const SEGMENT = "2MiB";

const NOBODY = 65534;
/** Runs what follows as a user without rights (setpriv is in util-linux). */
export const AS_NOBODY = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];

/** A folder that belongs to that user. */
export function giveToNobody(path: string): void {
  chownSync(path, NOBODY, NOBODY);
}

/** Why nothing can be run as that user; undefined when it can. */
export function whyNoNobody(): string | undefined {
  if (process.geteuid?.() !== 0) return "needs root to become another user";
  const [setpriv = "", ...flags] = AS_NOBODY;
  const { status } = spawnSync(setpriv, [...flags, "test", "-r", MAIN], { stdio: "ignore" });
  return status === 0 ? undefined : "needs setpriv, and a checkout that every user can read";
}

/** Why that user cannot mount; undefined when it can. */
export function whyNoUserMounts(): string | undefined {
  const found = (process.env["PATH"] ?? "").split(":").some((p) => existsSync(`${p}/fusermount3`));
  if (!found) return "needs fusermount3";
  const isOpen = existsSync("/dev/fuse") && (statSync("/dev/fuse").mode & 0o006) === 0o006;
  return isOpen ? whyNoNobody() : "needs a /dev/fuse that every user may open";
}

/** Why tests on real mounts cannot run here; undefined when they can. */
export async function whyNoMounts(): Promise<string | undefined> {
  return existsSync(MAIN) ? whyNoMount() : "not built: run npm run build";
}

/** UDP ports of the loopback, and what is between them. */
export interface TestPath {
  readonly wan: Wan;
  readonly near: number;
  readonly far: number;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

export class Scene {
  readonly directory = mkdtempSync(join(tmpdir(), "smfs-e2e-"));
  private readonly children: Child[] = [];

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A new empty directory. */
  folder(name: string): string {
    const path = this.path(name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  key(name = "key"): string {
    const path = this.path(name);
    if (!existsSync(path)) writeKeyFile(path);
    return path;
  }

  start(
    name: string,
    args: readonly string[],
    script = MAIN,
    launcher: readonly string[] = [],
  ): Child {
    const child = new Child(name, script, args, launcher);
    this.children.push(child);
    return child;
  }

  /** Runs a command to its end. One that does not end is killed, and shows it by its signal. */
  async smfs(...args: readonly string[]): Promise<Finished> {
    const child = this.start(`smfs ${args[0]}`, args);
    const lines: string[] = [];
    child.eachLine((line) => lines.push(line));
    const timer = setTimeout(() => child.kill("SIGKILL"), COMMAND_MILLIS);
    await child.closed;
    clearTimeout(timer);
    const { exitCode: code, signalCode: signal } = child.process;
    return { code, signal, output: lines.join("\n"), errors: child.lastWords };
  }

  /** As `smfs`; throws when it fails. */
  async succeed(...args: readonly string[]): Promise<string> {
    const { code, output, errors } = await this.smfs(...args);
    if (code !== 0) throw new Error(`smfs ${args.join(" ")} exited with ${code}: ${errors}`);
    return output;
  }

  async mkfs(name: string, ...args: readonly string[]): Promise<string> {
    const store = this.path(name);
    await this.succeed("mkfs", store, "--segment-size", SEGMENT, ...args);
    return store;
  }

  /** Mounts a store beside itself and waits until it can be used. */
  async mount(store: string, ...args: readonly string[]): Promise<TestSite> {
    const site = this.launch(store, ...args);
    await site.when("its mount", (status) => status.mount !== null);
    return site;
  }

  /** As `mount`, without waiting. */
  launch(store: string, ...args: readonly string[]): TestSite {
    const point = this.folder(`${store.slice(this.directory.length + 1)}.mount`);
    const child = this.start(`the site on ${store}`, ["mount", store, point, ...args]);
    return new TestSite(child, store, point);
  }

  /** An emulated path: the primary calls `near`, the mirror listens at `far`. */
  async wan(options: Partial<WanOptions> = {}): Promise<TestPath> {
    const [near, far] = [await freePort(), await freePort()];
    const defaults = { delay: "5ms", loss: "0", burst: undefined, rate: "1gbit", seed: 1 };
    const args = wanArguments({ ...defaults, ...options }, near, far);
    return { wan: new Wan(this.start("the WAN", args)), near, far };
  }

  async close(): Promise<void> {
    for (const child of this.children) child.kill("SIGKILL");
    await Promise.all(this.children.map((child) => child.exited));
    await detachAll(this.directory);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Mounts below a directory, the newest first. */
export function mountsBelow(directory: string): string[] {
  return mounts()
    .map(({ mountpoint }) => mountpoint)
    .filter((point) => point === directory || point.startsWith(`${directory}/`))
    .toReversed();
}

async function detachAll(directory: string): Promise<void> {
  for (const point of mountsBelow(resolve(directory))) await detach(point);
}

/** A running `smfs mount`. */
export class TestSite {
  readonly child: Child;
  readonly store: string;
  readonly point: string;

  constructor(child: Child, store: string, point: string) {
    this.child = child;
    this.store = store;
    this.point = point;
  }

  at(...names: readonly string[]): string {
    return join(this.point, ...names);
  }

  /** undefined while nobody answers. */
  async status(): Promise<SiteStatus | undefined> {
    try {
      return await askControl<SiteStatus>(join(this.store, "control.sock"), "GET /status", 5000);
    } catch (error) {
      if (error instanceof SmfsError || (error as { code?: string }).code === "ECONNRESET") {
        return undefined;
      }
      throw error;
    }
  }

  /** Waits until the site says of itself what is wanted. */
  when(
    what: string,
    isTrue: (status: SiteStatus) => boolean,
    timeoutMillis = 15_000,
  ): Promise<SiteStatus> {
    let last: SiteStatus | undefined;
    const ask = async (): Promise<SiteStatus | undefined> => {
      last = await this.status();
      return last !== undefined && isTrue(last) ? last : undefined;
    };
    return until(`waiting for ${what}`, [this.child], ask, timeoutMillis).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\nlast status: ${JSON.stringify(last)}`, { cause: error });
      },
    );
  }

  /** The loss of the process: nothing is written, nothing is said. */
  async crash(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
    await detachAll(this.point);
  }

  /** Unmounts in order; gives the exit code of the site. */
  async umount(scene: Scene): Promise<number | null> {
    await scene.succeed("umount", this.point);
    await this.child.exited;
    return this.child.process.exitCode;
  }
}

/** Returns when the file is as safe as the mount's fsync says. */
export async function writeSynced(path: string, content: string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}
