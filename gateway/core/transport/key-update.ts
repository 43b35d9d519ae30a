/**
 * New keys for a session that lives: after an exchange of fresh X25519 keys inside the session,
 * both directions move to the next epoch. Streams, ids and `safeOffset` know nothing of it.
 *
 *   initiator → KeyExchange request {epoch, ephemeral}, again until answered
 *   responder → KeyExchange answer  {epoch, ephemeral}; from here it opens packets of the epoch
 *   initiator, having the answer, seals with the new keys; opens both
 *   responder, at the first packet of the epoch, seals with the new keys; opens both
 *
 * Each side erases the old keys KEY_OVERLAP_MICROS after the first packet of the new epoch, so that
 * reordered packets still open (RFC 9001 §6.5). A lost answer is given again for the request that
 * comes again. The initiator asks, whoever was busier: it sees the numbers of both directions.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { CryptoPort } from "../../../lib/ports.ts";
import { nextKeys } from "./epoch-keys.ts";
import { INNER, KeyExchange } from "./packets.ts";
import type { SealedChannel } from "./sealed.ts";

/** How long overtaken packets of the epoch before still open. */
export const KEY_OVERLAP_MICROS = 5_000_000;
/** An unanswered request is sent again. */
const RETRY_MICROS = 500_000;

export interface KeyLimits {
  /** New keys after so many packets in one direction … */
  readonly rekeyPackets: number;
  /** … or this long, microseconds. */
  readonly rekeyMicros: number;
}

interface Request {
  readonly epoch: number;
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
  sendMicros: number;
}

interface Answer {
  readonly epoch: number;
  readonly peerKey: Uint8Array;
  readonly publicKey: Uint8Array;
  isDue: boolean;
}

export class KeyUpdate {
  private readonly crypto: CryptoPort;
  private readonly channel: SealedChannel;
  private readonly limits: KeyLimits;
  private readonly isInitiator: boolean;
  private root: Uint8Array;
  private epochMicros: number;
  private request: Request | null = null;
  private answer: Answer | null = null;
  /** The last of which the peer has sealed a packet. */
  private confirmedEpoch = -1;
  /** When the old keys go; Infinity while there are none or the new ones are unconfirmed. */
  private eraseMicros = Infinity;

  constructor(channel: SealedChannel, limits: KeyLimits, nowMicros: number) {
    this.crypto = channel.crypto;
    this.channel = channel;
    this.limits = limits;
    this.isInitiator = channel.agreement.role === "initiator";
    this.root = channel.agreement.keys.root;
    this.epochMicros = nowMicros;
  }

  /** Call for each packet that was opened: it may be the first of an epoch. */
  noteOpened(nowMicros: number): void {
    const { channel } = this;
    if (channel.epoch === this.confirmedEpoch || !channel.isEpochConfirmed) return;
    this.confirmedEpoch = channel.epoch;
    this.answer = null;
    if (channel.hasPrevious) this.eraseMicros = nowMicros + KEY_OVERLAP_MICROS;
  }

  // ---- the initiator --------------------------------------------------------------------------

  private get hasUsedKeys(): boolean {
    return this.channel.epochPackets >= this.limits.rekeyPackets;
  }

  private get dueMicros(): number {
    if (!this.isInitiator || this.channel.hasPrevious) return Infinity;
    return this.hasUsedKeys ? -Infinity : this.epochMicros + this.limits.rekeyMicros;
  }

  private ask(nowMicros: number): void {
    const { publicKey, privateKey } = this.crypto.generateKeyPair();
    const epoch = this.channel.epoch + 1;
    this.request = { epoch, publicKey, privateKey, sendMicros: nowMicros };
  }

