/** The gateway's benchmark as pictures: goodput over loss, and message latency over loss. */
import { type Series, writeChart } from "../chart.ts";
import type { BulkRow, GatewayResult, LatencyRow } from "./run.ts";

/** Writes PREFIX-goodput.svg and PREFIX-latency.svg. */
export function drawGateway(prefix: string, { bulk, latency, path }: GatewayResult): void {
  const where = `${path.rate}, ${path.delay} one way`;
  const x = { name: "packets lost, %, independently", scale: "linear" } as const;
  const alone = bulk.filter(({ flows }) => flows === Math.min(...bulk.map((row) => row.flows)));
  writeChart(`${prefix}-goodput.svg`, {
    title: `Goodput of TCP, ${where}`,
    x,
    y: { name: "Mbit/s", scale: "linear" },
    series: seriesOf(
      alone,
      (row) => `${row.arrangement}, ${row.congestion}`,
      (row) => row.megabitsPerSecond,
    ),
  });
  writeChart(`${prefix}-latency.svg`, {
    title: `99 of 100 messages arrive within, ${where}`,
    x,
    y: { name: "ms", scale: "log" },
    series: seriesOf(
      latency,
      (row) => row.arrangement,
      (row) => row.p99,
    ),
  });
}

function seriesOf<T extends BulkRow | LatencyRow>(
  rows: readonly T[],
  nameOf: (row: T) => string,
  valueOf: (row: T) => number,
): Series[] {
  const byName = new Map<string, [number, number][]>();
  for (const row of rows.filter(({ burst }) => burst === 1)) {
    const name = nameOf(row);
    const points = byName.get(name) ?? [];
    byName.set(name, points);
    points.push([Number.parseFloat(row.loss), valueOf(row)]);
  }
  return [...byName].map(([name, points]) => ({ name, points }));
}
