/** fallocate(2): disk space is taken before it is written to, so that a full disk shows early. */
import { declare } from "./libc.ts";

const call = declare("fallocate", "int fallocate(int fd, int mode, int64_t offset, int64_t len)");

/** Allocates `length` bytes from `offset` and grows the file over them. Throws ENOSPC, EOPNOTSUPP. */
export function fallocate(fd: number, offset: number, length: number): void {
  call(fd, 0, offset, length);
}
