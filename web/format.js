/** Numbers for people. What is not known is a dash, never a zero. */

export const UNKNOWN = "–";

const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const RATE_UNITS = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];

/** @param {number | null | undefined} value */
export function bytes(value) {
  return scaled(value, SIZE_UNITS, 1024);
}

/** @param {number | null | undefined} value bits per second */
export function rate(value) {
  return scaled(value, RATE_UNITS, 1000);
}

/** @param {number | null | undefined} value */
export function count(value) {
  return isKnown(value) ? value.toLocaleString("en") : UNKNOWN;
}

/** @param {number | null | undefined} value */
export function millis(value) {
  if (!isKnown(value)) return UNKNOWN;
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toPrecision(3)} ms`;
}

/** @param {number | null | undefined} value a share between 0 and 1 */
export function percent(value) {
  return isKnown(value) ? `${(value * 100).toFixed(2)} %` : UNKNOWN;
}

/** @param {number | null | undefined} value */
export function seconds(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function scaled(value, units, step) {
  if (!isKnown(value)) return UNKNOWN;
  let rest = value;
  let unit = 0;
  while (rest >= step && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return `${unit === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

function isKnown(value) {
  return typeof value === "number" && Number.isFinite(value);
}
