/** The coefficients of linear repairs, in GF(256): what both ends calculate from a repair's header. */
import { invert } from "./gf256.ts";
import { FULL_DENSITY } from "./parameters.ts";

/**
 * So many of the newest members enter every repair, whatever the density: single losses come back at
 * once from few additions, and only what stands against bursts is thinned out.
 */
export const DENSE_MEMBERS = 16;

/**
 * Of the member that `age` others follow in a sliding window repair. RFC 8681 §3.4 draws from a
 * generator one by one; this is a function of the place instead (the finalizer of MurmurHash3), so
 * that a receiver calculates only those it needs. 0 for a member that is left out.
 */
export function randomCoefficient(seed: number, age: number, density: number): number {
  let hash = Math.imul(seed + 1, 0x27d4eb2f) + Math.imul(age + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  const isMember = age < DENSE_MEMBERS || (hash & (FULL_DENSITY - 1)) < density;
  return isMember ? 1 + ((hash >>> 8) % 255) : 0;
}

/**
 * Of member `n` in repair `index` of a block: an entry of a Cauchy matrix, every square part of
 * which can be inverted, so that any m repairs make up for any m losses (RFC 5510 uses Vandermonde).
 */
export function cauchyCoefficient(index: number, n: number): number {
  return invert((255 - index) ^ n);
}
