/**
 * Many seeds, in as many threads as there are jobs. Which thread runs a seed makes no difference to
 * it; thread `i` of `n` takes every `n`th, so that those that share what was prepared for them meet.
 */
import { setImmediate } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Outcome, outcomeOf, type RunnerName } from "./runners.ts";

export interface Task {
  readonly runner: RunnerName;
  readonly first: number;
  readonly runs: number;
  readonly step: number;
}

/** Rejects when a thread fails outside of its seeds. */
export async function runSeeds(
  { runner, first, runs }: Omit<Task, "step">,
  jobs: number,
  onOutcome: (outcome: Outcome) => void,
): Promise<void> {
  if (jobs <= 1) return runTask({ runner, first, runs, step: 1 }, onOutcome);
  const tasks = Array.from({ length: Math.min(jobs, runs) }, (_, index): Task => {
    const share = Math.ceil((runs - index) / jobs);
    return { runner, first: first + index, runs: share, step: jobs };
  });
  await Promise.all(tasks.map((task) => inThread(task, onOutcome)));
}

async function runTask(task: Task, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const { runner, first, runs, step } = task;
  for (let i = 0; i < runs; i++) {
    onOutcome(await outcomeOf(runner, first + i * step));
    // Simulated time leaves the event loop none.
    await setImmediate();
  }
}

function inThread(task: Task, onOutcome: (outcome: Outcome) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task });
    worker.on("message", onOutcome);
    worker.on("error", reject);
    worker.on("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`a thread ended with ${code}`));
    });
  });
}

/** Threads begin here, too. */
if (!isMainThread && parentPort !== null && isTask(workerData)) {
  const port = parentPort;
  await runTask(workerData, (outcome) => port.postMessage(outcome));
}

function isTask(data: unknown): data is Task {
  return typeof data === "object" && data !== null && "runner" in data && "step" in data;
}
