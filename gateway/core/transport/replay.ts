/**
 * Which packet numbers were seen: a sliding bitmap after RFC 6479 (whole words are cleared as the
 * window moves, so nothing is shifted). Numbers older than the window count as seen.
 */
const WORDS = 256;
const WORD_BITS = 32;
/** Reordering a datagram may suffer and still be taken; one word is always being cleared. */
export const REPLAY_WINDOW_PACKETS = (WORDS - 1) * WORD_BITS;

export class ReplayWindow {
  private readonly words = new Uint32Array(WORDS);
  private highest = -1;

  /** Highest number marked; −1 before the first. */
  get highestMarked(): number {
    return this.highest;
  }

  /** True when `packetNumber` was not marked and is not too old to know. */
  isFresh(packetNumber: number): boolean {
    if (packetNumber > this.highest) return true;
    if (packetNumber + REPLAY_WINDOW_PACKETS <= this.highest) return false;
    const word = this.words[wordOf(packetNumber)] ?? 0;
    return ((word >>> (packetNumber % WORD_BITS)) & 1) === 0;
  }

  /** Only for numbers whose packet was authentic. */
  mark(packetNumber: number): void {
    if (packetNumber > this.highest) this.advance(packetNumber);
    const at = wordOf(packetNumber);
    this.words[at] = (this.words[at] ?? 0) | (1 << (packetNumber % WORD_BITS));
  }

  private advance(packetNumber: number): void {
    const from = Math.floor(this.highest / WORD_BITS);
    const to = Math.floor(packetNumber / WORD_BITS);
    const cleared = Math.min(to - from, WORDS);
    for (let i = 1; i <= cleared; i++) this.words[(from + i) & (WORDS - 1)] = 0;
    this.highest = packetNumber;
  }
}

function wordOf(packetNumber: number): number {
  return Math.floor(packetNumber / WORD_BITS) % WORDS;
}
