/** The charts that benchmarks leave in docs/: lines over a numeric axis, as SVG files. */
import { writeFileSync } from "node:fs";
import { init, type EChartsOption } from "echarts";

interface Axis {
  /** Name and unit. */
  readonly name: string;
  readonly scale: "linear" | "log";
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** A published or calculated curve, not one that was measured here. */
  readonly reference?: true;
}

export interface Chart {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

const SIZE = { width: 760, height: 440 } as const;

export function writeChart(path: string, chart: Chart): void {
  const surface = init(null, null, { renderer: "svg", ssr: true, ...SIZE });
  surface.setOption(optionOf(chart));
  writeFileSync(path, surface.renderToSVGString());
  surface.dispose();
}

function optionOf({ title, x, y, series }: Chart): EChartsOption {
  return {
    animation: false,
    backgroundColor: "#ffffff",
    title: { text: title, left: "center", textStyle: { fontSize: 15 } },
    legend: { bottom: 0 },
    grid: { left: 80, right: 40, top: 50, bottom: 80 },
    xAxis: axisOf(x, 30),
    yAxis: axisOf(y, 55),
    series: series.map(({ name, points, reference }) => ({
      type: "line" as const,
      name,
      data: points.map(([at, value]) => [at, value]),
      symbolSize: 6,
      showSymbol: reference !== true,
      lineStyle: { type: reference === true ? ("dashed" as const) : ("solid" as const) },
    })),
  };
}

function axisOf({ name, scale }: Axis, nameGap: number) {
  const common = { name, nameLocation: "middle" as const, nameGap };
  return scale === "log"
    ? { ...common, type: "log" as const }
    : { ...common, type: "value" as const, scale: true };
}
