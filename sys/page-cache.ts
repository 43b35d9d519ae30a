/** posix_fadvise(2): what the kernel keeps of a file in memory. */
import { declare } from "./libc.ts";

const POSIX_FADV_DONTNEED = 4;

const fadvise = declare(
  "posix_fadvise",
  "int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)",
);

/** Drops a file's clean pages, so that the next read asks the file system again. */
export function dropCachedPages(fd: number): void {
  fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}
