/**
 * The keys of one epoch of a session: one for each direction, with the packet numbers used and
 * seen. No number is used twice with a key, since numbers only grow and a key has one epoch.
 */
import { assert } from "../../../lib/assert.ts";
import { concatBytes, latin1 } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { CryptoPort } from "../../../lib/ports.ts";
import { KEY_BYTES } from "./credentials.ts";
import { ReplayWindow } from "./replay.ts";

/**
 * Packets sealed by one key at the very most: the confidentiality limit of AES-GCM for packets of
 * up to 2^11 bytes (RFC 9001 appendix B.1.1).
 */
export const MAX_PACKETS_PER_KEY = 2 ** 28;

export class EpochKeys {
  readonly epoch: number;
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly replay = new ReplayWindow();
  private sealedPackets = 0;
  private isErased = false;

  constructor(epoch: number, sendKey: Uint8Array, receiveKey: Uint8Array) {
    this.epoch = epoch;
    this.sendKey = sendKey;
    this.receiveKey = receiveKey;
  }

  get isExhausted(): boolean {
    return this.sealedPackets >= MAX_PACKETS_PER_KEY;
  }

  /** Packets of the busier direction, as far as is known here. */
  get packets(): number {
    return Math.max(this.sealedPackets, this.replay.highestMarked + 1);
  }

  nextPacketNumber(): number {
    assert(!this.isExhausted, "a key is not used beyond its limit");
    assert(!this.isErased, "nothing is sealed with a key that was erased");
    return this.sealedPackets++;
  }

  eraseSendKey(): void {
    this.isErased = true;
    this.sendKey.fill(0);
  }

  /** Nothing can be sealed or opened any more. */
  erase(): void {
    this.eraseSendKey();
    this.receiveKey.fill(0);
  }
}

/** What an exchange of new X25519 keys inside a session leads to. */
export interface NextKeys {
  readonly initiator: Uint8Array;
  readonly responder: Uint8Array;
  readonly root: Uint8Array;
}

/**
 * HKDF(new X25519 secret, salt = root of the epoch before): who has only one of the two cannot
 * follow, so that neither the theft of an old key nor a recording opens what comes later.
 */
export function nextKeys(
  crypto: CryptoPort,
  root: Uint8Array,
  secret: Uint8Array,
  epoch: number,
  initiatorKey: Uint8Array,
  responderKey: Uint8Array,
): NextKeys {
  const number = new Uint8Array(4);
  viewOf(number).setUint32(0, epoch, true);
  const info = concatBytes([latin1("smfs epoch 1"), number, initiatorKey, responderKey]);
  const all = crypto.hkdf(secret, root, info, 3 * KEY_BYTES);
  const key = (index: number): Uint8Array => all.slice(index * KEY_BYTES, (index + 1) * KEY_BYTES);
  return { initiator: key(0), responder: key(1), root: key(2) };
}
