/**
 * Which namespaces an emulated path is in, and which of them it made: a file a namespace in
 * `DIRECTORY`, locked while its owner lives. The kernel lets go of the lock of a killed process;
 * the file then still says what there is to clean up.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { tryLock } from "../../sys/lock.ts";

const DIRECTORY = "/run/smfs/netem";
/** Opening, locking and finding that the last owner has unlinked the file: then again. */
const MAX_TRIES = 100;

export interface ClaimRecord {
  readonly pid: number;
  /** The namespace at the other end. */
  readonly other: string;
  /** The namespace is there because of this path, and goes with it. */
  readonly isMade: boolean;
}

/** Namespaces that somebody claims, or did and was killed. */
export function claimedNamespaces(): string[] {
  try {
    return readdirSync(DIRECTORY).toSorted();
  } catch (error) {
    if (/ENOENT/.test(messageOf(error))) return [];
    throw error;
  }
}

/** What the file says; null without a file, or one that its owner had no time to write. */
export function readRecord(namespace: string): ClaimRecord | null {
  try {
    return parseRecord(readFileSync(`${DIRECTORY}/${namespace}`, "utf8"));
  } catch (error) {
    if (/ENOENT/.test(messageOf(error))) return null;
    throw error;
  }
}

function parseRecord(text: string): ClaimRecord | null {
  try {
    const { pid, other, isMade } = JSON.parse(text) as Record<string, unknown>;
    const isWhole =
      typeof pid === "number" && typeof other === "string" && typeof isMade === "boolean";
    return isWhole ? { pid, other, isMade } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export class Claim {
  /** What an owner that was killed has left; null when there is nothing. */
  readonly left: ClaimRecord | null;
  private readonly path: string;
  private readonly fd: number;

  /** Use `takeClaim`. */
  constructor(path: string, fd: number, left: ClaimRecord | null) {
    this.path = path;
    this.fd = fd;
    this.left = left;
  }

  write(record: ClaimRecord): void {
    ftruncateSync(this.fd);
    writeSync(this.fd, `${JSON.stringify(record)}\n`, 0);
  }

  /** When nothing is left to clean up. */
  release(): void {
    unlinkSync(this.path);
    closeSync(this.fd);
  }
}

/** Null while another process has it. Throws `SmfsError` NOT_PERMITTED. */
export function takeClaim(namespace: string): Claim | null {
  const path = `${DIRECTORY}/${namespace}`;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const fd = openClaim(path);
    if (!tryLock(fd)) {
      closeSync(fd);
      return null;
    }
    if (isStillThere(path, fd)) return new Claim(path, fd, readRecord(namespace));
    closeSync(fd);
  }
  return null;
}

function openClaim(path: string): number {
  try {
    mkdirSync(DIRECTORY, { recursive: true });
    return openSync(path, "a+", 0o644);
  } catch (error) {
    throw new SmfsError(
      "NOT_PERMITTED",
      `emulating a path between namespaces needs root (it makes them, and TUN devices in them): ${messageOf(error)}`,
      error,
    );
  }
}

/** Not unlinked between opening and locking. */
function isStillThere(path: string, fd: number): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino;
  } catch (error) {
    if (/ENOENT/.test(messageOf(error))) return false;
    throw error;
  }
}
