/**
 * Paths that people know by name, one direction each; both directions are alike.
 * Round trips and losses are typical values of the sources named, not promises about a provider.
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
