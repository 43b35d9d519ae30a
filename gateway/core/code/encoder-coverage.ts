/**
 * How well each packet is covered by repairs that have left: exact, and O(1) amortised.
 *
 * A ring keeps the number of repairs that have left for each recent id. For each level, a number of
 * repairs, one mark says through which id everything has reached it; marks only move forward.
 * A packet that will never reach a level (it was coded with fewer layers) holds that mark until the
 * caller says by `release` that it no longer matters, because it was acknowledged.
 */

export class Coverage {
  private repairs = new Uint8Array(1);
  /** Repairs that each level takes, ascending, from level 1. */
  private readonly levels: readonly number[];
  private readonly through: Uint32Array;
  private started = false;
  private last = 0xffffffff;

  constructor(levels: readonly number[]) {
    this.levels = levels;
    this.through = new Uint32Array(levels.length + 1).fill(0xffffffff);
  }

  /** Makes room for `span` ids between a packet and the last repair that covers it. */
  reserve(span: number): void {
    const size = 2 ** Math.ceil(Math.log2(span));
    if (size <= this.repairs.length) return;
    const before = this.repairs;
    this.repairs = new Uint8Array(size);
    for (let i = 0; i < before.length; i++) {
      const id = (this.last - i) >>> 0;
      this.repairs[id & (size - 1)] = before[id & (before.length - 1)] as number;
    }
  }

  push(id: number): void {
    if (!this.started) this.through.fill((id - 1) >>> 0);
    this.started = true;
    this.last = id;
    this.repairs[id & (this.repairs.length - 1)] = 0;
  }

  /** One more repair left for the ids `first + k × stride`, k < `count`. */
  cover(first: number, stride: number, count: number): void {
    const mask = this.repairs.length - 1;
    for (let k = 0; k < count; k++) {
      const at = (first + k * stride) & mask;
      this.repairs[at] = (this.repairs[at] as number) + 1;
    }
    this.advance();
  }

  /** Ids through `id` no longer hold any mark. */
  release(id: number): void {
    const bound = ((this.last - id) | 0) < 0 ? this.last : id;
    for (let level = 1; level <= this.levels.length; level++) {
      if (((bound - (this.through[level] as number)) | 0) > 0) this.through[level] = bound;
    }
    this.advance();
  }

  /** Id through which everything has reached `level`. */
  coveredThrough(level: number): number {
    return this.through[level] as number;
  }

  private advance(): void {
    for (let level = 1; level <= this.levels.length; level++) this.advanceMark(level);
  }

  private advanceMark(level: number): void {
    const size = this.repairs.length;
    const wanted = this.levels[level - 1] as number;
    let id = this.through[level] as number;
    // Ids that left the ring have reached their final level, and it was too low for this mark.
    if (((this.last - id) | 0) > size) return;
    while (id !== this.last && (this.repairs[(id + 1) & (size - 1)] as number) >= wanted) {
      id = (id + 1) >>> 0;
    }
    this.through[level] = id;
  }
}
