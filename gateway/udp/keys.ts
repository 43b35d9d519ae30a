/**
 * Keys as people keep them: 32 bytes in base64 on one line. A pre-shared key and an X25519 private
 * key look the same (32 random bytes, RFC 7748 §5) and stand in files that only their owner may
 * read; public keys stand in the configuration.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { type Credentials, KEY_BYTES } from "../core/transport/credentials.ts";
import { nodeCrypto } from "./crypto.ts";

/** Permissions that group and others have. */
const NOT_OWNER = 0o077;

/** A new pre-shared key as it stands in a key file, 44 characters. */
export function generateKey(): string {
  return randomBytes(KEY_BYTES).toString("base64");
}

/** Makes a key file for its owner only. Throws `SmfsError` CONFIG; never replaces one. */
export function writeKeyFile(path: string): void {
  try {
    writeFileSync(path, `${generateKey()}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw new SmfsError("CONFIG", `key_file: cannot write ${path}: ${messageOf(error)}`, error);
  }
}

export type KeySource =
  | { readonly kind: "shared"; readonly file: string }
  | { readonly kind: "static"; readonly privateKeyFile: string; readonly publicKey: string };

export function isSameKey(a: KeySource, b: KeySource): boolean {
  if (a.kind === "shared") return b.kind === "shared" && a.file === b.file;
  if (b.kind === "shared") return false;
  return a.privateKeyFile === b.privateKeyFile && a.publicKey === b.publicKey;
}

/** Throws `SmfsError` CONFIG with what to do about it. */
export function readKeys(source: KeySource): Credentials {
  if (source.kind === "shared") return readKeyFile(source.file);
  const privateKey = readKeyFile(source.privateKeyFile, "private_key_file");
  const peerPublicKey = decodeKey(source.publicKey);
  if (peerPublicKey === null) throw new SmfsError("CONFIG", "public_key is not a key");
  if (equalBytes(nodeCrypto.publicKeyOf(privateKey), peerPublicKey)) {
    throw new SmfsError("CONFIG", "public_key is this site's own: write the other site's");
  }
  try {
    nodeCrypto.sharedSecret(privateKey, peerPublicKey);
  } catch (error) {
    throw new SmfsError("CONFIG", `public_key: ${messageOf(error)}`, error);
  }
  return { privateKey, peerPublicKey };
}

/** The public key of a private key, both in base64. Throws `SmfsError` USAGE. */
export function publicKeyOf(text: string): string {
  const privateKey = decodeKey(text.trim());
  if (privateKey === null) {
    throw new SmfsError("USAGE", "this is no private key (32 bytes in base64, 44 characters)");
  }
  return Buffer.from(nodeCrypto.publicKeyOf(privateKey)).toString("base64");
}

/** null for what is not 32 bytes in base64. */
function decodeKey(text: string): Uint8Array | null {
  const key = Buffer.from(text, "base64");
  return key.length === KEY_BYTES && key.toString("base64") === text ? new Uint8Array(key) : null;
}

/** The key in a file. Throws `SmfsError` CONFIG with what to do about it. */
export function readKeyFile(path: string, name = "key_file"): Uint8Array {
  const { text, mode } = readWithMode(path, name);
  if ((mode & NOT_OWNER) !== 0) {
    throw new SmfsError("CONFIG", `${name} ${path} can be read by others: run chmod 600 ${path}`);
  }
  const key = decodeKey(text.trim());
  if (key === null) {
    throw new SmfsError(
      "CONFIG",
      `${name} ${path} does not hold a key (32 bytes in base64, 44 characters): make one with smfs genkey`,
    );
  }
  return key;
}

/** One open file for both, so that the permissions are those of what is read. */
function readWithMode(path: string, name: string): { text: string; mode: number } {
  try {
    const file = openSync(path, "r");
    try {
      return { mode: fstatSync(file).mode, text: readFileSync(file, "latin1") };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new SmfsError("CONFIG", `${name}: cannot read ${path}: ${messageOf(error)}`, error);
  }
}
