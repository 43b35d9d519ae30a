/**
 * The grid on which the redundancy model is held against simulation: codes, as they come and as
 * adaptation makes them, times links. One cell is one run of `fec-deaths.ts`.
 */
import type { CodeParameters, LossEstimate } from "../../gateway/core/code/code.ts";
import { type Death, simulateDeaths } from "./fec-deaths.ts";

export interface Cell {
  readonly code: CodeParameters;
  readonly link: LossEstimate;
  /** Packets in a row before the sender falls idle; Infinity for never. */
  readonly flushEvery: number;
}

const layered = (r: number, ...interleave: number[]): CodeParameters => ({
  kind: "layered",
  r,
  interleave,
});
const CODES: readonly CodeParameters[] = [
  layered(8, 1, 10, 100),
  layered(20, 1),
  layered(4, 1, 8),
  layered(4, 1, 10, 100),
  layered(10, 1, 30),
  layered(8, 1, 8, 64),
  layered(6, 1, 20, 200),
  { kind: "sliding-window", r: 8, c: 3, window: 64, density: 16 },
  { kind: "sliding-window", r: 8, c: 3, window: 400, density: 2 },
  { kind: "sliding-window", r: 4, c: 1, window: 128, density: 16 },
  { kind: "block", k: 8, m: 3, interleave: 1 },
  { kind: "block", k: 8, m: 3, interleave: 34 },
  { kind: "block", k: 64, m: 24, interleave: 1 },
];
const LINKS: readonly LossEstimate[] = [
  ...[0.001, 0.005, 0.01, 0.02, 0.05, 0.1].map((loss) => ({ loss, burst: 1 })),
  ...[2, 5, 10, 20, 50, 100].map((burst) => ({ loss: 0.01, burst })),
  { loss: 0.05, burst: 4 },
];

export const GRID: readonly Cell[] = CODES.flatMap((code) =>
  LINKS.flatMap((link) =>
    [Infinity, 333, 4, 1].map((flushEvery): Cell => ({ code, link, flushEvery })),
  ),
);

/** Each loss is seen by up to three deaths and comes with its burst: so many count as one. */
const DEATHS_PER_LOSS = 3;

/** A class of packets that lost more than the model and chance allow, or far less than it says. */
export interface Finding {
  readonly name: string;
  readonly death: Death;
  readonly isTooCareful: boolean;
}

/** Factor within which the model is wanted, where what it says can be measured. */
const WITHIN = 10;

export function judgeCell({ code, link, flushEvery }: Cell, seed: number, packets: number) {
  const classes = simulateDeaths(code, link, { seed, packets, flushEvery });
  const cluster = DEATHS_PER_LOSS * (2 * link.burst - 1);
  const findings: Finding[] = [];
  for (const [name, death] of classes) {
    const { lost, predicted } = death;
    const noise = 4 * Math.sqrt(predicted * cluster) + 4 * cluster;
    const isTooCareful = predicted > WITHIN * (lost + noise);
    if (lost > predicted + noise || isTooCareful) findings.push({ name, death, isTooCareful });
  }
  return { classes, findings };
}

export function describeCell({ code, link, flushEvery }: Cell): string {
  const { kind, ...parameters } = code;
  const flushes = flushEvery === Infinity ? "never flushed" : `flushed every ${flushEvery}`;
  return `${kind} ${JSON.stringify(parameters)}, ${link.loss} lost in bursts of ${link.burst}, ${flushes}`;
}
