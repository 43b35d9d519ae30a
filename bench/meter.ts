/** What a piece of work took: time on the clock, and processor time of the server that did it. */
import { readFileSync } from "node:fs";
import type { Target } from "./servers.ts";

export interface Sample {
  /** Operations a second. */
  readonly rate: number;
  /** Processor time of the server per operation, microseconds. */
  readonly cpuMicros: number;
}

/** Of /proc/PID/stat: sysconf(_SC_CLK_TCK), 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
/** Index of `utime` behind the command's name, whose field may hold spaces (proc(5)). */
const UTIME_AT = 11;

/** User and system time of all threads, seconds; 0 for a process that has ended. */
export function cpuSecondsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[UTIME_AT]) + Number(fields[UTIME_AT + 1])) / TICKS_PER_SECOND;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return 0;
  }
}

/** What `work` found: how many operations it did, and how long they took when it knows better. */
export interface Work {
  readonly operations: number;
  readonly seconds?: number;
}

/** Collects the samples of one target. */
export class Meter {
  readonly samples = new Map<string, Sample>();
  private readonly target: Target;

  constructor(target: Target) {
    this.target = target;
  }

  async measure(name: string, work: () => Promise<Work>): Promise<void> {
    const cpuBefore = this.cpuSeconds();
    const began = performance.now();
    const done = await work();
    const seconds = done.seconds ?? (performance.now() - began) / 1000;
    const cpuSeconds = this.cpuSeconds() - cpuBefore;
    const rate = done.operations / seconds;
    this.samples.set(name, { rate, cpuMicros: (cpuSeconds * 1e6) / done.operations });
  }

  private cpuSeconds(): number {
    return this.target.pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  }
}

/** Of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [(sorted.length - 1) >>> 1, sorted.length >>> 1];
  return ((sorted[low] ?? Number.NaN) + (sorted[high] ?? Number.NaN)) / 2;
}
