/** CRC-32C (Castagnoli, RFC 3720 appendix B.4) with the processor's own instruction. */
import { crc32c as native } from "@node-rs/crc32";

/** `previous` continues a checksum over bytes that came before. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return native(bytes, previous);
}
