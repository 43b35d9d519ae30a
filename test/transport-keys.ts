/** Two ends of a sealed channel that change keys, without senders and receivers around them. */
import { KeyUpdate } from "../gateway/core/transport/key-update.ts";
import {
  finish,
  handshakeSecrets,
  initiate,
  respond,
} from "../gateway/core/transport/handshake.ts";
import type { Credentials } from "../gateway/core/transport/credentials.ts";
import { INNER } from "../gateway/core/transport/packets.ts";
import { SealedChannel } from "../gateway/core/transport/sealed.ts";
import type { CryptoPort } from "../lib/ports.ts";

const NEVER = { rekeyPackets: Infinity, rekeyMicros: Infinity };

export class End {
  readonly channel: SealedChannel;
  readonly update: KeyUpdate;
  /** First bytes of the packets that were opened, those of key exchanges left out. */
  readonly opened: number[] = [];
  private readonly plain = new Uint8Array(64);
  private readonly out = new Uint8Array(128);

  constructor(channel: SealedChannel, limits = NEVER) {
    this.channel = channel;
    this.update = new KeyUpdate(channel, limits, 0);
  }

  seal(...plain: number[]): Uint8Array {
    return this.out.slice(0, this.channel.seal(Uint8Array.from(plain), this.out));
  }

  /** What the key exchange wants to send; null for nothing. */
  poll(nowMicros: number): Uint8Array | null {
    const length = this.update.poll(this.plain, nowMicros);
    return length === 0 ? null : this.seal(...this.plain.subarray(0, length));
  }

  /** False when it does not open. */
  take(datagram: Uint8Array, nowMicros: number): boolean {
    const plain = new Uint8Array(128);
    const length = this.channel.open(datagram, plain);
    if (length < 0) return false;
    this.update.noteOpened(nowMicros);
    const inner = plain.subarray(0, length);
    if (inner[0] === INNER.keyRequest) this.update.handleRequest(inner);
    else if (inner[0] === INNER.keyAnswer) this.update.handleAnswer(inner, nowMicros);
    else this.opened.push(inner[0] ?? 0);
    return true;
  }
}

/** The initiator's and the responder's end after a handshake. */
export function ends(
  crypto: CryptoPort,
  limits = NEVER,
  keys: readonly [Credentials, Credentials] = [new Uint8Array(32), new Uint8Array(32)],
): [End, End] {
  const [ours, theirs] = keys.map((key) => handshakeSecrets(crypto, key));
  if (ours === undefined || theirs === undefined) throw new Error("two keys");
  const initiation = initiate(crypto, ours, 1);
  const halfOpen = respond(crypto, theirs, initiation.datagram, 0);
  const finished = finish(crypto, ours, initiation, halfOpen.response);
  if (finished === null) throw new Error("the handshake failed");
  const initiator = new End(new SealedChannel(crypto, finished), limits);
  return [initiator, new End(new SealedChannel(crypto, halfOpen), limits)];
}

/** Keys of two peers who know each other. */
export function staticPair(crypto: CryptoPort): [Credentials, Credentials] {
  const [a, b] = [crypto.generateKeyPair(), crypto.generateKeyPair()];
  return [
    { privateKey: a.privateKey, peerPublicKey: b.publicKey },
    { privateKey: b.privateKey, peerPublicKey: a.publicKey },
  ];
}
