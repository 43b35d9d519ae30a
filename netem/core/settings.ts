/**
 * What one direction of an emulated path does to packets, and the bounds that make sense.
 *
 * Shares are between 0 and 1, rates in bits per second (Infinity: no limit), times in whole
 * microseconds of virtual time.
 */
import { SmfsError } from "../../lib/errors.ts";

/**
 * `independent`: every packet is lost with the same probability.
 * `bursts`: the two-state Markov chain of Gilbert (1960), every packet of the bad state lost,
 * given by what people measure: the average share lost and the mean length of a run of losses.
 */
export type Loss =
  | { readonly kind: "independent"; readonly share: number }
  | { readonly kind: "bursts"; readonly share: number; readonly meanPackets: number };

export interface LinkSettings {
  /** Propagation, one way. */
  readonly delayMicros: number;
  /** Added to the delay, uniform from 0 to this. Never reorders: a slow packet holds up the next. */
  readonly jitterMicros: number;
  /** Rate of the bottleneck. */
  readonly rateBitsPerSecond: number;
  /** Room in front of the bottleneck, tail drop; null for `DEFAULT_QUEUE_MICROS` at the rate. */
  readonly queueBytes: number | null;
  readonly loss: Loss;
  /** Share of packets that are held back by `reorderDelayMicros`, so that later ones overtake. */
  readonly reorderShare: number;
  readonly reorderDelayMicros: number;
  /** Share of packets that arrive twice. */
  readonly duplicateShare: number;
  /** Longer packets are dropped, and nobody is told: a path-MTU black hole. Infinity: none is. */
  readonly mtuBytes: number;
}

export type LinkChanges = Partial<LinkSettings>;

/** A cable of no length: the start for settings that name only what differs. */
export const IDEAL_LINK: LinkSettings = {
  delayMicros: 0,
  jitterMicros: 0,
  rateBitsPerSecond: Infinity,
  queueBytes: null,
  loss: { kind: "independent", share: 0 },
  reorderShare: 0,
  reorderDelayMicros: 1000,
  duplicateShare: 0,
  mtuBytes: Infinity,
};

/** Depth of the default queue: what routers on such paths are commonly given. */
const DEFAULT_QUEUE_MICROS = 50_000;
/** A slow link's queue still takes a burst of a few full packets. */
const LEAST_QUEUE_BYTES = 64 * 1024;

/** Bytes that may wait in front of the bottleneck. */
export function queueLimitBytes(settings: LinkSettings): number {
  if (settings.queueBytes !== null) return settings.queueBytes;
  const bytes = (settings.rateBitsPerSecond / 8e6) * DEFAULT_QUEUE_MICROS;
  return Math.max(LEAST_QUEUE_BYTES, bytes);
}

/** The settings with the changes applied; throws `SmfsError` USAGE when they make no sense. */
export function changeSettings(settings: LinkSettings, changes: LinkChanges): LinkSettings {
  const changed = { ...settings, ...changes };
  checkSettings(changed);
  return changed;
}

function checkSettings(settings: LinkSettings): void {
  checkTime("delay", settings.delayMicros);
  checkTime("jitter", settings.jitterMicros);
  checkTime("reorder delay", settings.reorderDelayMicros);
  checkShare("loss", settings.loss.share);
  checkShare("reorder", settings.reorderShare);
  checkShare("duplicate", settings.duplicateShare);
  if (!(settings.rateBitsPerSecond > 0))
    throw wrong("rate must be above 0; to stop a link, cut it");
  if (settings.queueBytes !== null && !(settings.queueBytes >= 0)) {
    throw wrong("queue must be 0 bytes or more");
  }
  if (!(settings.mtuBytes > 0)) throw wrong("path MTU must be above 0 bytes");
  checkBursts(settings.loss);
}

function checkTime(name: string, micros: number): void {
  if (!Number.isSafeInteger(micros) || micros < 0) {
    throw wrong(`${name} must be a whole number of microseconds, 0 or more`);
  }
}

function checkShare(name: string, share: number): void {
  if (!(share >= 0 && share <= 1)) throw wrong(`${name} must be a share between 0 and 1`);
}

/** Runs of losses are at least one packet apart, which bounds the average share. */
function checkBursts(loss: Loss): void {
  if (loss.kind !== "bursts") return;
  if (!(loss.meanPackets >= 1)) throw wrong("burst must be 1 packet or more");
  const most = loss.meanPackets / (loss.meanPackets + 1);
  if (loss.share > most) {
    throw wrong(`bursts of ${loss.meanPackets} packets can lose at most ${most} on average`);
  }
}

function wrong(message: string): SmfsError {
  return new SmfsError("USAGE", `link settings: ${message}`);
}
