/** Key files: 32 random bytes in base64 on one line, readable by their owner only. */
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { KEY_BYTES } from "../core/credentials.ts";

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

/** The key in a file. Throws `SmfsError` CONFIG with what to do about it. */
export function readKeyFile(path: string): Uint8Array {
  const { text, mode } = readWithMode(path);
  if ((mode & NOT_OWNER) !== 0) {
    throw new SmfsError("CONFIG", `key_file ${path} can be read by others: run chmod 600 ${path}`);
  }
  const key = Buffer.from(text.trim(), "base64");
  if (key.length !== KEY_BYTES || key.toString("base64") !== text.trim()) {
    throw new SmfsError(
      "CONFIG",
      `key_file ${path} does not hold a key (32 bytes in base64, 44 characters): make one with smfs genkey`,
    );
  }
  return new Uint8Array(key);
}

/** One open file for both, so that the permissions are those of what is read. */
function readWithMode(path: string): { text: string; mode: number } {
  try {
    const file = openSync(path, "r");
    try {
      return { mode: fstatSync(file).mode, text: readFileSync(file, "latin1") };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new SmfsError("CONFIG", `key_file: cannot read ${path}: ${messageOf(error)}`, error);
  }
}
