/** Addresses as keys of maps: a segment and an offset do not fit one number. */
import type { Address } from "../log/api.ts";

export function addressKey({ segment, offset }: Address): string {
  return `${segment}:${offset}`;
}
