/**
 * Sealed datagrams of one session: AES-256-GCM with the packet number as nonce and the header as
 * associated data, and the receiver's replay window, all of it once per epoch.
 *
 * Keys change between epochs (`key-update.ts` agrees on them). At any time there is the current
 * epoch, perhaps the one before, which only opens what was overtaken, and perhaps the next, which
 * only opens until a packet of it shows that the peer has its keys.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { CryptoPort } from "../../../lib/ports.ts";
import { EpochKeys } from "./epoch-keys.ts";
import type { Agreement } from "./handshake.ts";
import { DATAGRAM, PROTOCOL_VERSION, SEALED_OVERHEAD_BYTES, SealedHeader } from "./packets.ts";

const NONCE_BYTES = 12;
const EPOCHS_IN_HEADER = 2 ** 16;

export class SealedChannel {
  readonly crypto: CryptoPort;
  readonly agreement: Agreement;
  private current: EpochKeys;
  private previous: EpochKeys | null = null;
  private next: EpochKeys | null = null;
  private isErased = false;
  private readonly nonce = new Uint8Array(NONCE_BYTES);
  private readonly nonceView = viewOf(this.nonce);

  constructor(crypto: CryptoPort, agreement: Agreement) {
    this.crypto = crypto;
    this.agreement = agreement;
    this.current = new EpochKeys(0, agreement.keys.send, agreement.keys.receive);
  }

  get peerId(): number {
    return this.agreement.peerId;
  }

  /** Epoch of what is sealed now. */
  get epoch(): number {
    return this.current.epoch;
  }

  /** Packets that the keys of this epoch were used for, in the busier direction. */
  get epochPackets(): number {
    return this.current.packets;
  }

  /** The peer has sealed with the keys of this epoch. */
  get isEpochConfirmed(): boolean {
    return this.current.replay.highestMarked >= 0;
  }

  get hasPrevious(): boolean {
    return this.previous !== null;
  }

  /** Nothing can be sealed any more: the keys were used up before new ones were agreed on. */
  get isExhausted(): boolean {
    return this.current.isExhausted;
  }

  /** Seals `plain` into `out`, which has SEALED_OVERHEAD_BYTES more; the datagram's length. */
  seal(plain: Uint8Array, out: Uint8Array): number {
    assert(out.length >= plain.length + SEALED_OVERHEAD_BYTES, "the datagram buffer is too small");
    const { current } = this;
    const packetNumber = current.nextPacketNumber();
    SealedHeader.encode(viewOf(out), 0, {
      type: DATAGRAM.sealed,
      version: PROTOCOL_VERSION,
      epoch: current.epoch % EPOCHS_IN_HEADER,
      receiver: this.peerId,
      packetNumber,
    });
    const header = out.subarray(0, SealedHeader.size);
    const body = out.subarray(SealedHeader.size);
    const nonce = this.nonceOf(packetNumber);
    return SealedHeader.size + this.crypto.seal(current.sendKey, nonce, header, plain, body);
  }

  /** Length of the plain text in `out`; −1 for what is forged, replayed, or too old to tell. */
  open(datagram: Uint8Array, out: Uint8Array): number {
    if (datagram.length < SEALED_OVERHEAD_BYTES || this.isErased) return -1;
    const { epoch, packetNumber } = SealedHeader.decode(viewOf(datagram), 0);
    const keys = this.keysOf(epoch);
    if (keys === null || !keys.replay.isFresh(packetNumber)) return -1;
    const header = datagram.subarray(0, SealedHeader.size);
    const body = datagram.subarray(SealedHeader.size);
    const nonce = this.nonceOf(packetNumber);
    const length = this.crypto.open(keys.receiveKey, nonce, header, body, out);
    if (length < 0) return -1;
    keys.replay.mark(packetNumber);
    if (keys === this.next) this.advance();
    return length;
  }

  private keysOf(epochInHeader: number): EpochKeys | null {
    const { current, next, previous } = this;
    if (current.epoch % EPOCHS_IN_HEADER === epochInHeader) return current;
    if (next !== null && next.epoch % EPOCHS_IN_HEADER === epochInHeader) return next;
    const isPrevious = previous !== null && previous.epoch % EPOCHS_IN_HEADER === epochInHeader;
    return isPrevious ? previous : null;
  }

  private nonceOf(packetNumber: number): Uint8Array {
    this.nonceView.setUint32(0, packetNumber >>> 0, true);
    this.nonceView.setUint32(4, Math.floor(packetNumber / 2 ** 32), true);
    return this.nonce;
  }

  /** Packets of the next epoch open from here on; the first of them makes it the current one. */
  prepare(sendKey: Uint8Array, receiveKey: Uint8Array): void {
    assert(this.next === null, "one epoch is prepared at a time");
    this.next = new EpochKeys(this.epoch + 1, sendKey, receiveKey);
  }

  /** Seals with the keys of the next epoch from here on: the peer has them. */
  advance(): void {
    const { current, next } = this;
    assert(next !== null, "the next epoch was prepared");
    this.erasePrevious();
    current.eraseSendKey();
    this.previous = current;
    this.current = next;
    this.next = null;
  }

  /** What was sealed before the current epoch does not open any more. */
  erasePrevious(): void {
    this.previous?.erase();
    this.previous = null;
  }

  /** The session is over: nothing can be opened, and nothing may be sealed. */
  erase(): void {
    this.erasePrevious();
    this.next?.erase();
    this.next = null;
    this.current.erase();
    this.isErased = true;
    this.agreement.keys.root.fill(0);
  }
}
