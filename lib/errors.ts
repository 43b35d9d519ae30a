/**
 * The two kinds of thrown failure that are not bugs:
 *
 * - `FsError`: what a file-system call answers (an errno). Hot paths throw it often (a lookup
 *   that finds nothing), so one shared instance per errno, without a stack, is thrown by `fail`.
 * - `SmfsError`: a failure at a boundary (disk, network, configuration, damaged bytes) with a
 *   stable `code` that programs may test, a message for people, and the `cause`.
 *
 * `toErrno` is the only place that turns any thrown value into an errno.
 */
import { ERRNO, type ErrnoName } from "./errno.ts";

export class FsError extends Error {
  override name = "FsError";
  readonly code: ErrnoName;
  constructor(code: ErrnoName, message: string = code) {
    super(message);
    this.code = code;
  }
}

const shared = new Map<ErrnoName, FsError>();

/** Throws the shared error of this errno. */
export function fail(code: ErrnoName): never {
  let error = shared.get(code);
  if (error === undefined) {
    error = new FsError(code);
    delete error.stack;
    shared.set(code, error);
  }
  throw error;
}

/** Stable codes of boundary failures, with the errno an application sees for each. */
const CODES = {
  /** Bytes that are not what they claim: checksum, magic, bounds, reserved bits. */
  DAMAGED: "EIO",
  /** Fewer bytes than the layout needs. */
  SHORT: "EIO",
  /** A format version newer than this program. */
  NEWER_VERSION: "EPROTO",
  /** The device said no to a read, write or sync. */
  IO: "EIO",
  NO_SPACE: "ENOSPC",
  /** This writer's epoch is older than one already seen (DESIGN, "fencing"). */
  FENCED: "EROFS",
  /** The peer follows another log, or another history of this log. */
  OTHER_HISTORY: "EPROTO",
  WRONG_KEY: "EACCES",
  UNREACHABLE: "EIO",
  TIMED_OUT: "ETIMEDOUT",
  BUSY: "EBUSY",
  CONFIG: "EINVAL",
  USAGE: "EINVAL",
  UNSUPPORTED: "EOPNOTSUPP",
  TOO_LARGE: "E2BIG",
  NOT_FOUND: "ENOENT",
  EXISTS: "EEXIST",
  /** The operating system does not let this user do it. */
  NOT_PERMITTED: "EPERM",
} as const satisfies Record<string, ErrnoName>;

export type ErrorCode = keyof typeof CODES;

export class SmfsError extends Error {
  override name = "SmfsError";
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The positive Linux errno for any thrown value; a bug in our code is EIO to the application. */
export function toErrno(error: unknown): number {
  if (error instanceof FsError) return ERRNO[error.code];
  if (error instanceof SmfsError) return ERRNO[CODES[error.code]];
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string" && code in ERRNO) return ERRNO[code as ErrnoName];
  return ERRNO.EIO;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
