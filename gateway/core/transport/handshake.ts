/**
 * The handshake: one round trip, ephemeral X25519 keys, and a secret that the two peers share: a
 * pre-shared key, or the X25519 secret of their static keys.
 *
 *   initiator → HandshakeInit      {id, time, key id, ephemeral, mac}
 *   responder → HandshakeResponse  {both ids, ephemeral, proof, mac over both datagrams}
 *   initiator → first sealed packet: confirms the keys; only then the responder's session counts
 *
 * With static keys this is the pattern KK of the Noise framework (§7.5): both know the other's
 * public key before, and ss, es, ee and se go into the keys; with a pre-shared key it is NNpsk0.
 * The macs need the shared secret only: a datagram of somebody else costs one HMAC and no X25519.
 * The proof needs all secrets, so that who stole one side's static key cannot play the other side.
 *
 * Session keys = HKDF(X25519 secrets, salt = shared secret, info = transcript), so a later theft
 * of the long-lived keys opens no recorded traffic (forward secrecy), and without them nobody
 * joins. Functions give null for what does not verify and change nothing.
 */
import { assert } from "../../../lib/assert.ts";
import { EMPTY, concatBytes, equalBytes, latin1 } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { CryptoPort } from "../../../lib/ports.ts";
import type { Credentials, StaticKeys } from "./credentials.ts";
import { KEY_BYTES } from "./credentials.ts";
import { DATAGRAM, HandshakeInit, HandshakeResponse, PROTOCOL_VERSION } from "./packets.ts";

const KEY_ID_BYTES = 16;
const PROOF_BYTES = 16;

export interface HandshakeSecrets {
  /** Known to both peers and nobody else. */
  readonly shared: Uint8Array;
  /** Authenticates handshake datagrams; derived, so that the secret itself has one use. */
  readonly authentication: Uint8Array;
  /** Names the pair in an init; tells nothing about the secret. */
  readonly keyId: Uint8Array;
  /** null with a pre-shared key. */
  readonly statics: StaticKeys | null;
}

interface SessionKeys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
  /** What the keys of the next epoch are derived from, together with new X25519 keys. */
  readonly root: Uint8Array;
}

/** What a finished handshake gives either side. */
export interface Agreement {
  readonly role: "initiator" | "responder";
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

/** Costs an X25519 with static keys: once per association. Throws `SmfsError` for an unusable key. */
export function handshakeSecrets(crypto: CryptoPort, key: Credentials): HandshakeSecrets {
  const statics = key instanceof Uint8Array ? null : key;
  const shared = key instanceof Uint8Array ? key : staticSecret(crypto, key);
  assert(shared.length === KEY_BYTES, `the key has ${KEY_BYTES} bytes`);
  return {
    shared,
    authentication: crypto.hkdf(shared, EMPTY, latin1("smfs handshake 1"), KEY_BYTES),
    keyId: crypto.hkdf(shared, EMPTY, latin1("smfs key id 1"), KEY_ID_BYTES),
    statics,
  };
}

/** Noise's ss, bound to the two public keys in an order that both sides know. */
function staticSecret(crypto: CryptoPort, { privateKey, peerPublicKey }: StaticKeys): Uint8Array {
  const secret = crypto.sharedSecret(privateKey, peerPublicKey);
  const pair = [crypto.publicKeyOf(privateKey), peerPublicKey].toSorted(compareBytes);
  return crypto.hkdf(secret, EMPTY, concatBytes([latin1("smfs static 1"), ...pair]), KEY_BYTES);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
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
    keyId: secrets.keyId,
    ephemeral: publicKey,
    mac: new Uint8Array(32),
  });
  const macAt = HandshakeInit.offsetOf("mac");
  datagram.set(crypto.hmac(secrets.authentication, datagram.subarray(0, macAt)), macAt);
  return { ownId, privateKey, datagram };
}

