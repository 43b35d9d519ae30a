/** CRC-32C (Castagnoli, RFC 3720 appendix B.4) with the processor's own instruction. */
import { crc32c as native } from "@node-rs/crc32";

/** `previous` continues a checksum over bytes that came before. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return native(bytes, previous);
}

/** The polynomial without x^32, its coefficients from x^0 (highest bit) to x^31. */
const POLYNOMIAL = 0x82f63b78;
/** x^0. */
const ONE = 0x8000_0000;

/**
 * The checksum of two runs of bytes, one behind the other, from the checksum of each and the length
 * of the second. A CRC is a polynomial over GF(2) modulo another: bytes behind it multiply it by
 * x^8 each, and the second run's own is added (Adler's crc32_combine in zlib).
 */
export function combineCrc32c(first: number, second: number, secondBytes: number): number {
  return (multiply(powerOfBytes(secondBytes), first) ^ second) >>> 0;
}

/** Product modulo the polynomial: by Horner's rule, from the highest power of `a` down. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let mask = ONE; mask !== 0; mask >>>= 1) {
    if ((a & mask) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return product >>> 0;
}

/** x^(8 × 2^i) for each bit of a length below 2^32. */
const BYTE_POWERS: readonly number[] = bytePowers();

function bytePowers(): number[] {
  const powers: number[] = [];
  let power = ONE >>> 8;
  for (let bit = 0; bit < 32; bit++) {
    powers.push(power);
    power = multiply(power, power);
  }
  return powers;
}

/** x^(8 × bytes). */
function powerOfBytes(bytes: number): number {
  let power = ONE;
  for (let bit = 0; bit < 32; bit++) {
    if (((bytes >>> bit) & 1) === 1) power = multiply(BYTE_POWERS[bit] as number, power);
  }
  return power;
}
