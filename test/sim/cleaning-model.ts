/**
 * The simulator of LFS §3.5, with our policy in it: a disk of segments, files of one block each,
 * random overwrites, no other traffic. It measures the write cost: what is read and written in all,
 * per byte of new data (§3.4: 2 / (1 − u) when all cleaned segments have utilisation u).
 */
import { Prng } from "../../lib/prng.ts";
import {
  chooseVictims,
  type SegmentUsage,
  type Worth,
} from "../../logfs/core/fs/cleaner/policy.ts";

export type Pattern = "uniform" | "hot and cold";

export interface ModelOptions {
  readonly utilisation: number;
  readonly pattern: Pattern;
  readonly worth: Worth;
  readonly seed: number;
  readonly segments?: number;
  readonly blocksPerSegment?: number;
  /** Overwrites, in multiples of the disk; the write cost is that of the second half. */
  readonly fills?: number;
}

export interface ModelResult {
  /** Blocks read and written per new block. */
  readonly writeCost: number;
  /** Blocks written per new block: LFS's measure without the reads. */
  readonly writeAmplification: number;
  /** Mean utilisation of the segments that were cleaned. */
  readonly cleanedUtilisation: number;
}

/** The share of the files that takes 1 − this of the writes (§3.5: 10 % get 90 %). */
const HOT_SHARE = 0.1;
/** Cleaning begins when fewer are clean, and ends when there are so many. */
const LOW_SEGMENTS = 4;
const HIGH_SEGMENTS = 8;
const NOBODY = -1;

/** Cost and benefit exactly as the paper has it. */
export const costBenefit: Worth = ({ bytes, liveBytes, writtenSeconds }, nowSeconds) =>
  ((bytes - liveBytes) * (nowSeconds - writtenSeconds)) / (bytes + liveBytes);

export function runModel(options: ModelOptions): ModelResult {
  const disk = new ModelDisk(options);
  const { fills = 12 } = options;
  const overwrites = Math.floor((fills * disk.blocks) / 2);
  disk.overwrite(overwrites);
  disk.forgetCounts();
  disk.overwrite(overwrites);
  return disk.result();
}

interface Head {
  segment: number;
  used: number;
}

class ModelDisk {
  readonly blocks: number;
  private readonly options: ModelOptions;
  private readonly perSegment: number;
  private readonly prng: Prng;
  private readonly files: number;
  /** Block of each file; owner of each block. */
  private readonly placeOf: Int32Array;
  private readonly ownerOf: Int32Array;
  private readonly writtenAt: Float64Array;
  private readonly live: Int32Array;
  private readonly youngest: Float64Array;
  private readonly clean: number[] = [];
  private readonly sealed = new Set<number>();
  /** New data and moved data go to segments of their own, as between two seals of our log. */
  private readonly heads: { fresh: Head; moved: Head };
  private now = 0;
  private counts = { fresh: 0, moved: 0, read: 0, cleaned: 0, cleanedLive: 0 };

  constructor(options: ModelOptions) {
    const { segments = 200, blocksPerSegment = 128, utilisation, seed } = options;
    this.options = options;
    this.perSegment = blocksPerSegment;
    this.blocks = segments * blocksPerSegment;
    this.prng = new Prng(seed);
    this.files = Math.floor(this.blocks * utilisation);
    this.placeOf = new Int32Array(this.files).fill(NOBODY);
    this.ownerOf = new Int32Array(this.blocks).fill(NOBODY);
    this.writtenAt = new Float64Array(this.files);
    this.live = new Int32Array(segments);
    this.youngest = new Float64Array(segments);
    for (let segment = segments - 1; segment > 1; segment--) this.clean.push(segment);
    this.heads = { fresh: { segment: 0, used: 0 }, moved: { segment: 1, used: 0 } };
    for (let file = 0; file < this.files; file++) this.write(file);
  }

  overwrite(times: number): void {
    for (let i = 0; i < times; i++) this.write(this.nextFile());
  }

