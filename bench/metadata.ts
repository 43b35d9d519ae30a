/**
 * Metadata by several processes at once, each in a directory of its own: create with 4 KiB, stat,
 * unlink. The processes are started before the clock is, and each phase begins when all have ended
 * the one before.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { join } from "node:path";
import { SmfsError } from "../lib/errors.ts";
import type { Meter } from "./meter.ts";
import { script } from "./servers.ts";

const PHASES = ["create", "stat", "unlink"] as const;
type Phase = (typeof PHASES)[number];

interface Task {
  readonly phase: Phase;
  readonly directory: string;
  readonly files: number;
}

const CONTENT = new Uint8Array(4096).fill(0x78);

/** `files` in all. Measures `<phase>` for each phase, with the number of processes behind it. */
export async function measureMetadata(
  meter: Meter,
  directory: string,
  files: number,
  processes: number,
): Promise<void> {
  const workers = Array.from({ length: processes }, () => fork(script("./main"), ["meta-worker"]));
  try {
    await Promise.all(workers.map((worker) => nextMessage(worker)));
    const each = Math.floor(files / processes);
    const places = workers.map((_, i) => join(directory, `process-${i}`));
    for (const place of places) fs.mkdirSync(place, { recursive: true });
    for (const phase of PHASES) {
      await meter.measure(`${phase}, ${processes} processes`, async () => {
        await Promise.all(
          workers.map((worker, i) =>
            ask(worker, { phase, directory: places[i] ?? directory, files: each }),
          ),
        );
        return { operations: each * processes };
      });
    }
  } finally {
    for (const worker of workers) worker.disconnect();
    fs.rmSync(directory, { recursive: true });
  }
}

async function ask(worker: ChildProcess, task: Task): Promise<void> {
  const answered = nextMessage(worker);
  worker.send(task);
  const answer = await answered;
  if (answer !== "done") throw new SmfsError("IO", `${task.phase}: ${String(answer)}`);
}

async function nextMessage(worker: ChildProcess): Promise<unknown> {
  const ended = once(worker, "exit").then(() => ["the process ended"]);
  const [message] = (await Promise.race([once(worker, "message"), ended])) as [unknown];
  return message;
}

/** The other side: does what it is sent until the parent lets go. */
export function serveMetadata(): void {
  const say = (message: string): void => void process.send?.(message);
  process.on("message", (task: Task) => {
    try {
      const act = ACTIONS[task.phase];
      for (let i = 0; i < task.files; i++) act(`${task.directory}/f${i}`);
      say("done");
    } catch (error) {
      say(String(error));
    }
  });
  process.once("disconnect", () => process.exit(0));
  say("ready");
}

const ACTIONS: Record<Phase, (path: string) => void> = {
  create(path) {
    const fd = fs.openSync(path, "wx");
    fs.writeSync(fd, CONTENT);
    fs.closeSync(fd);
  },
  stat: (path) => void fs.statSync(path),
  unlink: (path) => fs.unlinkSync(path),
};
