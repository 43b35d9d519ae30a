/**
 * Sealed datagrams of one session: AES-256-GCM with the packet number as nonce and the header as
 * associated data, and the receiver's replay window.
 *
 * Keys move on by themselves: packet number n belongs to key phase ⌊n / 2^24⌋, and the key of a
 * phase is HKDF of the one before. That is far below the confidentiality limit for packets of at
 * most 2^11 bytes (RFC 9001 appendix B.1: 2^28 packets a key), needs no message, and makes keys
 * that were used up unrecoverable.
 */
import { assert } from "../../lib/assert.ts";
import { EMPTY, latin1 } from "../../lib/bytes.ts";
import { viewOf } from "../../lib/codec.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { type Agreement, KEY_BYTES } from "./handshake.ts";
import { DATAGRAM, PROTOCOL_VERSION, SEALED_OVERHEAD_BYTES, SealedHeader } from "./packets.ts";
import { ReplayWindow } from "./replay.ts";

/** Packets sealed by one key. */
export const PACKETS_PER_KEY = 2 ** 24;
const NONCE_BYTES = 12;

export class SealedChannel {
  private readonly crypto: CryptoPort;
  readonly peerId: number;
  private readonly sending: KeyPhase;
  private readonly receiving: KeyPhase;
  private readonly replay = new ReplayWindow();
  private readonly nonce = new Uint8Array(NONCE_BYTES);
  private readonly nonceView = viewOf(this.nonce);
  private nextPacketNumber = 0;

  constructor(crypto: CryptoPort, agreement: Agreement) {
    this.crypto = crypto;
    this.peerId = agreement.peerId;
    this.sending = new KeyPhase(crypto, agreement.keys.send);
    this.receiving = new KeyPhase(crypto, agreement.keys.receive);
  }

  /** Seals `plain` into `out`, which has SEALED_OVERHEAD_BYTES more; the datagram's length. */
  seal(plain: Uint8Array, out: Uint8Array): number {
    assert(out.length >= plain.length + SEALED_OVERHEAD_BYTES, "the datagram buffer is too small");
    const packetNumber = this.nextPacketNumber++;
    SealedHeader.encode(viewOf(out), 0, {
      type: DATAGRAM.sealed,
      version: PROTOCOL_VERSION,
      receiver: this.peerId,
      packetNumber,
    });
    const key = this.sending.keyOf(packetNumber);
    assert(key !== null, "sending phases follow one another");
    this.sending.confirm(packetNumber);
    const header = out.subarray(0, SealedHeader.size);
    const body = out.subarray(SealedHeader.size);
    const sealed = this.crypto.seal(key, this.nonceOf(packetNumber), header, plain, body);
    return SealedHeader.size + sealed;
  }

  /** Length of the plain text in `out`; −1 for what is forged, replayed, or too old to tell. */
  open(datagram: Uint8Array, out: Uint8Array): number {
    if (datagram.length < SEALED_OVERHEAD_BYTES) return -1;
    const { packetNumber } = SealedHeader.decode(viewOf(datagram), 0);
    if (!this.replay.isFresh(packetNumber)) return -1;
    const key = this.receiving.keyOf(packetNumber);
    if (key === null) return -1;
    const header = datagram.subarray(0, SealedHeader.size);
    const body = datagram.subarray(SealedHeader.size);
    const length = this.crypto.open(key, this.nonceOf(packetNumber), header, body, out);
    if (length < 0) return -1;
    this.receiving.confirm(packetNumber);
    this.replay.mark(packetNumber);
    return length;
  }

  private nonceOf(packetNumber: number): Uint8Array {
    this.nonceView.setUint32(0, packetNumber >>> 0, true);
    this.nonceView.setUint32(4, Math.floor(packetNumber / 2 ** 32), true);
    return this.nonce;
  }
}

/** The keys of the current phase and its neighbours; nothing else can be opened. */
class KeyPhase {
  private readonly crypto: CryptoPort;
  private phase = 0;
  private previous: Uint8Array | null = null;
  private current: Uint8Array;
  private next: Uint8Array;

  constructor(crypto: CryptoPort, key: Uint8Array) {
    this.crypto = crypto;
    this.current = key;
    this.next = this.after(key);
  }

  keyOf(packetNumber: number): Uint8Array | null {
    const phase = Math.floor(packetNumber / PACKETS_PER_KEY);
    if (phase === this.phase) return this.current;
    if (phase === this.phase + 1) return this.next;
    return phase === this.phase - 1 ? this.previous : null;
  }

  /** A packet of this number was authentic: moves on when it is of the next phase. */
  confirm(packetNumber: number): void {
    if (Math.floor(packetNumber / PACKETS_PER_KEY) <= this.phase) return;
    this.phase++;
    this.previous = this.current;
    this.current = this.next;
    this.next = this.after(this.current);
  }

  private after(key: Uint8Array): Uint8Array {
    return this.crypto.hkdf(key, EMPTY, latin1("smfs next key 1"), KEY_BYTES);
  }
}
