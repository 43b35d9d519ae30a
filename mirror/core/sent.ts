/**
 * The frames of records handed to the link on this connection, oldest first, until the mirror has
 * acknowledged them: which stream offset each ends at, so that offsets can be told as sequences.
 * Bounded by the mirror's window.
 */
interface SentFrame {
  readonly lastSequence: number;
  /** Stream offset behind the frame. */
  readonly endOffset: number;
  readonly recordBytes: number;
  /** When the frame's first record was appended, wall clock. */
  readonly firstTimeMicros: number;
}

export class SentFrames {
  unacknowledgedBytes = 0;
  private frames: SentFrame[] = [];
  /** Frames before this index are acknowledged and only wait to be dropped. */
  private first = 0;
  private safeIndex = 0;
  private safeSequence = 0;

  push(frame: SentFrame): void {
    this.frames.push(frame);
    this.unacknowledgedBytes += frame.recordBytes;
  }

  /** When the oldest record that is not acknowledged was appended; undefined: none is outstanding. */
  get oldestTimeMicros(): number | undefined {
    return this.frames[this.first]?.firstTimeMicros;
  }

  /** The last sequence whose frame ends at or before `safeOffset`; 0 when none is known. */
  safeThrough(safeOffset: number): number {
    this.safeIndex = Math.max(this.safeIndex, this.first);
    let next = this.frames[this.safeIndex];
    while (next !== undefined && next.endOffset <= safeOffset) {
      this.safeSequence = next.lastSequence;
      next = this.frames[++this.safeIndex];
    }
    return this.safeSequence;
  }

  acknowledge(sequence: number): void {
    let next = this.frames[this.first];
    while (next !== undefined && next.lastSequence <= sequence) {
      this.unacknowledgedBytes -= next.recordBytes;
      next = this.frames[++this.first];
    }
    if (this.first < 1024) return;
    this.frames = this.frames.slice(this.first);
    this.safeIndex = Math.max(0, this.safeIndex - this.first);
    this.first = 0;
  }

  /** Where the frame that holds `sequence` ends; null when it was acknowledged or never sent. */
  endOffsetOf(sequence: number): number | null {
    let low = this.first;
    let high = this.frames.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.frames[middle]?.lastSequence ?? 0) < sequence) low = middle + 1;
      else high = middle;
    }
    return this.frames[low]?.endOffset ?? null;
  }

  clear(): void {
    this.frames = [];
    this.first = 0;
    this.safeIndex = 0;
    this.safeSequence = 0;
    this.unacknowledgedBytes = 0;
  }
}
