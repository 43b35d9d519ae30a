/**
 * GF(256), the field of bytes that the linear codes compute in, with the polynomial of RFC 8681
 * §4.1 and of most Reed–Solomon codes: x⁸ + x⁴ + x³ + x² + 1. Addition is XOR.
 */
const POLYNOMIAL = 0x11d;
/** The powers of the generator 2, twice over, so that sums of two logarithms need no modulus. */
const EXP = new Uint8Array(510);
const LOG = new Uint8Array(256);

let power = 1;
for (let exponent = 0; exponent < 255; exponent++) {
  EXP[exponent] = power;
  EXP[exponent + 255] = power;
  LOG[power] = exponent;
  power <<= 1;
  if (power > 255) power ^= POLYNOMIAL;
}

export function multiply(a: number, b: number): number {
  if (a === 0 || b === 0) return 0;
  return EXP[(LOG[a] as number) + (LOG[b] as number)] as number;
}

/** Of a number that is not zero. */
export function invert(a: number): number {
  return EXP[255 - (LOG[a] as number)] as number;
}
