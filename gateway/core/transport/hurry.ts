/**
 * When somebody waits for `safeOffset`: partial groups are flushed as soon as everything that is
 * waited for was sent.
 *
 * A flush costs bandwidth, so it is bounded: after one that made n repairs there is none for 4 n
 * packet times. Flushes take a fifth of the line at most, and under load messages share one.
 */
const FLUSH_SPACING = 4;

export class Hurry {
  private wanted = 0;
  private flushed = 0;
  private isDue = false;
  private notBeforeMicros = 0;
  private repairs = 0;
  /** The repairs of a flush are on their way out. */
  isFlushing = false;

  /** Somebody waits for `offset`. */
  want(offset: number): void {
    this.wanted = Math.max(this.wanted, offset);
  }

  get wantedOffset(): number {
    return this.wanted;
  }

  update(sentOffset: number, safeOffset: number): void {
    const isWaiting = this.wanted > safeOffset && this.wanted > this.flushed;
    this.isDue = isWaiting && sentOffset >= this.wanted;
  }

  /** When the next flush is due; Infinity for never. */
  get flushMicros(): number {
    return this.isDue ? this.notBeforeMicros : Infinity;
  }

  noteFlush(throughOffset: number): void {
    this.flushed = throughOffset;
    this.isDue = false;
    this.repairs = 0;
    this.isFlushing = true;
  }

  noteRepair(): void {
    if (this.isFlushing) this.repairs++;
  }

  /** The code has no more repairs to give. */
  noteDrained(packetMicros: number, nowMicros: number): void {
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
