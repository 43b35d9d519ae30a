/**
 * Exit codes and how a command ends. `fsck` has those of fsck(8), `mirror status --check` those of
 * Nagios; all others: 0 done; 1 it ran and the answer is no (damage found, promise not
 * kept); 64 wrong usage (sysexits.h EX_USAGE); 69 something needed is not there; 70 a bug of ours;
 * 74 input or output failed; 77 no permission; 78 the configuration is wrong.
 */
import { type ErrorCode, messageOf, SmfsError } from "../lib/errors.ts";

export const EXIT = {
  done: 0,
  no: 1,
  usage: 64,
  unavailable: 69,
  bug: 70,
  io: 74,
  permission: 77,
  config: 78,
};

/** fsck(8): what scripts and init systems expect of a file-system check. */
export const FSCK_EXIT = {
  clean: 0,
  corrected: 1,
  /** Errors are left; those that could be corrected may have been. */
  uncorrected: 4,
  /** It could not be checked: it is not there, in use, or cannot be read. */
  failed: 8,
  usage: 16,
};

const CODE_OF: Record<ErrorCode, number> = {
  DAMAGED: EXIT.io,
  SHORT: EXIT.io,
  NEWER_VERSION: EXIT.unavailable,
  IO: EXIT.io,
  NO_SPACE: EXIT.io,
  FENCED: EXIT.no,
  OTHER_HISTORY: EXIT.no,
  WRONG_KEY: EXIT.no,
  UNREACHABLE: EXIT.unavailable,
  TIMED_OUT: EXIT.unavailable,
  BUSY: EXIT.unavailable,
  CONFIG: EXIT.config,
  USAGE: EXIT.usage,
  UNSUPPORTED: EXIT.unavailable,
  NOT_PERMITTED: EXIT.permission,
  TOO_LARGE: EXIT.usage,
  NOT_FOUND: EXIT.unavailable,
  EXISTS: EXIT.no,
};

/** Prints what went wrong in one sentence (with the stack only for a bug) and sets the exit code. */
export function reportFailure(error: unknown): void {
  if (error instanceof SmfsError) {
    process.stderr.write(`smfs: ${error.message}\n`);
    process.exitCode = CODE_OF[error.code];
    return;
  }
  if (isSystemError(error)) {
    process.stderr.write(`smfs: ${error.message}\n`);
    const forbidden = error.code === "EACCES" || error.code === "EPERM";
    process.exitCode = forbidden ? EXIT.permission : EXIT.io;
    return;
  }
  process.stderr.write(`smfs: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = EXIT.bug;
}

/** What Node throws for a system call that failed: no bug of ours, and its message says which file. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && "code" in error;
}

/** Reads the text of a flag; what is wrong with it is wrong usage, and names the flag. */
export function parseFlag<T>(flag: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    throw new SmfsError("USAGE", `${flag}: ${messageOf(error)}`, error);
  }
}
