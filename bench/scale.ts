/**
 * What an operation costs, how long a mount takes and how much memory is resident while a file
 * system grows tenfold again and again. Writes a chart of each shape.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeChart } from "./chart.ts";
import { SmfsError } from "../lib/errors.ts";
import { type Measured, type Shape, SHAPES, type WorkOrder } from "./scale-worker.ts";

export interface ScaleOptions {
  readonly shape: Shape;
  /** Files at each step, ascending. */
  readonly sizes: readonly number[];
  /** Where the store goes; a temporary directory without it. */
  readonly directory?: string;
  /** SVG files to write: `<charts>-<shape>-cost.svg` and `…-memory.svg`. */
  readonly charts?: string;
}

interface Step {
  readonly files: number;
  /** The process that made the file system grow to this size, and died. */
  readonly grown: Measured;
  /** The next one, which found a log to replay, and closed the store. */
  readonly afterDeath: Measured;
  readonly afterClose: Measured;
}

export function run({ shape, sizes, directory, charts }: ScaleOptions): Record<string, unknown> {
  const place = mkdtempSync(join(directory ?? tmpdir(), "smfs-scale-"));
  try {
    const steps: Step[] = [];
    let from = 0;
    for (const files of sizes) {
      steps.push(measure(place, shape, from, files));
      from = files;
    }
    if (charts !== undefined) draw(charts, shape, steps);
    return { shape, ...Object.fromEntries(steps.map(describe)) };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** Throws `SmfsError` USAGE. */
export function shapeOf(text: string): Shape {
  const shape = SHAPES.find((one) => one === text);
  if (shape !== undefined) return shape;
  throw new SmfsError("USAGE", `${text} is not a shape: ${SHAPES.join(", ")}`);
}

function measure(store: string, shape: Shape, from: number, files: number): Step {
  const grown = inProcess({ store, shape, from, to: files, end: "die" });
  const afterDeath = inProcess({ store, shape, from: files, to: files, end: "close" });
  const afterClose = inProcess({ store, shape, from: files, to: files, end: "close" });
  return { files, grown, afterDeath, afterClose };
}

function inProcess(order: WorkOrder): Measured {
  const main = process.argv[1] ?? "";
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...process.execArgv, main, "scale-worker", JSON.stringify(order)],
    { encoding: "utf8", env: { ...process.env, UV_THREADPOOL_SIZE: "12" } },
  );
  if (status !== 0) throw new Error(`scale-worker ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Measured;
}

function describe({ files, grown, afterDeath, afterClose }: Step): [string, unknown] {
  return [
    `${files} files`,
    {
      microsPerOperation: grown.costs,
      microsPerOperationAfterMount: afterClose.costs,
      mountMillisAfterCrash: Math.round(afterDeath.openMillis),
      replayedRecords: afterDeath.replayedRecords,
      mountMillisAfterClose: Math.round(afterClose.openMillis),
      longestStepMillis: Math.round(grown.longestStepMillis),
      residentMiB: Math.round(grown.residentBytes / 2 ** 20),
      residentMiBAfterMount: Math.round(afterClose.residentBytes / 2 ** 20),
    },
  ];
}

function draw(charts: string, shape: Shape, steps: readonly Step[]): void {
  const x = { name: "files", scale: "log" } as const;
  const operations = Object.keys(steps[0]?.afterClose.costs ?? {});
  writeChart(`${charts}-${shape}-cost.svg`, {
    title: `Processor time of one operation (${shape})`,
    x,
    y: { name: "microseconds", scale: "log" },
    series: operations.map((name) => ({
      name,
      points: steps.map(({ files, grown }) => [files, grown.costs[name]?.processor ?? 0] as const),
    })),
  });
  writeChart(`${charts}-${shape}-memory.svg`, {
    title: `Peak resident memory (${shape})`,
    x,
    y: { name: "MiB", scale: "linear" },
    series: [
      { name: "growing", points: memory(steps, ({ grown }) => grown) },
      { name: "after a mount", points: memory(steps, ({ afterClose }) => afterClose) },
    ],
  });
}

function memory(steps: readonly Step[], of: (step: Step) => Measured) {
  return steps.map((step) => [step.files, of(step).residentBytes / 2 ** 20] as const);
}
