/** `CryptoPort` with the fastest AES-GCM that this platform has; datagrams are the same in any case. */
import { SmfsError } from "../../lib/errors.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { AesGcm } from "../../sys/aes-gcm.ts";
import { nodeCrypto } from "./crypto.ts";

let chosen: CryptoPort | null = null;

/** Chosen at the first call; node:crypto where OpenSSL cannot be called. */
export function transportCrypto(): CryptoPort {
  chosen ??= openSslCrypto() ?? nodeCrypto;
  return chosen;
}

/** Null where Node's OpenSSL cannot be called directly. */
export function openSslCrypto(): CryptoPort | null {
  try {
    const cipher = new AesGcm();
    const key = new Uint8Array(32);
    // Every function is looked up at its first call: now, not in the middle of a session.
    const sealed = new Uint8Array(16);
    const sealedBytes = cipher.seal(key, new Uint8Array(12), key, new Uint8Array(0), sealed);
    const opened = cipher.open(key, new Uint8Array(12), key, sealed, new Uint8Array(0));
    if (sealedBytes !== sealed.length || opened !== 0) return null;
    return {
      ...nodeCrypto,
      seal: (...args) => cipher.seal(...args),
      open: (...args) => cipher.open(...args),
    };
  } catch (error) {
    if (error instanceof SmfsError && error.code === "UNSUPPORTED") return null;
    throw error;
  }
}
