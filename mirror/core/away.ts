/**
 * Since when a mirror that is away has been missing something. It is known from the moment the
 * conversation with it broke off; before the first conversation nothing is known.
 */
export class Away {
  private completeSequence: number | null = null;
  private sinceMicros: number | null = null;

  /**
   * The conversation broke off at `headSequence`; `oldestMicros`: when the oldest record that the
   * mirror does not have was appended, undefined when it has all.
   */
  begin(headSequence: number, oldestMicros: number | undefined): void {
    this.completeSequence = headSequence;
    this.sinceMicros = oldestMicros ?? null;
  }

  /** The log has grown, or something else has happened. */
  note(headSequence: number, wallMicros: number): void {
    if (this.completeSequence === null || this.sinceMicros !== null) return;
    if (headSequence > this.completeSequence) this.sinceMicros = wallMicros;
  }

  /** Microseconds; 0 while it misses nothing, null when that is not known. */
  lagMicros(wallMicros: number): number | null {
    if (this.completeSequence === null) return null;
    return this.sinceMicros === null ? 0 : Math.max(0, wallMicros - this.sinceMicros);
  }
}
