/**
 * Paths that people know by name, one direction each; both directions are alike. Delays, rates and
 * losses are typical of what the sources measured, not promises about a provider; where a source
 * gives a range, the preset has a bad hour of it. Bursts are the two-state model of `loss.ts`.
 *
 * - transatlantic: round trips between London and New York of 70 to 80 ms, close to what light takes
 *   in the fibre (Martínez et al., "Round Trip Time (RTT) Delay in the Internet", arXiv:2301.07788).
 * - leo: round trips of 40 to 60 ms, up to 300 Mbit/s, losses that come in bursts (Michel et al., "A
 *   First Look at Starlink Performance", IMC 2022) at handovers (Kassem et al., "A Browser-side View
 *   of Starlink Connectivity", IMC 2022), delays that change with the links every 15 s (Mohan et al.,
 *   "A Multifaceted Look at Starlink Performance", WWW 2024).
 * - 5g: mid-band cells in Europe and the USA (Fezeu et al., "Mid-Band 5G: A Measurement Study",
 *   arXiv:2310.11000), shared with others.
 * - teragrid-bursts: loss between hosts of an uncongested optical network, in bursts, up to 1 % (Balakrishnan
 *   et al., "Maelstrom: Transparent Error Correction for Lambda Networks", NSDI 2008, section 2).
 */
import { IDEAL_LINK, type LinkSettings } from "./settings.ts";

export const PRESET_NAMES = ["wan", "transatlantic", "leo", "5g", "teragrid-bursts"] as const;

export type PresetName = (typeof PRESET_NAMES)[number];

interface Preset {
  readonly doc: string;
  readonly settings: LinkSettings;
}

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  wan: {
    doc: "50 ms one way, 0.5 % independent loss, 1 Gbit/s: the demo's path",
    settings: {
      ...IDEAL_LINK,
      delayMicros: 50_000,
      rateBitsPerSecond: 1e9,
      loss: { kind: "independent", share: 0.005 },
    },
  },
  transatlantic: {
    doc: "40 ms one way, clean: a leased path between the US east coast and western Europe",
    settings: {
      ...IDEAL_LINK,
      delayMicros: 40_000,
      jitterMicros: 1_000,
      rateBitsPerSecond: 1e9,
      loss: { kind: "independent", share: 0.0001 },
    },
  },
  leo: {
    doc: "25 ms one way, up to 15 ms jitter, bursts at satellite handovers, 200 Mbit/s",
    settings: {
      ...IDEAL_LINK,
      delayMicros: 25_000,
      jitterMicros: 15_000,
      rateBitsPerSecond: 200e6,
      loss: { kind: "bursts", share: 0.01, meanPackets: 12 },
    },
  },
  "5g": {
    doc: "12 ms one way, up to 8 ms jitter, little loss and some reordering, 100 Mbit/s",
    settings: {
      ...IDEAL_LINK,
      delayMicros: 12_000,
      jitterMicros: 8_000,
      rateBitsPerSecond: 100e6,
      loss: { kind: "bursts", share: 0.001, meanPackets: 3 },
      reorderShare: 0.002,
      reorderDelayMicros: 4_000,
    },
  },
  "teragrid-bursts": {
    doc: "31 ms one way, 1 % lost in bursts of 20: loss at end hosts of fast research networks",
    settings: {
      ...IDEAL_LINK,
      delayMicros: 31_000,
      rateBitsPerSecond: 1e9,
      loss: { kind: "bursts", share: 0.01, meanPackets: 20 },
    },
  },
};
