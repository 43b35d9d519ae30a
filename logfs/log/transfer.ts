/**
 * Reads and writes of everything that was asked for: the kernel may take or give less at a time. And
 * the sync of a directory, which makes names durable.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  read,
  readSync,
  writeSync,
  writev,
  writevSync,
} from "node:fs";
import type { Done } from "../core/log/api.ts";

/** Linux's UIO_MAXIOV (include/uapi/linux/uio.h). */
const MAX_PARTS = 1024;
const COPY_BYTES = 2 ** 20;

export function writeAll(fd: number, offset: number, parts: readonly Uint8Array[], done: Done) {
  writev(fd, parts.slice(0, MAX_PARTS), offset, (error, count) => {
    if (error !== null) return done(error);
    const rest = behind(parts, count);
    if (rest.length === 0) return done(null);
    if (count === 0) return done(new Error("writev took nothing"));
    writeAll(fd, offset + count, rest, done);
  });
}

/** As `writeAll`, before it returns; throws Node's error. */
export function writeAllNow(fd: number, offset: number, parts: readonly Uint8Array[]): void {
  let rest = [...parts];
  for (let at = offset; rest.length > 0; ) {
    const count = writevSync(fd, rest.slice(0, MAX_PARTS), at);
    if (count === 0) throw new Error("writev took nothing");
    at += count;
    rest = behind(rest, count);
  }
}

/** As `writeAllNow`, of one run of bytes. */
export function writeBytesNow(fd: number, offset: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
  }
}

/** The first `length` bytes of one file, or all when it has fewer, into another. Throws Node's error. */
export function copyBytes(from: number, to: number, length: number): void {
  const piece = new Uint8Array(Math.min(length, COPY_BYTES));
  for (let at = 0; at < length; ) {
    const count = readSync(from, piece, 0, Math.min(piece.length, length - at), at);
    if (count === 0) return;
    writeBytesNow(to, at, piece.subarray(0, count));
    at += count;
  }
}

/** What was made, renamed or removed in the directory is durable when this returns. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function behind(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  let left = count;
  let index = 0;
  for (const part of parts) {
    if (left < part.length) break;
    left -= part.length;
    index++;
  }
  const [first, ...rest] = parts.slice(index);
  return first === undefined ? [] : [first.subarray(left), ...rest];
}

/** Fills `target`; calls back with fewer bytes at the end of the file. */
export function readAll(
  fd: number,
  offset: number,
  target: Uint8Array,
  done: (error: Error | null, got: number) => void,
): void {
  const next = (got: number): void => {
    read(fd, target, got, target.length - got, offset + got, (error, count) => {
      if (error !== null) return done(error, got);
      const total = got + count;
      if (count === 0 || total === target.length) return done(null, total);
      next(total);
    });
  };
  next(0);
}
