/** How a section says what two sites know each other by: one key for both, or a pair for each. */
import { z } from "zod";
import { KEY_BYTES } from "../gateway/core/transport/credentials.ts";
import type { KeySource } from "../gateway/udp/keys.ts";

export const publicKeyForm = "the 44 characters that smfs pubkey prints at the other site";
/** 32 bytes in base64. */
export const publicKey = z.string().refine(isPublicKey, `must be ${publicKeyForm}`);

function isPublicKey(text: string): boolean {
  const bytes = Buffer.from(text, "base64");
  return bytes.length === KEY_BYTES && bytes.toString("base64") === text;
}

interface KeySection {
  readonly key_file?: string | undefined;
  readonly private_key_file?: string | undefined;
  readonly public_key?: string | undefined;
}

/** What is wrong with the keys of a section, and what to write; null for nothing. */
export function keyProblem(section: KeySection): string | null {
  const { key_file, private_key_file, public_key } = section;
  const isStatic = private_key_file !== undefined || public_key !== undefined;
  if (key_file !== undefined && isStatic) {
    return "write key_file, or private_key_file and public_key, but not both";
  }
  if (key_file !== undefined) return null;
  if (!isStatic) {
    return 'key_file is missing: write key_file = "/etc/smfs/key" (smfs genkey makes one)';
  }
  if (private_key_file === undefined) {
    return 'private_key_file is missing: write private_key_file = "/etc/smfs/private" (smfs genkey makes one)';
  }
  return public_key === undefined ? `public_key is missing: write ${publicKeyForm}` : null;
}

/** Of a section without a `keyProblem`. */
export function keySourceOf(section: KeySection): KeySource {
  const { key_file, private_key_file = "", public_key = "" } = section;
  return key_file === undefined
    ? { kind: "static", privateKeyFile: private_key_file, publicKey: public_key }
    : { kind: "shared", file: key_file };
}
