/** The world outside a core, as ports: a shell gives the real ones, the simulator its own. */

export interface Clock {
  /** Microseconds since 1970; may jump. For timestamps only. */
  wallMicros(): number;
  /** Microseconds that only go forward. For everything else. */
  nowMicros(): number;
}

/** One-shot timers in the clock's monotonic time. */
export interface Timers {
  /** Calls back once at or after `atMicros`; gives a function that cancels. */
  at(atMicros: number, callback: () => void): () => void;
}

/** The cryptography a protocol core needs; `gateway/udp` implements it with node:crypto. */
export interface CryptoPort {
  randomBytes(length: number): Uint8Array;
  /** X25519 (RFC 7748). */
  generateKeyPair(): { publicKey: Uint8Array; privateKey: Uint8Array };
  publicKeyOf(privateKey: Uint8Array): Uint8Array;
  /** Throws `SmfsError` DAMAGED for a point of low order (RFC 7748 §6.1). */
  sharedSecret(privateKey: Uint8Array, peerPublicKey: Uint8Array): Uint8Array;
  /** HMAC-SHA-256, 32 bytes. */
  hmac(key: Uint8Array, message: Uint8Array): Uint8Array;
  /** HKDF-SHA-256 (RFC 5869). */
  hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array;
  /** AES-256-GCM with a 12-byte nonce and a 16-byte tag behind the ciphertext, written into `out`. */
  seal(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    plain: Uint8Array,
    out: Uint8Array,
  ): number;
  /** Length of the plain text written into `out`, or −1 when the tag does not verify. */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    sealed: Uint8Array,
    out: Uint8Array,
  ): number;
}

/** What shells log to; pino fits. Cores do not log: they return events and count. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
