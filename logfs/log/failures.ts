/** What the operating system says when it refuses, as `SmfsError`s: NO_SPACE or IO. */
import { messageOf, SmfsError } from "../../lib/errors.ts";

/** `call`, with what it throws told as a failure of `what`. */
export function guard<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asSmfsError(what, error);
  }
}

export function asSmfsError(what: string, error: unknown): SmfsError {
  if (error instanceof SmfsError) return error;
  const code = codeOf(error);
  if (code === "ENOSPC" || code === "EDQUOT") return noSpace(`${what}: no space left`, error);
  return new SmfsError("IO", `${what}: ${messageOf(error)}`, error);
}

export function noSpace(message: string, cause?: unknown): SmfsError {
  return new SmfsError("NO_SPACE", message, cause);
}

/** Node's errno name, or a code of ours. */
export function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}
