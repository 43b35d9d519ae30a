/**
 * The servers that benches measure, each in processes of its own: started in a place of their own,
 * mounted, and stopped again with nothing left behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SmfsError } from "../lib/errors.ts";
import { unmount } from "../sys/mount.ts";
import { mountAt } from "../sys/mountinfo.ts";

export interface Target {
  readonly name: string;
  /** Where it is mounted. */
  readonly directory: string;
  /** The processes that do its work: their CPU time is its cost. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** How long a server may take to mount. */
const START_MILLIS = 20_000;
const POLL_MILLIS = 20;

/** A module of this build or, run from source, of this source tree. */
export function script(path: string): string {
  const extension = extname(fileURLToPath(import.meta.url));
  return fileURLToPath(new URL(path + extension, import.meta.url));
}

/** The server that stores nothing (`nullfs.ts`). */
export async function startNull(place: string): Promise<Target> {
  const directory = makeDirectory(place, "null");
  return startOwn("null", directory, [script("./main"), "fuse-null", directory]);
}

/** A new store in `place`, mounted there. */
export async function startSmfs(place: string): Promise<Target> {
  const store = join(place, "store");
  const directory = makeDirectory(place, "smfs");
  const made = node([script("../cli/main"), "mkfs", store]);
  const [code] = (await once(made, "exit")) as [number | null];
  if (code !== 0) throw new SmfsError("IO", `mkfs of a store in ${place} failed`);
  return startOwn("smfs", directory, [script("../cli/main"), "mount", store, directory]);
}

/** libfuse's example server of that name, over a directory in `place`. */
export async function startPassthrough(place: string, program: string): Promise<Target> {
  const source = makeDirectory(place, "passthrough-source");
  const directory = makeDirectory(place, "passthrough");
  const server = spawn(program, ["--foreground", source, directory], { stdio: "ignore" });
  await mounted(directory, server);
  return {
    name: "passthrough_hp",
    directory,
    pids: [server.pid ?? 0],
    async stop() {
      const ended = once(server, "exit");
      await unmount(directory, "now");
      await ended;
    },
  };
}

export function makeDirectory(place: string, name: string): string {
  const directory = join(place, name);
  fs.mkdirSync(directory);
  return directory;
}

/** Waits until something is mounted at `directory`; `server` must not end meanwhile. */
async function mounted(directory: string, server: ChildProcess): Promise<void> {
  let failure: unknown;
  server.once("error", (error) => (failure = error));
  const deadline = Date.now() + START_MILLIS;
  while (mountAt(directory) === undefined) {
    if (failure !== undefined || server.exitCode !== null || Date.now() > deadline) {
      const what = `${server.spawnfile} does not mount ${directory}`;
      throw new SmfsError("IO", what, failure);
    }
    await setTimeout(POLL_MILLIS);
  }
}

function node(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, UV_THREADPOOL_SIZE: "12" },
  });
}

/** The server's first line of output says that it serves. */
async function startOwn(name: string, directory: string, args: readonly string[]): Promise<Target> {
  const server = node(args);
  const exited = once(server, "exit");
  const output = server.stdout;
  if (output === null) throw new SmfsError("IO", `the ${name} server has no output`);
  const said = once(createInterface({ input: output }), "line");
  const first = await Promise.race([said, exited.then(() => undefined)]);
  if (first === undefined) throw new SmfsError("IO", `the ${name} server did not start`);
  const stop = async (): Promise<void> => {
    server.kill("SIGTERM");
    await exited;
  };
  return { name, directory, pids: [server.pid ?? 0], stop };
}
