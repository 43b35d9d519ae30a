/**
 * The handshake: one round trip, pre-shared key and ephemeral X25519 keys.
 *
 *   initiator → HandshakeInit      {id, time, ephemeral, mac by the pre-shared key}
 *   responder → HandshakeResponse  {both ids, ephemeral, mac over both datagrams}
 *   initiator → first sealed packet: confirms the keys; only then the responder's session counts
 *
 * Keys of each direction = HKDF(X25519 secret, salt = pre-shared key, info = transcript), so a
 * later theft of the pre-shared key opens no recorded traffic (forward secrecy), and without it
 * nobody joins. Functions give null for what does not verify and change nothing.
 */
import { EMPTY, concatBytes, latin1 } from "../../lib/bytes.ts";
import { viewOf } from "../../lib/codec.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { DATAGRAM, HandshakeInit, HandshakeResponse, PROTOCOL_VERSION } from "./packets.ts";

/** Bytes of the pre-shared key. */
export const KEY_BYTES = 32;

export interface HandshakeSecrets {
  readonly psk: Uint8Array;
  /** Authenticates handshake datagrams; derived, so that the key itself has one use. */
  readonly authentication: Uint8Array;
}

interface SessionKeys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
}

/** What a finished handshake gives either side. */
export interface Agreement {
  readonly ownId: number;
  readonly peerId: number;
  readonly keys: SessionKeys;
}

/** What the initiator learns. */
export interface Finished extends Agreement {
  /** The responder's id of the session that it had when it answered; 0 for none. */
  readonly heldId: number;
}

/** The responder's half: half-open until the initiator's first sealed packet verifies. */
export interface HalfOpen extends Agreement {
  readonly init: Uint8Array;
  readonly response: Uint8Array;
  readonly timestampMicros: number;
}

/** The initiator's half, until the response comes. The same datagram is sent again until then. */
export interface Initiation {
  readonly ownId: number;
  readonly privateKey: Uint8Array;
  readonly datagram: Uint8Array;
}

export function handshakeSecrets(crypto: CryptoPort, psk: Uint8Array): HandshakeSecrets {
  return { psk, authentication: crypto.hkdf(psk, EMPTY, latin1("smfs handshake 1"), KEY_BYTES) };
}

export function initiate(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  timestampMicros: number,
): Initiation {
  const { publicKey, privateKey } = crypto.generateKeyPair();
  const ownId = randomId(crypto);
  const datagram = new Uint8Array(HandshakeInit.size);
  HandshakeInit.encode(viewOf(datagram), 0, {
    type: DATAGRAM.init,
    version: PROTOCOL_VERSION,
    sender: ownId,
    timestampMicros,
    ephemeral: publicKey,
    mac: new Uint8Array(32),
  });
  const macAt = HandshakeInit.offsetOf("mac");
  datagram.set(crypto.hmac(secrets.authentication, datagram.subarray(0, macAt)), macAt);
  return { ownId, privateKey, datagram };
}

/** True when the sender of `init` has our key. */
export function initVerifies(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  init: Uint8Array,
): boolean {
  const macAt = HandshakeInit.offsetOf("mac");
  const mac = crypto.hmac(secrets.authentication, init.subarray(0, macAt));
  return equalInConstantTime(mac, init.subarray(macAt));
}

/** Answers an init that verifies; `heldId` is the id of the session that lives, 0 for none. */
export function respond(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  initDatagram: Uint8Array,
  heldId: number,
): HalfOpen {
  const init = initDatagram.slice();
  const { sender: peerId, ephemeral, timestampMicros } = HandshakeInit.decode(viewOf(init), 0);
  const { publicKey, privateKey } = crypto.generateKeyPair();
  const ownId = randomId(crypto);
  const response = new Uint8Array(HandshakeResponse.size);
  HandshakeResponse.encode(viewOf(response), 0, {
    type: DATAGRAM.response,
    version: PROTOCOL_VERSION,
    receiver: peerId,
    sender: ownId,
    held: heldId,
    ephemeral: publicKey,
    mac: new Uint8Array(32),
  });
  const macAt = HandshakeResponse.offsetOf("mac");
  response.set(responseMac(crypto, secrets, init, response), macAt);
  const shared = crypto.sharedSecret(privateKey, ephemeral);
  const [initiator, responder] = deriveKeys(crypto, secrets, shared, init, response);
  const keys = { send: responder, receive: initiator };
  return { ownId, peerId, keys, init, response, timestampMicros };
}

/** The initiator's end of the handshake; null when the response is not an authentic answer. */
export function finish(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  initiation: Initiation,
  response: Uint8Array,
): Finished | null {
  const { receiver, sender, held, ephemeral, mac } = HandshakeResponse.decode(viewOf(response), 0);
  if (receiver !== initiation.ownId) return null;
  const expected = responseMac(crypto, secrets, initiation.datagram, response);
  if (!equalInConstantTime(mac, expected)) return null;
  const shared = crypto.sharedSecret(initiation.privateKey, ephemeral);
  const [send, receive] = deriveKeys(crypto, secrets, shared, initiation.datagram, response);
  return { ownId: initiation.ownId, peerId: sender, heldId: held, keys: { send, receive } };
}

function responseMac(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  init: Uint8Array,
  response: Uint8Array,
): Uint8Array {
  const covered = response.subarray(0, HandshakeResponse.offsetOf("mac"));
  return crypto.hmac(secrets.authentication, concatBytes([init, covered]));
}

/** The key of the initiator's packets, then the key of the responder's. */
function deriveKeys(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  shared: Uint8Array,
  init: Uint8Array,
  response: Uint8Array,
): [Uint8Array, Uint8Array] {
  const transcript = crypto.hmac(secrets.authentication, concatBytes([init, response]));
  const info = concatBytes([latin1("smfs session 1"), transcript]);
  const both = crypto.hkdf(shared, secrets.psk, info, 2 * KEY_BYTES);
  return [both.slice(0, KEY_BYTES), both.slice(KEY_BYTES)];
}

/** Never 0, which stands for no session. */
function randomId(crypto: CryptoPort): number {
  return viewOf(crypto.randomBytes(4)).getUint32(0, true) || 1;
}

/** The time it takes tells nothing about where the two differ. */
function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}