  forgetCounts(): void {
    this.counts = { fresh: 0, moved: 0, read: 0, cleaned: 0, cleanedLive: 0 };
  }

  result(): ModelResult {
    const { fresh, moved, read, cleaned, cleanedLive } = this.counts;
    return {
      writeCost: (fresh + moved + read) / fresh,
      writeAmplification: (fresh + moved) / fresh,
      cleanedUtilisation: cleaned === 0 ? 0 : cleanedLive / cleaned,
    };
  }

  private nextFile(): number {
    if (this.options.pattern === "uniform") return this.prng.below(this.files);
    const hot = Math.max(1, Math.floor(this.files * HOT_SHARE));
    const isHot = this.prng.chance(1 - HOT_SHARE);
    return isHot ? this.prng.below(hot) : hot + this.prng.below(this.files - hot);
  }

  private write(file: number): void {
    this.now++;
    this.counts.fresh++;
    this.writtenAt[file] = this.now;
    this.place(file, this.heads.fresh);
    if (this.clean.length < LOW_SEGMENTS) this.cleanSome();
  }

  private place(file: number, head: Head): void {
    const { perSegment } = this;
    if (head.used === perSegment) {
      this.seal(head.segment);
      head.segment = this.takeClean();
      head.used = 0;
    }
    const before = this.placeOf[file] as number;
    if (before !== NOBODY) this.release(before);
    const { segment } = head;
    const block = segment * perSegment + head.used++;
    this.placeOf[file] = block;
    this.ownerOf[block] = file;
    this.live[segment] = (this.live[segment] as number) + 1;
    const written = this.writtenAt[file] as number;
    this.youngest[segment] = Math.max(this.youngest[segment] as number, written);
  }

  private seal(segment: number): void {
    this.sealed.add(segment);
    if (this.live[segment] === 0) this.recycle(segment);
  }

  private takeClean(): number {
    const segment = this.clean.pop();
    if (segment === undefined) throw new Error("the model's cleaner ran out of segments");
    this.youngest[segment] = 0;
    return segment;
  }

  private release(block: number): void {
    const segment = Math.floor(block / this.perSegment);
    this.ownerOf[block] = NOBODY;
    this.live[segment] = (this.live[segment] as number) - 1;
    if (this.live[segment] === 0 && this.sealed.has(segment)) this.recycle(segment);
  }

  private recycle(segment: number): void {
    this.sealed.delete(segment);
    this.clean.push(segment);
  }

  private cleanSome(): void {
    while (this.clean.length < HIGH_SEGMENTS) {
      const victims = chooseVictims(this.candidates(), this.now, this.batch(), this.options.worth);
      if (victims.length === 0) return;
      this.move(victims);
    }
  }

  private batch() {
    const budgetBytes = (this.clean.length - 1) * this.perSegment;
    return { budgetBytes, wantedBytes: (HIGH_SEGMENTS - this.clean.length) * this.perSegment };
  }

  private candidates(): SegmentUsage[] {
    return [...this.sealed].map((segment) => ({
      segment,
      bytes: this.perSegment,
      liveBytes: this.live[segment] as number,
      writtenSeconds: this.youngest[segment] as number,
    }));
  }

  /** Age sort (§3.6): the files of all victims go out in the order of their last write. */
  private move(victims: readonly SegmentUsage[]): void {
    const files: number[] = [];
    for (const { segment, liveBytes } of victims) {
      this.counts.cleaned += this.perSegment;
      this.counts.cleanedLive += liveBytes;
      this.counts.read += this.perSegment;
      const from = segment * this.perSegment;
      for (const owner of this.ownerOf.subarray(from, from + this.perSegment)) {
        if (owner !== NOBODY) files.push(owner);
      }
    }
    files.sort((a, b) => (this.writtenAt[a] as number) - (this.writtenAt[b] as number));
    for (const file of files) this.place(file, this.heads.moved);
    this.counts.moved += files.length;
  }
}
