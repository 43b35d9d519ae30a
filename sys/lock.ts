/** flock(2): one process at a time owns a store. The kernel lets go when the process dies. */
import { SystemError, declare } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = declare("flock", "int flock(int fd, int operation)");

/** Takes the exclusive lock of the open file, without waiting; false when another has it. */
export function tryLock(fd: number): boolean {
  try {
    flock(fd, LOCK_EX | LOCK_NB);
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === "EAGAIN") return false;
    throw error;
  }
}
