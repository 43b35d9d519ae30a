/**
 * A mount for tests of one file system: `fuse-server.ts` in a process of its own, asked a line at a
 * time, and scripts that run on the mount. Python makes real system calls and says what they gave.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SERVER = fileURLToPath(new URL("fuse-server.ts", import.meta.url));
/** Longest a script may take, milliseconds. */
const SCRIPT_MILLIS = 60_000;
const run = promisify(execFile);

/** Why nothing can be mounted here; undefined when it can. */
export function whyNoFuse(): string | undefined {
  if (process.platform !== "linux") return "FUSE is Linux's";
  if (process.geteuid?.() !== 0) return "needs root to mount";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
    execFileSync("python3", ["-c", "import os; os.pwritev"], { stdio: "ignore" });
    return undefined;
  } catch (error) {
    return `needs /dev/fuse and python3 (${String(error)})`;
  }
}

/** Why this kernel's FUSE lacks something that came with a release; undefined when it has it. */
export function whyKernelLacks(what: string, since: readonly [number, number]): string | undefined {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const isThere = major > since[0] || (major === since[0] && minor >= since[1]);
  return isThere ? undefined : `${what} needs Linux ${since.join(".")}`;
}

/** Whom a process runs as; nobody said: as this one. */
export interface User {
  readonly uid?: number;
  readonly gid?: number;
}

/** The server process, asked a line at a time. */
export class Server {
  readonly process: ChildProcess;
  readonly mountpoint: string;
  private readonly lines: AsyncIterator<string>;

  private constructor(store: string, mountpoint: string, user: User) {
    this.mountpoint = mountpoint;
    this.process = spawn(process.execPath, ["--import", "tsx", SERVER, store, mountpoint], {
      stdio: ["pipe", "pipe", "inherit"],
      ...user,
    });
    const output = this.process.stdout;
    if (output === null) throw new Error("the server has no output");
    this.lines = createInterface({ input: output })[Symbol.asyncIterator]();
  }

  static async start(store: string, mountpoint: string, user: User = {}): Promise<Server> {
    const server = new Server(store, mountpoint, user);
    const { value } = await server.lines.next();
    if (value !== "mounted") throw new Error(`the server said: ${value}`);
    return server;
  }

  async ask<T>(command: string): Promise<T> {
    this.process.stdin?.write(`${command}\n`);
    const { value } = await this.lines.next();
    return JSON.parse(String(value)) as T;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.stdin?.end();
    await once(this.process, "exit");
  }

  /** The loss of the process: nothing is written, nothing is said. */
  async crash(): Promise<void> {
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
    await run("umount", ["-l", this.mountpoint]);
  }
}

/** A temporary store, mounted. */
export class TestMount {
  readonly point: string;
  server: Server;
  private readonly directory: string;

  private constructor(directory: string, point: string, server: Server) {
    this.directory = directory;
    this.point = point;
    this.server = server;
  }

  static async open(): Promise<TestMount> {
    const directory = mkdtempSync(join(tmpdir(), "smfs-fuse-"));
    const point = join(directory, "mnt");
    mkdirSync(point);
    return new TestMount(directory, point, await Server.start(join(directory, "store"), point));
  }

  /** In order, or as after the death of the process. */
  async remount(how: "stop" | "crash"): Promise<void> {
    await this.server[how]();
    this.server = await Server.start(join(this.directory, "store"), this.point);
  }

  async close(): Promise<void> {
    await this.server.stop();
    rmSync(this.directory, { recursive: true });
  }

  /** Lines that the script prints. It runs in the mount; without trailing empty lines. */
  async python(script: string, user: User = {}): Promise<string[]> {
    const { stdout } = await run("python3", ["-c", PRELUDE + script], this.options(user));
    return stdout.trimEnd().split("\n");
  }

  async shell(script: string, user: User = {}): Promise<string> {
    return (await run("sh", ["-euc", script], this.options(user))).stdout;
  }

  private options(user: User) {
    return { cwd: this.point, encoding: "utf8", timeout: SCRIPT_MILLIS, ...user } as const;
  }
}

/** `call` gives what a function returned, or the name of the errno it failed with. */
const PRELUDE = `
import ctypes, errno, fcntl, mmap, os, signal, stat, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments, **named):
    try:
        result = function(*arguments, **named)
        return "ok" if result is None else result
    except OSError as error:
        return errno.errorcode[error.errno]
def syscall(function, *arguments):
    result = function(*arguments)
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def put(path, data=b""):
    with open(path, "wb") as file: file.write(data)
def get(path):
    with open(path, "rb") as file: return file.read()
def child(act):
    pid = os.fork()
    if pid == 0:
        try: act()
        finally: os._exit(0)
    return pid
C = os.O_CREAT | os.O_RDWR
`;
