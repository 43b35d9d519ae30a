/**
 * A store of its own for one suite: made, mounted and checked with the product's own command line.
 *
 * The server is a child process, so that it can be killed by its id. `close` leaves nothing behind,
 * whatever happened before.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, lastLines, succeed } from "./command.ts";
import { inCheckout } from "./paths.ts";

const SMFS = inCheckout("cli/smfs");
const OWN_CHECKS = inCheckout("dist/test/conformance/own-checks-server.js");

export interface StoreOptions {
  /** Of `smfs mkfs`. */
  readonly segmentSize?: string;
  /** What serves the mount; the product's command when nothing is said. */
  readonly server?: "product" | "own checks";
  /** Further flags of `smfs mount`. */
  readonly mountFlags?: readonly string[];
  /** Where the store and its mount point are made. */
  readonly scratch?: string;
}

/** Those that are not closed yet. */
const open = new Set<MountedStore>();

export async function closeAll(): Promise<void> {
  await Promise.all([...open].map((store) => store.close()));
}

export class MountedStore {
  readonly directory: string;
  readonly store: string;
  readonly point: string;
  private readonly options: StoreOptions;
  private server: ChildProcess | undefined;

  private constructor(options: StoreOptions) {
    this.options = options;
    this.directory = mkdtempSync(join(options.scratch ?? tmpdir(), "smfs-conformance-"));
    this.store = join(this.directory, "store");
    this.point = join(this.directory, "mount");
    mkdirSync(this.point);
    open.add(this);
  }

  /** Made and mounted. */
  static async make(options: StoreOptions = {}): Promise<MountedStore> {
    const made = new MountedStore(options);
    const { segmentSize } = options;
    const flags = segmentSize === undefined ? [] : ["--segment-size", segmentSize];
    try {
      await succeed(SMFS, ["mkfs", made.store, ...flags]);
      await made.mount();
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }

  at(...names: readonly string[]): string {
    return join(this.point, ...names);
  }

  /** A directory beside the mount, on the machine's own file system. */
  beside(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  async mount(): Promise<void> {
    const log = openSync(join(this.directory, "server.log"), "a");
    const [program = SMFS, ...args] = this.serverCommand();
    const server = spawn(program, args, {
      stdio: ["ignore", "pipe", log],
      // A Ctrl-C in the terminal ends the run, which then ends this.
      detached: true,
    });
    closeSync(log);
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("exit", (code) => reject(new Error(`smfs mount ended (${code}): ${this.log}`)));
      // Its first line says that it has mounted.
      server.stdout?.once("data", () => resolve());
    });
  }

  private serverCommand(): string[] {
    const { server, mountFlags = [] } = this.options;
    const where = [this.store, this.point];
    if (server === "own checks") return [process.execPath, OWN_CHECKS, ...where];
    return [SMFS, "mount", ...where, "--allow-other", ...mountFlags];
  }

  async unmount(): Promise<void> {
    const { server } = this;
    await succeed(SMFS, ["umount", this.point]);
    await ended(server);
    if (server?.exitCode !== 0)
      throw new Error(`smfs mount ended (${server?.exitCode}): ${this.log}`);
  }

  /** The server dies in the middle of what it does. Its mount stays, and answers ENOTCONN. */
  async killServer(): Promise<void> {
    this.server?.kill("SIGKILL");
    await ended(this.server);
  }

  /** Takes a dead mount away. */
  async detach(): Promise<void> {
    await succeed("umount", ["-l", this.point]);
  }

  async remount(): Promise<void> {
    await this.unmount();
    await this.mount();
  }

  /** Throws with what `smfs fsck --deep` found. */
  async check(): Promise<void> {
    await succeed(SMFS, ["fsck", "--deep", this.store]);
  }

  async smfs(...args: readonly string[]): Promise<string> {
    return succeed(SMFS, args);
  }

  /** The last lines of what the server had to say. */
  get log(): string {
    return lastLines(readFileSync(join(this.directory, "server.log"), "utf8"), 3);
  }

  async close(): Promise<void> {
    await this.killServer();
    // Nothing is mounted there after an orderly end.
    await run("umount", ["-l", this.point]);
    rmSync(this.directory, { recursive: true, force: true });
    open.delete(this);
  }
}

async function ended(server: ChildProcess | undefined): Promise<void> {
  if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
  await new Promise((resolve) => server.once("exit", resolve));
}