  /** Throws `SmfsError` DAMAGED. */
  handleAnswer(inner: Uint8Array, nowMicros: number): void {
    const { epoch, ephemeral } = decodeExchange(inner);
    const { request, channel } = this;
    if (request === null || request.epoch !== epoch) return;
    const secret = this.crypto.sharedSecret(request.privateKey, ephemeral);
    const { initiator, responder } = this.step(secret, epoch, request.publicKey, ephemeral);
    request.privateKey.fill(0);
    this.request = null;
    this.epochMicros = nowMicros;
    channel.prepare(initiator, responder);
    channel.advance();
  }

  // ---- the responder --------------------------------------------------------------------------

  /** Throws `SmfsError` DAMAGED. */
  handleRequest(inner: Uint8Array): void {
    const { epoch, ephemeral } = decodeExchange(inner);
    if (this.isInitiator) throw new SmfsError("DAMAGED", "a request for keys from the responder");
    const { answer } = this;
    if (answer !== null && answer.epoch === epoch) {
      if (!equalBytes(answer.peerKey, ephemeral)) {
        throw new SmfsError("DAMAGED", "two requests for the keys of one epoch");
      }
      answer.isDue = true;
    } else if (epoch === this.channel.epoch + 1 && answer === null) {
      this.makeAnswer(epoch, ephemeral);
    }
  }

  private makeAnswer(epoch: number, ephemeral: Uint8Array): void {
    const { publicKey, privateKey } = this.crypto.generateKeyPair();
    const secret = this.crypto.sharedSecret(privateKey, ephemeral);
    privateKey.fill(0);
    const { initiator, responder } = this.step(secret, epoch, ephemeral, publicKey);
    this.channel.prepare(responder, initiator);
    this.answer = { epoch, peerKey: ephemeral.slice(), publicKey, isDue: true };
  }

  // ---- both -----------------------------------------------------------------------------------

  private step(
    secret: Uint8Array,
    epoch: number,
    initiatorKey: Uint8Array,
    responderKey: Uint8Array,
  ): { initiator: Uint8Array; responder: Uint8Array } {
    const { root, crypto } = this;
    const keys = nextKeys(crypto, root, secret, epoch, initiatorKey, responderKey);
    secret.fill(0);
    root.fill(0);
    this.root = keys.root;
    return keys;
  }

  /** Writes a packet of the exchange when one is due; its length, or 0. */
  poll(out: Uint8Array, nowMicros: number): number {
    const { answer } = this;
    if (answer?.isDue === true) {
      answer.isDue = false;
      return encodeExchange(out, INNER.keyAnswer, answer.epoch, answer.publicKey);
    }
    if (this.request === null && this.dueMicros <= nowMicros) this.ask(nowMicros);
    const { request } = this;
    if (request === null || request.sendMicros > nowMicros) return 0;
    request.sendMicros = nowMicros + RETRY_MICROS;
    return encodeExchange(out, INNER.keyRequest, request.epoch, request.publicKey);
  }

  handleTimeout(nowMicros: number): void {
    if (nowMicros < this.eraseMicros) return;
    this.eraseMicros = Infinity;
    this.channel.erasePrevious();
  }

  nextTimeoutMicros(): number {
    const answerMicros = this.answer?.isDue === true ? -Infinity : Infinity;
    const askMicros = this.request === null ? this.dueMicros : this.request.sendMicros;
    return Math.min(answerMicros, askMicros, this.eraseMicros);
  }

  /** The session is over. */
  erase(): void {
    this.request?.privateKey.fill(0);
    this.root.fill(0);
    this.channel.erase();
  }
}

function decodeExchange(inner: Uint8Array): { epoch: number; ephemeral: Uint8Array } {
  if (inner.length !== KeyExchange.size) {
    throw new SmfsError("DAMAGED", "key exchange of a wrong length");
  }
  return KeyExchange.decode(viewOf(inner), 0);
}

function encodeExchange(
  out: Uint8Array,
  kind: number,
  epoch: number,
  ephemeral: Uint8Array,
): number {
  KeyExchange.encode(viewOf(out), 0, { kind, epoch, ephemeral });
  return KeyExchange.size;
}
