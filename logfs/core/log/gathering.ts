/**
 * When a sync is worth waiting for company: writers that were woken by one sync come back with
 * their next record within a fraction of the time that a sync takes. A sync begun for the first of
 * them makes all others wait for it and for the one after it. So the next waits until as many have
 * come as waited before, but no longer than a share of what a sync takes (as jbd2's and
 * PostgreSQL's group commit do).
 */

/** A sync that is faster is not worth a wait: timers are no finer than this. */
const WORTH_MICROS = 1000;
/** Of the last sync's time. */
const SHARE = 4;
const LONGEST_MICROS = 2000;

export class Gathering {
  private expected = 0;
  private until = 0;
  private startedMicros = 0;

  syncStarted(nowMicros: number): void {
    this.startedMicros = nowMicros;
  }

  /** `waiters`: those that the sync woke, and those that came meanwhile. */
  syncEnded(nowMicros: number, waiters: number): void {
    const took = nowMicros - this.startedMicros;
    const patience = took < WORTH_MICROS ? 0 : Math.min(took / SHARE, LONGEST_MICROS);
    this.expected = waiters;
    this.until = nowMicros + patience;
  }

  /**
   * When to sync for `waiters`: a time that has come already means now. `isComplete`: nothing that
   * they wait for is still to be written, and so left to the sync after this one.
   */
  due(waiters: number, isComplete: boolean): number {
    return waiters >= this.expected && isComplete ? 0 : this.until;
  }
}
