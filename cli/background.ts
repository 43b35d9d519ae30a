/**
 * `smfs mount --background`: the same command as a process of its own, which this one leaves when it
 * has mounted. What it has to say goes to STORE/smfs.log, or to the configuration's log file.
 */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";

const FLAGS = new Set(["-b", "--background"]);
/** Of what the site said before it failed. */
const SHOWN_BYTES = 4096;

/** Resolves with the exit code: 0 when the site runs. */
export async function runInBackground(storePath: string): Promise<number> {
  const args = process.argv.slice(1).filter((argument) => !FLAGS.has(argument));
  const log = openSync(join(storePath, "smfs.log"), "a+", 0o600);
  const from = fstatSync(log).size;
  const site = spawn(process.execPath, args, { detached: true, stdio: ["ignore", "pipe", log] });
  const code = await new Promise<number>((resolve, reject) => {
    site.once("error", reject);
    site.once("exit", (status) => resolve(status ?? 1));
    // The first line says that the site is there.
    site.stdout?.once("data", (line: Buffer) => {
      process.stdout.write(line);
      resolve(0);
    });
  });
  if (code !== 0) process.stderr.write(tail(log, from));
  closeSync(log);
  site.stdout?.destroy();
  site.unref();
  return code;
}

/** What was written to the log since `from`, as much as is shown. */
function tail(log: number, from: number): string {
  const start = Math.max(from, fstatSync(log).size - SHOWN_BYTES);
  const bytes = Buffer.alloc(SHOWN_BYTES);
  return bytes.subarray(0, readSync(log, bytes, 0, SHOWN_BYTES, start)).toString();
}
