/**
 * Whether cleaning gets anywhere: what the rounds of one run have gained less what they cost, and the
 * most that it ever was. On a full store a round may free what the next one costs, in turns, for ever;
 * so a round has gained only when more is free than ever since the run began.
 */
export class Balance {
  private bytes = 0;
  private best = 0;

  begin(): void {
    this.bytes = 0;
    this.best = 0;
  }

  /** True when the round gained. */
  note(freedBytes: number, costBytes: number): boolean {
    this.bytes += freedBytes - costBytes;
    if (this.bytes <= this.best) return false;
    this.best = this.bytes;
    return true;
  }
}
