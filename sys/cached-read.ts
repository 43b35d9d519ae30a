/** preadv2(2): reading a file as far as that takes no waiting for a disk. */
import { ERRNO } from "../lib/errno.ts";
import { SystemError, declareRaw, lastErrno } from "./libc.ts";

/** include/uapi/linux/fs.h */
const RWF_NOWAIT = 8;

const preadv2 = declareRaw(
  "preadv2",
  "int64_t preadv2(int fd, const iovec *vector, int count, int64_t offset, int flags)",
);

/**
 * Bytes that the kernel has in memory, read into `target`; fewer than asked for (0 too) where it
 * would have to wait. Throws `SystemError` EOPNOTSUPP for a file system that cannot tell, `SmfsError`
 * UNSUPPORTED where there is no such call.
 */
export function readCached(fd: number, offset: number, target: Uint8Array): number {
  const vector = [{ iov_base: target, iov_len: target.length }];
  const count = preadv2(fd, vector, 1, offset, RWF_NOWAIT);
  if (count >= 0) return count;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
  throw new SystemError("preadv2", errno);
}
