/**
 * The erasure codes alone: layered interleaving at its default beside what this machine copies and
 * XORs in the same run, and all codes at equal overhead side by side (`fec-comparison.ts`).
 *
 * Rates are bytes of data packets per second of processor time, so that they hold for one core
 * however busy the machine is.
 */
import { Blocks } from "../gateway/core/code/blocks.ts";
import { DEFAULT_CODE } from "../gateway/core/code/code.ts";
import { type Series, writeChart } from "./chart.ts";
import {
  CODES,
  compare,
  type ComparisonOptions,
  type Outcome,
  decodeAll,
  encodeAll,
  microsOf,
  sourcesOf,
  wireOf,
} from "./fec-comparison.ts";

export interface FecBenchOptions extends ComparisonOptions {
  /** Data packets in each measured round of the rates. */
  readonly ratePackets: number;
}

export const FULL: FecBenchOptions = {
  packets: 400_000,
  timedPackets: 16_384,
  ratePackets: 65_536,
  seed: 1,
};
/** For a test that the bench works; its figures mean nothing. */
export const QUICK: FecBenchOptions = {
  packets: 6_000,
  timedPackets: 64,
  ratePackets: 64,
  seed: 1,
};

const PACKET_BYTES = 1400;
/** What a chart on a logarithmic axis shows for nothing lost. */
const LEAST_SHARE = 1e-5;
/** Not all in one picture. */
const CHARTED = [
  "layered (1, 10, 100)",
  "layered (1, 20, 200)",
  "RLC W=64",
  "RLC W=400",
  "RLC W=400, density 2/16",
  "RS (8, 3)",
  "RS (8, 3) × 34",
  "RS (128, 48)",
];

type Result = ReturnType<typeof run>;

export function run(options: FecBenchOptions) {
  return {
    parameters: DEFAULT_CODE,
    packetBytes: PACKET_BYTES,
    bytesPerSecond: ratesOf(options),
    ...compare(CODES, options),
  };
}

function ratesOf({ ratePackets, seed }: FecBenchOptions) {
  const sources = sourcesOf(PACKET_BYTES, seed);
  const clean = wireOf(DEFAULT_CODE, sources, ratePackets, { kind: "independent", share: 0 }, seed);
  const lossy = wireOf(
    DEFAULT_CODE,
    sources,
    ratePackets,
    { kind: "independent", share: 0.01 },
    seed,
  );
  const rate = (round: () => void): number => (PACKET_BYTES * ratePackets * 1e6) / microsOf(round);
  return {
    copy: rate(() => copyAll(sources, ratePackets)),
    xorIntoEveryLayer: rate(() => xorAll(sources, ratePackets, DEFAULT_CODE.interleave.length)),
    encoder: rate(() => encodeAll(DEFAULT_CODE, sources, ratePackets)),
    decoderWithoutLoss: rate(() => decodeAll(clean)),
    decoderAtOnePercentLoss: rate(() => decodeAll(lossy)),
  };
}

function copyAll(sources: readonly Uint8Array[], packets: number): void {
  const store = new Blocks(sources.length);
  for (let n = 0; n < packets; n++) {
    store.storePacket(n % sources.length, sources[n % sources.length] as Uint8Array);
  }
}

/** The ceiling of the encoder: every packet XORed into one block per layer, and nothing else. */
function xorAll(sources: readonly Uint8Array[], packets: number, layers: number): void {
  const { length } = sources;
  const store = new Blocks(2 * length);
  for (const [index, source] of sources.entries()) store.storePacket(index, source);
  for (let n = 0; n < packets; n++) {
    const bytes = store.symbolBytes(n % length);
    for (let layer = 0; layer < layers; layer++) {
      store.xor(length + ((n * (layer + 1)) % length), n % length, bytes);
    }
  }
}

/** Four charts whose files begin with `prefix`. */
export function draw(prefix: string, { outcomes }: Result): void {
  const kinds = {
    independent: { title: "independent loss", x: "data and repair packets lost, per cent" },
    bursts: { title: "bursts, 1 % lost on average", x: "mean length of a burst, packets" },
  } as const;
  const measures = {
    residual: {
      title: "Share of lost packets that is not rebuilt",
      y: `share; ${LEAST_SHARE} stands for none`,
      of: (outcome: Outcome) => Math.max(LEAST_SHARE, outcome.notRebuiltShare),
    },
    delay: {
      title: "99th percentile of the delay until a lost packet is rebuilt",
      y: "data packets",
      of: (outcome: Outcome) => Math.max(1, outcome.p99Delay),
    },
  } as const;
  for (const kind of ["independent", "bursts"] as const) {
    for (const measure of ["residual", "delay"] as const) {
      const { title, y, of } = measures[measure];
      writeChart(`${prefix}-${measure}-${kind}.svg`, {
        title: `${title}: ${kinds[kind].title}`,
        x: { name: kinds[kind].x, scale: "log" },
        y: { name: y, scale: "log" },
        series: seriesOf(outcomes, kind, of),
      });
    }
  }
}

function seriesOf(
  outcomes: readonly Outcome[],
  kind: Outcome["kind"],
  of: (outcome: Outcome) => number,
): Series[] {
  return CHARTED.map((name) => {
    const own = outcomes.filter((outcome) => outcome.code === name && outcome.kind === kind);
    return { name, points: own.map((outcome) => [outcome.x, of(outcome)] as const) };
  });
}
