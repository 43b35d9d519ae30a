/** How two peers know each other: a key that both have, or each other's X25519 public key. */

/** Bytes of a pre-shared key, of an X25519 key, and of every key derived from them. */
export const KEY_BYTES = 32;

/** X25519 (RFC 7748), 32 bytes each. */
export interface StaticKeys {
  readonly privateKey: Uint8Array;
  readonly peerPublicKey: Uint8Array;
}

/** A pre-shared key of 32 bytes, or static keys. Both sides need the same kind. */
export type Credentials = Uint8Array | StaticKeys;

/** What people compare when the other side does not accept ours. */
export function keyAdvice(statics: StaticKeys | null): string {
  return statics === null
    ? "compare key_file on both sides"
    : "public_key on each side must be what smfs pubkey makes of the other's private_key_file";
}
