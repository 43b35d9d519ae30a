/**
 * The right to look at a store's files while nobody changes them: the same flock(2) that a writer
 * takes (`store.ts`), on a descriptor that cannot write.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { SmfsError } from "../../lib/errors.ts";
import { tryLock } from "../../sys/lock.ts";

/**
 * Keeps writers out until the function that it gives is called. Throws `SmfsError` BUSY when one
 * is at work. A copy of a store without its lock file has no writer.
 */
export function keepWritersOut(directory: string): () => void {
  const path = join(directory, "lock");
  if (!existsSync(path)) return () => {};
  const fd = openSync(path, "r");
  const release = (): void => closeSync(fd);
  try {
    if (tryLock(fd)) return release;
  } catch (error) {
    if (error instanceof SmfsError && error.code === "UNSUPPORTED") return release;
    release();
    throw error;
  }
  release();
  throw new SmfsError("BUSY", `${directory} is open in another process`);
}
