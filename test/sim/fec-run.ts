/** One cell of the redundancy model's grid, long enough to measure small risks. */
import { describeCell, type Finding, GRID, judgeCell } from "./fec-grid.ts";

const PACKETS = 200_000;

/** Throws when more was lost than the model says; counts the classes it is too careful about. */
export function runFecCell(seed: number) {
  const cell = GRID[seed % GRID.length];
  if (cell === undefined) throw new Error("the grid is empty");
  const { classes, findings } = judgeCell(cell, seed, PACKETS);
  const tooFew = findings.filter(({ isTooCareful }) => !isTooCareful);
  if (tooFew.length > 0) throw new Error(`${describeCell(cell)}: ${tooFew.map(show).join("; ")}`);
  const careful = findings.length;
  if (careful > 0)
    process.stdout.write(`too careful: ${describeCell(cell)}: ${findings.map(show).join("; ")}\n`);
  return { cells: 1, classes: classes.size, tooCareful: careful };
}

function show({ name, death }: Finding): string {
  const { packets, lost, predicted } = death;
  return `class ${name}: ${lost} of ${packets} lost, ${predicted.toPrecision(3)} predicted`;
}
