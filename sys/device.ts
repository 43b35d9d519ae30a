/**
 * Reading a character device that libuv cannot watch (/dev/fuse): `readNow` takes what is there
 * without waiting, `waitReadable` waits on a worker thread.
 */
import { ERRNO } from "../lib/errno.ts";
import { SystemError, declareAsync, declareRaw, lastErrno } from "./libc.ts";

const POLLIN = 1;

const read = declareRaw("read", "int64_t read(int fd, void *buffer, size_t length)");
const poll = declareAsync("poll", "int poll(void *fds, unsigned long count, int timeout)");

/** Bytes read into `buffer`; 0 when nothing is there now. The descriptor must be O_NONBLOCK. */
export function readNow(fd: number, buffer: Uint8Array): number {
  const length = read(fd, buffer, buffer.length);
  if (length >= 0) return length;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
  throw new SystemError("read", errno);
}

/** Waits until a read would not block (or would fail), at most `timeoutMillis`. */
export function waitReadable(fd: number): (timeoutMillis: number) => Promise<boolean> {
  const pollfd = Buffer.alloc(8); // struct pollfd: int fd; short events; short revents
  pollfd.writeInt32LE(fd, 0);
  pollfd.writeInt16LE(POLLIN, 4);
  return async (timeoutMillis) => (await poll(pollfd, 1, timeoutMillis)) > 0;
}
