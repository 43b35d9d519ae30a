/**
 * INIT: version and features. What is used of the kernel's offer, and why:
 *
 * - MAX_PAGES and BIG_WRITES: requests of 1 MiB instead of 128 KiB.
 * - HANDLE_KILLPRIV_V2: the file system clears set-id bits itself, so the kernel does not ask for
 *   `security.capability` before every write.
 * - ATOMIC_O_TRUNC, NO_OPENDIR_SUPPORT: fewer requests for open.
 * - READDIRPLUS_AUTO: attributes come with a listing when the reader looks at them.
 * - EXPLICIT_INVAL_DATA or AUTO_INVAL_DATA: see `Caching.data`.
 *
 * Not used: WRITEBACK_CACHE, which would merge writes and lose their O_SYNC and O_DSYNC;
 * POSIX_LOCKS and FLOCK_LOCKS, because the kernel's own locks serve one machine well; POSIX_ACL.
 */
import { FsError } from "../../../../lib/errors.ts";
import {
  INIT_FLAGS,
  InitIn,
  InitOut,
  KERNEL_MAJOR,
  MAX_IO_BYTES,
  NEWEST_MINOR,
  OLDEST_MINOR,
  PAGE_BYTES,
} from "../abi.ts";
import { operation, type Caching } from "../context.ts";

/** Readahead and asynchronous direct I/O in flight, and where the kernel begins to hold back. */
const MAX_BACKGROUND = 64;
const CONGESTION_THRESHOLD = 48;

export const init = operation<{ minor: number; flags: number; maxReadahead: number }>({
  run(context, request) {
    const offer = request.take(InitIn);
    if (offer.major < KERNEL_MAJOR || (offer.major === KERNEL_MAJOR && offer.minor < OLDEST_MINOR))
      throw new FsError("EPROTO", `FUSE ${offer.major}.${offer.minor}; 7.31 (Linux 5.4) is needed`);
    // A newer major repeats its INIT with the number answered here (fuse.h, "Protocol changelog").
    const minor = offer.major > KERNEL_MAJOR ? NEWEST_MINOR : Math.min(offer.minor, NEWEST_MINOR);
    const flags = (offer.flags & wanted(context.caching)) >>> 0;
    Object.assign(context.connection, { minor, flags });
    return { minor, flags, maxReadahead: MAX_IO_BYTES };
  },
  encode(_context, reply, { minor, flags, maxReadahead }) {
    reply.put(InitOut, {
      major: KERNEL_MAJOR,
      minor,
      maxReadahead,
      flags,
      maxBackground: MAX_BACKGROUND,
      congestionThreshold: CONGESTION_THRESHOLD,
      maxWrite: MAX_IO_BYTES,
      timeGranularity: 1,
      maxPages: MAX_IO_BYTES / PAGE_BYTES,
      mapAlignment: 0,
      flags2: 0,
    });
  },
});

function wanted(caching: Caching): number {
  const f = INIT_FLAGS;
  const data = caching.data === "kept" ? f.EXPLICIT_INVAL_DATA : f.AUTO_INVAL_DATA;
  const sizes = f.BIG_WRITES | f.MAX_PAGES | f.ASYNC_READ | f.ASYNC_DIO;
  const names = f.DO_READDIRPLUS | f.READDIRPLUS_AUTO | f.PARALLEL_DIROPS | f.EXPORT_SUPPORT;
  const fewer = f.ATOMIC_O_TRUNC | f.NO_OPENDIR_SUPPORT | f.HANDLE_KILLPRIV_V2 | f.CACHE_SYMLINKS;
  return data | sizes | names | fewer;
}

/** The file system is being unmounted; the session ends when the device does. */
export const destroy = operation<void>({ run: () => undefined });
