/**
 * Drops dead segments of an open log beside everything else: a few at a time, so that removing large
 * files never holds up the operations of a mount for long.
 */
import { SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { type ReachedCheckpoint, Reaper } from "../../logfs/core/fs/reaper.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import type { Log } from "../../logfs/core/log/log.ts";

export class Reaping {
  private readonly reaper: Reaper;
  private readonly logger: Logger;
  private readonly unsubscribe: () => void;
  private pending: NodeJS.Immediate | null = null;
  private readonly listeners: (() => void)[] = [];

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
      for (const listener of this.listeners) listener();
      this.handleProgress();
    });
  }

  /** `listener` is called whenever some were dropped. */
  onDropped(listener: () => void): void {
    this.listeners.push(listener);
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
      if (!(error instanceof SmfsError)) throw error;
      // The next opening finds the files again.
      this.logger.warn({ reason: error.message }, "dead segments cannot be removed");
    }
  }
}

interface MirrorProgress {
  readonly state: string;
  readonly durableSequence: number;
}

/** Drops what is dead at both sites, and lets the mirror know that it may. `session` null: there is none. */
export function reapAtPrimary(
  log: Log,
  session: MirrorProgress | null,
  registry: { readonly standalone: boolean },
  logger: Logger,
): Reaping {
  const reaping = new Reaping(log, () => agreedAtPrimary(log, session, registry), logger);
  if (session === null) return reaping;
  const notice = new DropNotice(log);
  reaping.onDropped(() => notice.send());
  return reaping;
}

/**
 * At a primary: durable here, and at its mirror. One that is configured keeps everything until it has
 * been heard of; a standalone store waits for one only while it follows.
 */
export function agreedAtPrimary(
  log: Pick<Log, "durableSequence">,
  session: MirrorProgress | null,
  { standalone }: { readonly standalone: boolean },
): number {
  if (session === null || (standalone && session.state !== "streaming")) return log.durableSequence;
  return Math.min(log.durableSequence, session.durableSequence);
}

/**
 * A mirror drops what its primary has dropped when a record tells it that the primary's checkpoint is
 * durable there. When nothing else is written, a heartbeat does. To be called after drops.
 */
class DropNotice {
  private readonly log: Log;
  private announced = 0;

  constructor(log: Log) {
    this.log = log;
  }

  send(): void {
    const { segmentsDropped } = this.log.statistics;
    if (segmentsDropped === this.announced) return;
    this.announced = segmentsDropped;
    try {
      this.log.append(KIND.heartbeat, 0, [], () => {});
    } catch (error) {
      // Fenced, full or failed: whatever is written next tells the mirror as well.
      if (!(error instanceof SmfsError)) throw error;
    }
  }
}

/** At a mirror: durable here, and durable at the primary, as its records say. */
export function agreedAtMirror(log: Log): number {
  return Math.min(log.durableSequence, log.vouchedSequence);
}
