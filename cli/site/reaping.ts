/**
 * Drops dead segments of an open log beside everything else: a few at a time, so that removing large
 * files never holds up the operations of a mount for long.
 */
import { messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { type ReachedCheckpoint, Reaper } from "../../logfs/core/fs/reaper.ts";
import type { Log } from "../../logfs/core/log/log.ts";

export class Reaping {
  private readonly reaper: Reaper;
  private readonly logger: Logger;
  private readonly unsubscribe: () => void;
  private pending: NodeJS.Immediate | null = null;
  private dropped: () => void = () => {};

  /** `agreedSequence`: records up to here are durable at every copy of the log, as far as is known. */
  constructor(log: Log, agreedSequence: () => number, logger: Logger) {
    this.reaper = new Reaper(log, agreedSequence);
    this.logger = logger;
    this.unsubscribe = log.subscribe(() => this.handleProgress());
  }

  handleCheckpoint(reached: ReachedCheckpoint): void {
    this.reaper.handleCheckpoint(reached);
    this.handleProgress();
  }

  /** More may be durable somewhere than before. */
  handleProgress(): void {
    if (this.pending !== null || !this.reaper.isDue) return;
    this.pending = setImmediate(() => {
      this.pending = null;
      this.step();
      this.dropped();
      this.handleProgress();
    });
  }

  /** `listener` is called whenever some were dropped. */
  onDropped(listener: () => void): void {
    this.dropped = listener;
  }

  /** To be called before the log is closed. */
  close(): void {
    this.unsubscribe();
    if (this.pending !== null) clearImmediate(this.pending);
    this.pending = null;
  }

  private step(): void {
    try {
      this.reaper.step();
    } catch (error) {
      // The next opening finds the files again.
      this.logger.warn({ reason: messageOf(error) }, "dead segments cannot be removed");
    }
  }
}

/**
 * At a primary: durable here, and at its mirror. One that is configured keeps everything until it has
 * been heard of; a standalone store waits for one only while it follows.
 */
export function agreedAtPrimary(
  log: Pick<Log, "durableSequence">,
  session: { readonly state: string; readonly durableSequence: number } | null,
  { standalone }: { readonly standalone: boolean },
): number {
  if (session === null || (standalone && session.state !== "streaming")) return log.durableSequence;
  return Math.min(log.durableSequence, session.durableSequence);
}

/** At a mirror: durable here, and durable at the primary, as its records say. */
export function agreedAtMirror(log: Log): number {
  return Math.min(log.durableSequence, log.vouchedSequence);
}
