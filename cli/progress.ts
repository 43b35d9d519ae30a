/** One line on a terminal that says how far a long job is; nothing where nobody looks. */

const SHOW_MILLIS = 250;
/** Before that the rate says nothing about the end. */
const ESTIMATE_MILLIS = 2000;

export class ProgressLine {
  private readonly startedMillis = Date.now();
  private shownMillis = 0;
  private isShown = false;

  /** `share` of the whole: 0 … 1. `text` is made when it is shown. */
  show(share: number, text: () => string): void {
    const now = Date.now();
    if (!process.stderr.isTTY || now - this.shownMillis < SHOW_MILLIS) return;
    this.shownMillis = now;
    this.isShown = true;
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    process.stderr.write(`\r\x1b[K${percent}  ${text()}${this.estimate(share, now)}`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.isShown) process.stderr.write("\r\x1b[K");
    this.isShown = false;
  }

  get elapsedSeconds(): number {
    return (Date.now() - this.startedMillis) / 1000;
  }

  private estimate(share: number, now: number): string {
    const elapsed = now - this.startedMillis;
    if (share <= 0 || elapsed < ESTIMATE_MILLIS) return "";
    return `, ${Math.ceil((elapsed * (1 - share)) / share / 1000)} s left`;
  }
}
