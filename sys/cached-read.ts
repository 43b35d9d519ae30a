/** preadv2(2): reading a file as far as that takes no waiting for a disk. */
import { viewOf } from "../lib/codec.ts";
import { ERRNO } from "../lib/errno.ts";
import {
  addressOf,
  declareRaw,
  lastErrno,
  type NativeMemory,
  nativeMemory,
  SystemError,
} from "./libc.ts";
import { Iovec } from "./message.ts";

/** include/uapi/linux/fs.h */
const RWF_NOWAIT = 8;

const preadv2 = declareRaw(
  "preadv2",
  "int64_t preadv2(int fd, uintptr_t vector, int count, int64_t offset, int flags)",
);

/** The one iovec that every call fills in anew: calls do not overlap. */
let vector: (NativeMemory & { readonly view: DataView }) | undefined;

function vectorOf(target: Uint8Array): number {
  if (vector === undefined) {
    const memory = nativeMemory(Iovec.size);
    vector = { ...memory, view: viewOf(memory.bytes) };
  }
  Iovec.encode(vector.view, 0, { base: addressOf(target), length: target.length });
  return vector.address;
}

/**
 * Bytes that the kernel has in memory, read into `target`; fewer than asked for (0 too) where it
 * would have to wait. Throws `SystemError` EOPNOTSUPP for a file system that cannot tell, `SmfsError`
 * UNSUPPORTED where there is no such call.
 */
export function readCached(fd: number, offset: number, target: Uint8Array): number {
  const count = preadv2(fd, vectorOf(target), 1, offset, RWF_NOWAIT);
  if (count >= 0) return count;
  const errno = lastErrno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
  throw new SystemError("preadv2", errno);
}