/** True when `init` names our pair of peers; cheaper than any cryptography. */
export function initNames({ keyId }: HandshakeSecrets, init: Uint8Array): boolean {
  if (init.length !== HandshakeInit.size) return false;
  const at = HandshakeInit.offsetOf("keyId");
  return equalBytes(init.subarray(at, at + KEY_ID_BYTES), keyId);
}

/** True when the sender of `init`, a whole one, has our key. */
export function initVerifies(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  init: Uint8Array,
): boolean {
  if (!initNames(secrets, init)) return false;
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
    proof: new Uint8Array(PROOF_BYTES),
    mac: new Uint8Array(32),
  });
  const exchanged = exchange(crypto, secrets, "responder", privateKey, ephemeral);
  privateKey.fill(0);
  const derived = derive(crypto, secrets, exchanged, init, response);
  response.set(derived.proof, HandshakeResponse.offsetOf("proof"));
  const macAt = HandshakeResponse.offsetOf("mac");
  response.set(responseMac(crypto, secrets, init, response), macAt);
  const keys = { send: derived.responder, receive: derived.initiator, root: derived.root };
  return { role: "responder", ownId, peerId, keys, init, response, timestampMicros };
}

/** The initiator's end of the handshake; null when the response is not an authentic answer. */
export function finish(
  crypto: CryptoPort,
  secrets: HandshakeSecrets,
  { ownId, privateKey, datagram: init }: Initiation,
  response: Uint8Array,
): Finished | null {
  if (response.length !== HandshakeResponse.size) return null;
  const fields = HandshakeResponse.decode(viewOf(response), 0);
  if (fields.receiver !== ownId) return null;
  const expected = responseMac(crypto, secrets, init, response);
  if (!equalInConstantTime(fields.mac, expected)) return null;
  const exchanged = exchange(crypto, secrets, "initiator", privateKey, fields.ephemeral);
  const derived = derive(crypto, secrets, exchanged, init, response);
  if (!equalInConstantTime(fields.proof, derived.proof)) return null;
  privateKey.fill(0);
  const keys = { send: derived.initiator, receive: derived.responder, root: derived.root };
  return { role: "initiator", ownId, peerId: fields.sender, heldId: fields.held, keys };
}

function responseMac(
  crypto: CryptoPort,
  { authentication }: HandshakeSecrets,
  init: Uint8Array,
  response: Uint8Array,
): Uint8Array {
  const covered = response.subarray(0, HandshakeResponse.offsetOf("mac"));
  return crypto.hmac(authentication, concatBytes([init, covered]));
}

/** Noise's ee, and with static keys es and se. */
function exchange(
  crypto: CryptoPort,
  { statics }: HandshakeSecrets,
  role: Agreement["role"],
  ephemeral: Uint8Array,
  peerEphemeral: Uint8Array,
): Uint8Array {
  const ee = crypto.sharedSecret(ephemeral, peerEphemeral);
  if (statics === null) return ee;
  const mine = crypto.sharedSecret(statics.privateKey, peerEphemeral);
  const theirs = crypto.sharedSecret(ephemeral, statics.peerPublicKey);
  return concatBytes(role === "initiator" ? [ee, theirs, mine] : [ee, mine, theirs]);
}

/** The key of each side's packets, the root of later ones, and the responder's proof. */
function derive(
  crypto: CryptoPort,
  { authentication, shared }: HandshakeSecrets,
  exchanged: Uint8Array,
  init: Uint8Array,
  response: Uint8Array,
) {
  const covered = response.subarray(0, HandshakeResponse.offsetOf("proof"));
  const transcript = crypto.hmac(authentication, concatBytes([init, covered]));
  const info = concatBytes([latin1("smfs session 1"), transcript]);
  const all = crypto.hkdf(exchanged, shared, info, 4 * KEY_BYTES);
  exchanged.fill(0);
  const key = (index: number): Uint8Array => all.slice(index * KEY_BYTES, (index + 1) * KEY_BYTES);
  const proof = crypto.hmac(key(3), transcript).subarray(0, PROOF_BYTES);
  return { initiator: key(0), responder: key(1), root: key(2), proof };
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
