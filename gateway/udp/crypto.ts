/** `CryptoPort` by node:crypto: X25519, HMAC and HKDF with SHA-256, AES-256-GCM. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { SmfsError } from "../../lib/errors.ts";
import type { CryptoPort } from "../../lib/ports.ts";

const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;
const CIPHER_OPTIONS = { authTagLength: TAG_BYTES };
const RAW_KEY_BYTES = 32;
/** DER of SubjectPublicKeyInfo and PKCS#8 up to the raw key (RFC 8410 §4 and §7). */
const PUBLIC_PREFIX = Buffer.from("302a300506032b656e032100", "hex");
const PRIVATE_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex");

/** Importing a key costs a tenth of sealing a packet, and a session uses few. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>();

function keyObjectOf(key: Uint8Array): KeyObject {
  let object = keyObjects.get(key);
  if (object === undefined) {
    object = createSecretKey(key);
    keyObjects.set(key, object);
  }
  return object;
}

function importPrivateKey(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([PRIVATE_PREFIX, raw]);
  return createPrivateKey({ key, type: "pkcs8", format: "der" });
}

export const nodeCrypto: CryptoPort = {
  randomBytes: (length) => randomBytes(length),

  generateKeyPair() {
    const { publicKey, privateKey } = generateKeyPairSync("x25519");
    return {
      publicKey: publicKey.export({ type: "spki", format: "der" }).subarray(-RAW_KEY_BYTES),
      privateKey: privateKey.export({ type: "pkcs8", format: "der" }).subarray(-RAW_KEY_BYTES),
    };
  },

  publicKeyOf(privateKey) {
    const publicKey = createPublicKey(importPrivateKey(privateKey));
    return publicKey.export({ type: "spki", format: "der" }).subarray(-RAW_KEY_BYTES);
  },

  sharedSecret(privateKey, peerPublicKey) {
    try {
      return diffieHellman({
        privateKey: importPrivateKey(privateKey),
        publicKey: createPublicKey({
          key: Buffer.concat([PUBLIC_PREFIX, peerPublicKey]),
          type: "spki",
          format: "der",
        }),
      });
    } catch (cause) {
      // OpenSSL refuses points of low order, whose secret is zero (RFC 7748 §6.1).
      throw new SmfsError("DAMAGED", "the peer's X25519 key is not usable", cause);
    }
  },

  hmac: (key, message) => createHmac("sha256", key).update(message).digest(),

  hkdf: (secret, salt, info, length) =>
    new Uint8Array(hkdfSync("sha256", secret, salt, info, length)),

  seal(key, nonce, associated, plain, out) {
    const cipher = createCipheriv(CIPHER, keyObjectOf(key), nonce, CIPHER_OPTIONS);
    cipher.setAAD(associated);
    out.set(cipher.update(plain));
    cipher.final();
    out.set(cipher.getAuthTag(), plain.length);
    return plain.length + TAG_BYTES;
  },

  open(key, nonce, associated, sealed, out) {
    const length = sealed.length - TAG_BYTES;
    if (length < 0) return -1;
    const decipher = createDecipheriv(CIPHER, keyObjectOf(key), nonce, CIPHER_OPTIONS);
    decipher.setAAD(associated);
    decipher.setAuthTag(sealed.subarray(length));
    const plain = decipher.update(sealed.subarray(0, length));
    try {
      decipher.final();
    } catch (error) {
      if (error instanceof Error) return -1;
      throw error;
    }
    out.set(plain);
    return length;
  },
};
