/**
 * Programs that nobody here wrote: run to their end with a time limit. What they print is kept, up
 * to a bound; a program that is not installed is an error that says which package has it.
 */
import { spawn, spawnSync } from "node:child_process";

/** Output that is kept, bytes: the end of it. */
const KEPT_OUTPUT_BYTES = 8 * 2 ** 20;
const DEFAULT_SECONDS = 600;
/** Of a failed command's output, in its error: from its beginning, where the reason may stand. */
const FIRST_LINES = 5;
const SHOWN_LINES = 15;

export interface Command {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly seconds?: number;
  /** Written to its standard input, which is then closed. */
  readonly input?: string;
}

export interface Ran {
  /** null: it was killed, by the time limit or by somebody else. */
  readonly code: number | null;
  /** Standard output and error, as they came. */
  readonly output: string;
}

/** Runs a program; the time limit kills it and all that it started. */
export function run(program: string, args: readonly string[], how: Command = {}): Promise<Ran> {
  const child = spawn(program, args, {
    cwd: how.cwd,
    env: { ...process.env, LC_ALL: "C", ...how.environment },
    // A process group of its own, so that the limit reaches its children.
    detached: true,
  });
  let output = "";
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-KEPT_OUTPUT_BYTES);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.stdin.on("error", () => child.stdin.destroy());
  child.stdin.end(how.input ?? "");
  const seconds = how.seconds ?? DEFAULT_SECONDS;
  const timer = setTimeout(() => {
    output += `\n(killed after ${seconds} s)`;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, seconds * 1000);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  }).finally(() => clearTimeout(timer)) as Promise<Ran>;
}

/** As `run`; throws with the last lines of the output when the exit code is not 0. */
export async function succeed(
  program: string,
  args: readonly string[],
  how: Command = {},
): Promise<string> {
  const { code, output } = await run(program, args, how);
  if (code === 0) return output;
  const command = `${program} ${args.join(" ").slice(0, 200)}`;
  throw new Error(`${command} exited with ${code}\n${firstAndLast(output)}`);
}

function firstAndLast(text: string): string {
  const lines = text.trimEnd().split("\n");
  if (lines.length <= FIRST_LINES + SHOWN_LINES) return lines.join("\n");
  return [...lines.slice(0, FIRST_LINES), "…", ...lines.slice(-SHOWN_LINES)].join("\n");
}

/** A script of sh, stopped by its first failure. */
export function shell(script: string, how: Command = {}): Promise<string> {
  return succeed("sh", ["-euc", script], how);
}

export function lastLines(text: string, count = SHOWN_LINES): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

/** Something a suite needs from outside is not there. */
export class Missing extends Error {}

/** Throws `Missing` with the package, as Debian names it, when a program is not installed. */
export function requireProgram(program: string, debianPackage = program): void {
  const { status } = spawnSync("sh", ["-c", `command -v "$0"`, program], { stdio: "ignore" });
  if (status !== 0) throw new Missing(`needs ${program} (Debian package ${debianPackage})`);
}
