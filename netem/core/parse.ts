/**
 * Link changes as people type them: `delay=50ms`, `loss=1%`, `burst=8`, … One table, used by the
 * command line, the control protocol and timelines. Every error is `SmfsError` USAGE and says what
 * to write instead.
 */
import { SmfsError } from "../../lib/errors.ts";
import { parseDuration, parseRate, parseShare, parseSize } from "../../lib/units.ts";
import type { LinkChanges, LinkSettings, Loss } from "./settings.ts";

type Writable = { -readonly [K in keyof LinkSettings]?: LinkSettings[K] };

interface Setting {
  readonly form: string;
  readonly doc: string;
}

/** What can be changed; `burst` belongs to `loss`. */
export const SETTINGS = {
  delay: { form: "50ms", doc: "propagation, one way" },
  jitter: { form: "5ms", doc: "added to the delay, uniform from 0 to this; never reorders" },
  rate: { form: "1gbit", doc: "rate of the bottleneck, or none" },
  queue: { form: "4MiB", doc: "room in front of the bottleneck, or auto (50 ms at the rate)" },
  loss: { form: "0.5%", doc: "average share of packets lost" },
  burst: { form: "8", doc: "mean run of lost packets (Gilbert-Elliott); needs loss" },
  reorder: { form: "0.1%", doc: "share of packets held back so that later ones overtake" },
  "reorder-delay": { form: "1ms", doc: "how long they are held back" },
  duplicate: { form: "0.1%", doc: "share of packets that arrive twice" },
  "path-mtu": { form: "1300", doc: "longer packets are dropped without a word, or none" },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

/** Changes from names and their texts. `loss` alone means independent losses. */
export function parseChanges(texts: Readonly<Record<string, string>>): LinkChanges {
  const changes: Writable = {};
  for (const [name, text] of Object.entries(texts)) {
    if (!isSettingName(name)) throw unknownSetting(name);
    named(name, () => applyText(changes, name, text));
  }
  if (texts["burst"] !== undefined || texts["loss"] !== undefined) {
    changes.loss = named("loss", () => parseLoss(texts));
  }
  return changes;
}

/** Puts the setting's name before what is wrong with its text. */
function named<T>(name: SettingName, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    throw new SmfsError(error.code, `${name}: ${error.message}`, error);
  }
}

function applyText(changes: Writable, name: SettingName, text: string): void {
  switch (name) {
    case "delay":
      changes.delayMicros = parseDuration(text);
      return;
    case "jitter":
      changes.jitterMicros = parseDuration(text);
      return;
    case "rate":
      changes.rateBitsPerSecond = text === "none" ? Infinity : parseRate(text);
      return;
    case "queue":
      changes.queueBytes = text === "auto" ? null : parseSize(text);
      return;
    case "reorder":
      changes.reorderShare = parseShare(text);
      return;
    case "reorder-delay":
      changes.reorderDelayMicros = parseDuration(text);
      return;
    case "duplicate":
      changes.duplicateShare = parseShare(text);
      return;
    case "path-mtu":
      changes.mtuBytes = text === "none" ? Infinity : parseSize(text);
      return;
    case "loss":
    case "burst":
      // The two make one setting, see `parseLoss`.
      return;
  }
}

function parseLoss(texts: Readonly<Record<string, string>>): Loss {
  const { loss, burst } = texts;
  if (loss === undefined) throw new SmfsError("USAGE", "burst needs loss: loss=1% burst=8");
  const share = parseShare(loss);
  if (burst === undefined) return { kind: "independent", share };
  const meanPackets = Number(burst);
  if (!(meanPackets >= 1)) {
    throw new SmfsError(
      "USAGE",
      `'${burst}' is not a mean burst in packets such as 8 (at least 1)`,
    );
  }
  return { kind: "bursts", share, meanPackets };
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

function unknownSetting(name: string): SmfsError {
  const names = Object.keys(SETTINGS).join(", ");
  return new SmfsError("USAGE", `'${name}' is not a link setting; there are ${names}`);
}
