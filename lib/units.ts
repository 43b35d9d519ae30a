/**
 * Quantities as people type them: durations (`50ms`), sizes (`64MiB`), rates (`1gbit`, as tc(8)
 * writes them), shares (`0.5%`). Every parser throws `SmfsError` USAGE with what to write instead.
 */
import { SmfsError } from "./errors.ts";

const DURATION_MICROS = { us: 1, µs: 1, ms: 1e3, s: 1e6, m: 60e6, min: 60e6, h: 3600e6 };
const SIZE_BYTES = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  m: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  g: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  t: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};
const RATE_BITS = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const SHARE = { "%": 0.01, "": 1 };

/** Whole microseconds. */
export function parseDuration(text: string): number {
  return Math.round(parse(text, DURATION_MICROS, "a duration such as 50ms, 2s or 10m"));
}

/** Whole bytes. */
export function parseSize(text: string): number {
  return Math.round(parse(text, SIZE_BYTES, "a size such as 4096, 64MiB or 100MB"));
}

/** Bits per second. */
export function parseRate(text: string): number {
  return parse(text, RATE_BITS, "a rate such as 100mbit or 1gbit");
}

/** A share between 0 and 1. */
export function parseShare(text: string): number {
  const value = parse(text, SHARE, "a share such as 0.5% or 0.005");
  if (value > 1) throw wrong(text, "a share of at most 100%");
  return value;
}

function parse(text: string, units: Record<string, number>, expected: string): number {
  const match = /^\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*([a-zµ%]*)\s*$/i.exec(text);
  const factor = match === null ? undefined : units[(match[2] as string).toLowerCase()];
  if (match === null || factor === undefined) throw wrong(text, expected);
  return Number(match[1]) * factor;
}

function wrong(text: string, expected: string): SmfsError {
  return new SmfsError("USAGE", `'${text}' is not ${expected}`);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
