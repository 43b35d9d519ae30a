/**
 * The one door to the C library, through koffi (its binary comes inside the package).
 *
 * `declare` gives a typed function for one libc call. Nothing is loaded before the first call, so
 * that a program that never mounts runs where there is no koffi and no glibc. A call that answers
 * −1 throws `SystemError` with the name of its errno; a platform without the call throws
 * `SmfsError` UNSUPPORTED. Structures that cross the border are codecs of `lib/codec.ts` in native
 * memory; those that several calls share are in `message.ts` and `sockaddr.ts`.
 */
import { createRequire } from "node:module";
import type { LibraryHandle } from "koffi";
import { ERRNO, type ErrnoName } from "../lib/errno.ts";
import { SmfsError, messageOf } from "../lib/errors.ts";

type Koffi = typeof import("koffi");
type Argument = number | bigint | string | Uint8Array | object | null;

interface Libc {
  readonly koffi: Koffi;
  readonly library: LibraryHandle;
}

/** A failed system call; `code` is the errno's name, as in Node's own errors. */
export class SystemError extends Error {
  override name = "SystemError";
  readonly code: ErrnoName | "UNKNOWN";
  readonly errno: number;
  readonly syscall: string;
  constructor(syscall: string, errno: number) {
    const code = errnoName(errno);
    super(`${syscall}: ${code === "UNKNOWN" ? `errno ${errno}` : code}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

const NAMES = new Map<number, ErrnoName>(
  Object.entries(ERRNO).map(([name, number]) => [number, name as ErrnoName]),
);

function errnoName(errno: number): ErrnoName | "UNKNOWN" {
  return NAMES.get(errno) ?? "UNKNOWN";
}

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  if (process.platform !== "linux") {
    throw new SmfsError("UNSUPPORTED", `this needs Linux; here is ${process.platform}`);
  }
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    libc = { koffi, library: koffi.load("libc.so.6") };
    return libc;
  } catch (error) {
    const what = "system calls need the koffi package and glibc (libc.so.6; not musl)";
    throw new SmfsError("UNSUPPORTED", `${what}: ${messageOf(error)}`, error);
  }
}

/** A libc function; the wrappers in this folder give each its argument types. */
type Call = (...args: Argument[]) => number;
type Native = Call & {
  async: (...args: [...Argument[], (error: unknown, result: number) => void]) => void;
};

function resolve(name: string, prototype: string): Native {
  try {
    return load().library.func(prototype);
  } catch (error) {
    if (error instanceof SmfsError) throw error;
    throw new SmfsError("UNSUPPORTED", `this C library has no ${name}`, error);
  }
}

/**
 * A libc function by its C prototype, resolved at the first call. Buffers are passed in place:
 * what the call writes into them is there when it returns.
 */
export function declare(name: string, prototype: string): Call {
  const call = declareRaw(name, prototype);
  return (...args) => {
    const result = call(...args);
    if (result < 0) throw new SystemError(name, lastErrno());
    return result;
  };
}

/** As `declare`, for calls where −1 is an expected answer: the caller looks at `lastErrno`. */
export function declareRaw(name: string, prototype: string): Call {
  let native: Native | undefined;
  return (...args) => {
    native ??= resolve(name, prototype);
    return native(...args);
  };
}

/**
 * A function of a library that the process has loaded already, by its C prototype: OpenSSL inside
 * Node. Throws `SmfsError` UNSUPPORTED when it is called and this Node does not show it.
 */
export function declareLoaded(prototype: string): (...args: Argument[]) => unknown {
  let native: Native | undefined;
  return (...args) => {
    native ??= resolveLoaded(prototype);
    return native(...args);
  };
}

function resolveLoaded(prototype: string): Native {
  const { koffi } = load();
  try {
    return koffi.load(null).func(prototype);
  } catch (error) {
    throw new SmfsError("UNSUPPORTED", `this Node does not show ${prototype}`, error);
  }
}

/** As `declare`, on a worker thread, for calls that wait. */
export function declareAsync(
  name: string,
  prototype: string,
): (...args: Argument[]) => Promise<number> {
  let native: Native | undefined;
  return (...args) => {
    native ??= resolve(name, prototype);
    const call = native;
    return new Promise((done, failed) => {
      call.async(...args, (error, result) => {
        if (error) failed(error);
        else if (result < 0) failed(new SystemError(name, lastErrno()));
        else done(result);
      });
    });
  };
}

/** errno of the last call that failed on this thread. */
export function lastErrno(): number {
  return load().koffi.errno();
}

/** Memory that system calls are told the address of. It stays where it is while `bytes` is held. */
export interface NativeMemory {
  readonly address: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Zeroed; given back by the collector when nobody holds it. */
export function nativeMemory(length: number): NativeMemory {
  // V8 neither moves nor pools what an ArrayBuffer of its own holds.
  const bytes = new Uint8Array(new ArrayBuffer(length));
  return { address: addressOf(bytes), bytes };
}

/** Where the first byte is, as long as somebody holds `bytes`. User addresses are below 2^53. */
export function addressOf(bytes: Uint8Array): number {
  return Number(load().koffi.address(bytes));
}
