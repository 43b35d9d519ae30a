/** A burst waits for the disk when too much of it is in memory only. */
import type { Log } from "../../log/log.ts";

/** Appended and not yet written. */
const BACKLOG_BYTES = 8 * 2 ** 20;

type BacklogLog = Pick<Log, "unwrittenBytes" | "head" | "whenWritten">;

/** Resolves at once when there is little. Rejects with the log's failure. */
export async function writtenWhenBehind(log: BacklogLog): Promise<void> {
  if (log.unwrittenBytes <= BACKLOG_BYTES) return;
  await new Promise<void>((resolve, reject) => {
    log.whenWritten(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
  });
}
