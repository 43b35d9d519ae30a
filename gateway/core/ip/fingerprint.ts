/**
 * How the transparent mode names a packet that it did not number: the packet as it looks at both
 * ends of the path (what routers change is zero), and a keyed 64-bit hash of that.
 *
 * Routers change TTL or hop limit, with it IPv4's header checksum, and may mark DSCP and ECN bits
 * (RFC 791, RFC 2474, RFC 3168). Everything else travels unaltered, or the path has a translator in
 * it and nothing can be rebuilt.
 *
 * The hash is keyed with a secret of the two gateways, so that nobody else can make packets that
 * are taken for one another. It is not cryptographic: who can see both fingerprints (nobody: they
 * travel sealed) could; and what is rebuilt is compared with its own fingerprint before it is used.
 */
import { setHeaderChecksum } from "./ip-checksum.ts";
import { IPV4, IPV6 } from "./ip.ts";
import { readU32, writeU16 } from "./network-order.ts";

/** Rebuilt packets start anew: enough hops for a site, and loops end. */
const REBUILT_HOP_LIMIT = 64;

/** Makes a whole IP packet, in place, what both ends of the path see. */
export function normalise(bytes: Uint8Array): void {
  if ((bytes[0] ?? 0) >> 4 === 4) {
    bytes[IPV4.dscpAt] = 0;
    bytes[IPV4.ttlAt] = 0;
    writeU16(bytes, IPV4.checksumAt, 0);
    return;
  }
  // RFC 8200 §3: version, then eight bits of traffic class, then the flow label.
  bytes[0] = 0x60;
  bytes[1] = (bytes[1] ?? 0) & 0x0f;
  bytes[IPV6.hopLimitAt] = 0;
}

/** The opposite, as far as it goes: a packet that can be sent. `headerBytes` is IPv4's. */
export function makeSendable(bytes: Uint8Array, headerBytes: number): void {
  if ((bytes[0] ?? 0) >> 4 === 4) {
    bytes[IPV4.ttlAt] = REBUILT_HOP_LIMIT;
    setHeaderChecksum(bytes, headerBytes);
  } else {
    bytes[IPV6.hopLimitAt] = REBUILT_HOP_LIMIT;
  }
}

/** Odd numbers with well-mixed bits: 2^32 / φ, and MurmurHash3's constants. */
const MIX_A = 0x9e3779b1;
const MIX_B = 0x85ebca6b;
const MIX_C = 0xc2b2ae35;

/** Two lanes of 32 bits over the packet's words, each keyed, crossed at the end. */
export class Fingerprinter {
  private readonly seedA: number;
  private readonly seedB: number;
  /** Result of the last `take`. */
  high = 0;
  low = 0;

  /** `secret`: at least 8 bytes that both gateways and nobody else have. */
  constructor(secret: Uint8Array) {
    this.seedA = readU32(secret, 0);
    this.seedB = readU32(secret, 4);
  }

  /** Of a normalised packet; the result stands in `high` and `low`. */
  take(bytes: Uint8Array): void {
    const { length } = bytes;
    let a = this.seedA ^ length;
    let b = this.seedB;
    for (let at = 0; at < length; at += 4) {
      const word =
        ((bytes[at] ?? 0) << 24) |
        ((bytes[at + 1] ?? 0) << 16) |
        ((bytes[at + 2] ?? 0) << 8) |
        (bytes[at + 3] ?? 0);
      a = Math.imul(a ^ word, MIX_A);
      a ^= a >>> 15;
      b = Math.imul((b + word) ^ a, MIX_B);
      b ^= b >>> 13;
    }
    this.high = finish(a ^ Math.imul(b, MIX_C));
    this.low = finish(b ^ this.seedA);
  }
}

function finish(lane: number): number {
  let mixed = Math.imul(lane ^ (lane >>> 16), MIX_B);
  mixed = Math.imul(mixed ^ (mixed >>> 13), MIX_C);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
