/**
 * When somebody waits for `safeOffset`: partial groups are flushed soon, and when the repairs of
 * all layers do not reach the target, copies follow on demand.
 *
 * A flush costs bandwidth, so it is bounded: after one that made n repairs there is none for 4 n
 * packet times, so flushes take a fifth of the line at most.
 */

/** A flush waits this long for more data to share its repairs, microseconds. */
const FLUSH_DELAY_MICROS = 500;
const FLUSH_SPACING = 4;

export class Hurry {
  private wanted = 0;
  private flushed = 0;
  private sinceMicros = Infinity;
  private notBeforeMicros = 0;
  private repairs = 0;
  private isFlushing = false;

  /** Somebody waits for `offset`. */
  want(offset: number): void {
    this.wanted = Math.max(this.wanted, offset);
  }

  get wantedOffset(): number {
    return this.wanted;
  }

  /** Starts the clock once everything that is waited for was sent, and stops it when all is safe. */
  update(sentOffset: number, safeOffset: number, nowMicros: number): void {
    const isWaiting = this.wanted > safeOffset && this.wanted > this.flushed;
    if (!isWaiting || sentOffset < this.wanted) this.sinceMicros = Infinity;
    else if (this.sinceMicros === Infinity) this.sinceMicros = nowMicros;
  }

  /** When the next flush is due; Infinity for never. */
  get flushMicros(): number {
    return Math.max(this.sinceMicros + FLUSH_DELAY_MICROS, this.notBeforeMicros);
  }

  noteFlush(throughOffset: number): void {
    this.flushed = throughOffset;
    this.sinceMicros = Infinity;
    this.repairs = 0;
    this.isFlushing = true;
  }

  noteRepair(): void {
    if (this.isFlushing) this.repairs++;
  }

  /** The code has no more repairs to give. */
  noteDrained(packetMicros: number, nowMicros: number): void {
    if (!this.isFlushing) return;
    this.isFlushing = false;
    this.notBeforeMicros = nowMicros + FLUSH_SPACING * this.repairs * packetMicros;
  }

  /** A packet was sent again: what was flushed before does not cover it. */
  noteResent(): void {
    this.flushed = 0;
  }

  /** All that is waited for has had its flush. */
  get isFlushed(): boolean {
    return this.flushed >= this.wanted && !this.isFlushing;
  }
}
