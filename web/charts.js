/**
 * The charts: a fixed window of the last five minutes, one point a second. A second without data
 * leaves a gap; nothing is drawn over it.
 */
import uPlot from "./uplot/uPlot.esm.js";
import { bytes, count, millis } from "./format.js";

const WINDOW_SECONDS = 300;
/** Distances between the marks of a scale in bytes. */
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/**
 * A scale goes at least to `least`, so that noise around zero does not look like a mountain. Lines
 * take their colours from the style sheet, so that dark and light follow it.
 */
const CHARTS = [
  {
    title: "Throughput of the mount",
    least: 2 ** 20,
    steps: BINARY_STEPS,
    format: (value) => `${bytes(value)}/s`,
    lines: [
      { label: "written", key: "writeBytesPerSecond", color: "--line-1" },
      { label: "read", key: "readBytesPerSecond", color: "--line-2" },
    ],
  },
  {
    title: "Acknowledgement latency, strongest level in use",
    least: 10,
    format: millis,
    lines: [
      { label: "p50", key: "latencyP50", color: "--line-1" },
      { label: "p99", key: "latencyP99", color: "--line-3" },
    ],
  },
  {
    title: "Packets per second",
    least: 10,
    format: count,
    lines: [
      { label: "lost", key: "lostPerSecond", color: "--line-3" },
      { label: "rebuilt", key: "rebuiltPerSecond", color: "--line-1" },
      { label: "sent again", key: "retransmittedPerSecond", color: "--line-2" },
    ],
  },
  {
    title: "Not yet at the mirror",
    least: 2 ** 20,
    steps: BINARY_STEPS,
    format: bytes,
    lines: [{ label: "bytes", key: "notAtMirrorBytes", color: "--line-1" }],
  },
];

export class Charts {
  constructor(parent) {
    this.parent = parent;
    this.times = [];
    this.points = [];
    this.build();
    new ResizeObserver(() => this.resize()).observe(parent);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  /** One point of every line; what is not known is null and leaves a gap. */
  add(atSeconds, values) {
    this.times.push(atSeconds);
    this.points.push(values);
    while (this.times[0] < atSeconds - WINDOW_SECONDS) {
      this.times.shift();
      this.points.shift();
    }
    this.draw();
  }

  build() {
    this.parent.replaceChildren();
    this.plots = CHARTS.map((chart) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = chart.title;
      figure.append(caption);
      this.parent.append(figure);
      const plot = new uPlot(optionsOf(chart, figure.clientWidth), this.dataOf(chart), figure);
      return { chart, figure, plot };
    });
  }

  draw() {
    const end = this.times.at(-1);
    for (const { chart, plot } of this.plots) {
      plot.setData(this.dataOf(chart), false);
      plot.batch(() => {
        plot.setScale("x", { min: end - WINDOW_SECONDS, max: end });
        plot.setScale("y", { min: 0, max: greatest(plot.data, chart.least) });
      });
    }
  }

  dataOf(chart) {
    const lines = chart.lines.map(({ key }) => this.points.map((point) => point[key] ?? null));
    return [this.times, ...lines];
  }

  resize() {
    for (const { figure, plot } of this.plots) {
      plot.setSize({ width: innerWidthOf(figure), height: plot.height });
    }
  }
}

function optionsOf(chart, width) {
  const axis = {
    stroke: color("--muted"),
    grid: { stroke: color("--grid"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return {
    width: Math.max(200, width - 24),
    height: 170,
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { auto: false, range: [0, 1] } },
    axes: [
      { ...axis, space: 70 },
      {
        ...axis,
        ...(chart.steps === undefined ? {} : { incrs: chart.steps }),
        size: 84,
        values: (_plot, ticks) => ticks.map((tick) => chart.format(tick)),
      },
    ],
    series: [{}, ...chart.lines.map((line) => seriesOf(line, chart.format))],
  };
}

function seriesOf({ label, color: name }, format) {
  return {
    label,
    stroke: color(name),
    width: 1.75,
    points: { show: false },
    value: (_plot, value) => (value === null ? "–" : format(value)),
  };
}

/** Room above the highest point. */
function greatest(data, least) {
  const values = data.slice(1).flat();
  return values.reduce((max, value) => Math.max(max, (value ?? 0) * 1.1), least);
}

function innerWidthOf(figure) {
  const style = getComputedStyle(figure);
  const padding = Number.parseFloat(style.paddingLeft) + Number.parseFloat(style.paddingRight);
  return Math.max(200, figure.clientWidth - padding);
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
