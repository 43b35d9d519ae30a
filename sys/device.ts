/**
 * Reading and writing character devices that libuv cannot watch (/dev/fuse, /dev/net/tun): what is
 * there is taken without waiting, and `readinessOf` waits on a worker thread. `…InPlace` are for
 * threads that do nothing else: they take an address, so that no view is made for a packet.
 */
import { assert } from "../lib/assert.ts";
import { ERRNO } from "../lib/errno.ts";
import {
  declare,
  declareAsync,
  declareRaw,
  lastErrno,
  type NativeMemory,
  SystemError,
} from "./libc.ts";

const POLLIN = 1;
/** Commands and flag of include/uapi/asm-generic/fcntl.h. */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

const read = declareRaw("read", "int64_t read(int fd, void *buffer, size_t length)");
const readAt = declareRaw("read", "int64_t read(int fd, uintptr_t address, size_t length)");
const writeAt = declareRaw("write", "int64_t write(int fd, uintptr_t address, size_t length)");
const fcntl = declare("fcntl", "int fcntl(int fd, int command, ...)");
const poll = declareAsync("poll", "int poll(void *fds, unsigned long count, int timeout)");

/** Bytes read into `buffer`; 0 when nothing is there now. The descriptor must be O_NONBLOCK. */
export function readNow(fd: number, buffer: Uint8Array): number {
  const length = read(fd, buffer, buffer.length);
  if (length >= 0) return length;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
  throw new SystemError("read", errno);
}

/** Gives a function that waits until a read would not block, at most `timeoutMillis`. */
export function readinessOf(fd: number): (timeoutMillis: number) => Promise<unknown> {
  const pollfd = Buffer.alloc(8); // struct pollfd (poll.h): int fd, short events, short revents
  pollfd.writeInt32LE(fd, 0);
  pollfd.writeInt16LE(POLLIN, 4);
  return (timeoutMillis) => poll(pollfd, 1, timeoutMillis);
}

/** As `readNow`, into `memory` from `offset`. */
export function readInPlace(
  fd: number,
  memory: NativeMemory,
  offset: number,
  room: number,
): number {
  assert(offset >= 0 && offset + room <= memory.bytes.length, "reads stay inside their memory");
  const length = readAt(fd, memory.address + offset, room);
  if (length >= 0) return length;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
  throw new SystemError("read", errno);
}

/** Writes all at once or nothing: 0, or the errno. */
export function writeInPlace(
  fd: number,
  memory: NativeMemory,
  offset: number,
  length: number,
): number {
  assert(offset >= 0 && offset + length <= memory.bytes.length, "writes stay inside their memory");
  return writeAt(fd, memory.address + offset, length) < 0 ? lastErrno() : 0;
}

export function setNonBlocking(fd: number): void {
  fcntl(fd, F_SETFL, "int", fcntl(fd, F_GETFL) | O_NONBLOCK);
}
