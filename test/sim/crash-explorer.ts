/**
 * The crash explorer: a random life of one file system, cut at every step of its disk, in every way
 * a cut can fall out, and again in the lives after.
 *
 * 1. A machine is formatted, or one that has lived for a while (`crash-aged.ts`) is opened, and works; at each step of the disk (a write begun, done, a
 *    sync, an allocation, a removal) a copy of the disk's image is kept with what was promised by then.
 * 2. Each copy meets fates: the process dies, or the power goes and takes all, nothing, everything
 *    behind a torn write, one write out of the middle, sectors here and there.
 * 3. What is left is opened: it must show the state after some record, everything promised included,
 *    pass fsck down to the accounts, and go on working. Some of these go on as a life of their own.
 *
 * One seed, one history; a violation says how to replay it.
 */
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "./clock.ts";
import { agedFileSystem } from "./crash-aged.ts";
import { fatesOf, type Fate } from "./crash-fates.ts";
import { CrashHistory, emptyModel, linesOf, type State } from "./crash-history.ts";
import { CrashViolation, type Inspection, Inspector } from "./crash-inspection.ts";
import { CrashMachine, diskOf } from "./crash-machine.ts";
import { randomMix } from "./crash-mix.ts";
import { CrashWorkload } from "./crash-workload.ts";
import type { SimulatedDisk } from "./disk.ts";
import { DiskImage } from "./disk-image.ts";

export interface ExplorerOptions {
  /** Operations of one life. */
  readonly operations: number;
  /** Fates that each cut meets, chosen at random; Infinity: all. */
  readonly fatesPerCut: number;
  /** Lives that go on after a crash, of each life. */
  readonly livesAfter: number;
  /** Crashes in a row. */
  readonly depth: number;
}

/** For every run of the tests: thousands of short lives, one fate a cut. */
export const CRASH_QUICK: ExplorerOptions = {
  operations: 10,
  fatesPerCut: 1,
  livesAfter: 1,
  depth: 2,
};

/** By command: longer lives, every fate of every cut. */
export const CRASH_THOROUGH: ExplorerOptions = {
  operations: 40,
  fatesPerCut: Infinity,
  livesAfter: 3,
  depth: 3,
};

/** Lives that begin with mkfs, and are cut there, too. */
const NEW_SHARE = 0.25;

const NOTHING_YET = {
  lives: 0,
  operations: 0,
  cuts: 0,
  crashes: 0,
  /** Crashes that left an image which no crash before had left. */
  images: 0,
  failedSyncs: 0,
  refusedForSpace: 0,
  refusedForQuota: 0,
  snapshots: 0,
  cleanedSegments: 0,
  segmentsDropped: 0,
};

export type ExplorerSummary = Readonly<typeof NOTHING_YET>;

/** A moment at which a crash could come. */
interface Cut {
  readonly image: DiskImage;
  readonly what: string;
  readonly durable: number;
  readonly written: number;
}

/** What one life left to look at. */
interface Lived {
  readonly cuts: readonly Cut[];
  readonly history: CrashHistory;
}

export class CrashExplorer {
  private readonly counts = { ...NOTHING_YET };
  private readonly prng: Prng;
  private readonly seed: number;
  private readonly options: ExplorerOptions;
  private readonly inspector = new Inspector();
  /** How it came here, for whoever reads a violation. */
  private readonly trail: string[] = [];

  constructor(seed: number, options: ExplorerOptions) {
    this.seed = seed;
    this.prng = new Prng(seed);
    this.options = options;
  }

  get summary(): ExplorerSummary {
    return { ...this.counts, images: this.inspector.opened };
  }

  /** Throws `CrashViolation`. */
  async run(): Promise<ExplorerSummary> {
    if (this.prng.chance(NEW_SHARE)) {
      await this.explore(new DiskImage(), new CrashHistory(), 1);
    } else {
      const { image, history } = await agedFileSystem(this.seed);
      await this.explore(image.copy(), history, 1);
    }
    return this.summary;
  }

  private async explore(image: DiskImage, history: CrashHistory, depth: number): Promise<void> {
    const lived = await this.tell(`life ${depth}`, () => this.live(image, history));
    const goOn = new Set<number>();
    if (depth < this.options.depth) {
      for (let i = 0; i < this.options.livesAfter; i++)
        goOn.add(this.prng.below(lived.cuts.length));
    }
    for (const [index, cut] of lived.cuts.entries()) {
      this.counts.cuts++;
      const fates = fatesOf(cut.image, this.prng, this.options.fatesPerCut);
      const survivor = goOn.has(index) ? this.prng.pick(fates) : null;
      for (const fate of fates) {
        const what = `step ${index} (${cut.what}), ${fate.what}`;
        await this.tell(what, () => this.crash(cut, fate, lived.history, fate === survivor, depth));
      }
    }
  }

  private async crash(
    cut: Cut,
    fate: Fate,
    history: CrashHistory,
    goesOn: boolean,
    depth: number,
  ): Promise<void> {
    this.counts.crashes++;
    const promised = fate.survives === "written" ? cut.written : cut.durable;
    const seen = await this.inspector.inspect(fate.image.copy());
    if (seen === null && promised >= 0) {
      throw new CrashViolation(`no file system, promised state ${promised}`);
    }
    if (!goesOn && seen === null) return;
    const index = seen === null ? -1 : recognise(seen, history, promised);
    if (!goesOn) return;
    const after = history.after(index, seen?.foundSequence ?? 0, cut.durable);
    await this.explore(fate.image, after, depth + 1);
  }

  /** One machine's life on `image`, which is changed; every step of its disk is kept. */
  private async live(image: DiskImage, before: CrashHistory): Promise<Lived> {
    const { prng, counts } = this;
    counts.lives++;
    const clock = new VirtualClock();
    const disk = diskOf(clock, image, { capacityBytes: image.totalBytes() + this.roomBytes() });
    const cuts: Cut[] = [];
    const history = before.after(before.newest, Infinity, before.durable);
    disk.onBoundary = (what) => {
      const { durable, written } = history;
      cuts.push({ image: disk.snapshot(), what, durable, written });
    };
    const machine = await start(disk, clock, history);
    if (machine === null) return { cuts, history };
    const workload = new CrashWorkload(prng, machine, history, randomMix(prng));
    const half = Math.ceil(this.options.operations / 2);
    const isWell = await workload.run(prng.below(half));
    if (isWell) this.breakSomething(disk);
    if (isWell) await workload.run(half);
    counts.operations += history.states.length - before.states.length;
    counts.refusedForSpace += workload.refused.space;
    counts.refusedForQuota += workload.refused.quota;
    counts.segmentsDropped += machine.log.statistics.segmentsDropped;
    counts.cleanedSegments += machine.cleanedSegments;
    counts.snapshots += machine.volume.keptSnapshots.length;
    return { cuts, history };
  }

  /** Free space at the beginning of a life: next to none, some segments, plenty. */
  private roomBytes(): number {
    return this.prng.pick([60_000, 180_000, 2 ** 20]);
  }

  private breakSomething(disk: SimulatedDisk): void {
    const { prng, counts } = this;
    const roll = prng.float();
    if (roll < 0.2) {
      counts.failedSyncs++;
      disk.failNextSync("failed: input/output error, pages dropped");
    } else if (roll < 0.4) {
      disk.refuseAllocations(1 + prng.below(6));
    } else if (roll < 0.5) {
      disk.failNextWrite({ kind: "short", bytes: prng.below(1000) });
    }
  }

  /** Whatever goes wrong inside says where it happened. */
  private async tell<T>(what: string, act: () => Promise<T>): Promise<T> {
    this.trail.push(what);
    try {
      const value = await act();
      this.trail.pop();
      return value;
    } catch (error) {
      if (error instanceof CrashViolation && error.message.includes("\n")) throw error;
      const text = `${String(error)}\n  ${this.trail.join("\n  ")}`;
      throw new CrashViolation(text, { cause: error });
    }
  }
}

/** The newest state that this can be, everything promised included. Throws `CrashViolation`. */
function recognise(seen: Inspection, history: CrashHistory, promised: number): number {
  const differences: string[] = [];
  for (const index of history.indexesAt(seen.foundSequence)) {
    const state = history.states[index] as State;
    const difference = differenceOf(seen, expectationOf(state));
    if (difference !== null) differences.push(`not state ${index}: ${difference}`);
    else if (index >= promised) return index;
    else differences.push(`is state ${index}, ${promised} was acknowledged`);
  }
  const where = `record ${seen.foundSequence}, promised ${promised}`;
  throw new CrashViolation(`${where}: ${differences.join("; ")}`);
}

type Expectation = Pick<Inspection, "lines" | "inodes">;

const expectations = new WeakMap<State, Expectation>();

/** States do not change, and each is compared with many images. */
function expectationOf(state: State): Expectation {
  const known = expectations.get(state);
  if (known !== undefined) return known;
  const lines = linesOf(state.model).toSorted();
  const expectation = { lines, inodes: state.model.fs.all().length };
  expectations.set(state, expectation);
  return expectation;
}

function differenceOf(seen: Inspection, expected: Expectation): string | null {
  const lacking = without(expected.lines, seen.lines);
  const extra = without(seen.lines, expected.lines);
  if (lacking.length + extra.length > 0) {
    return `lacks ${lacking.join(" | ")}, shows ${extra.join(" | ")}`;
  }
  if (seen.inodes === expected.inodes) return null;
  return `counts ${seen.inodes} inodes, has ${expected.inodes}`;
}

function without(lines: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others);
  return lines.filter((line) => !known.has(line));
}

/** null: the disk was too full to begin. */
async function start(
  disk: SimulatedDisk,
  clock: VirtualClock,
  history: CrashHistory,
): Promise<CrashMachine | null> {
  try {
    if (history.newest >= 0) return await CrashMachine.open(disk, clock);
    await clearHalfMade(disk);
    const machine = await CrashMachine.format(disk, clock);
    history.add(emptyModel(), machine.headSequence(), "mkfs", [1]);
    await machine.whenDurable();
    history.durable = 0;
    history.written = 0;
    return machine;
  } catch (error) {
    if (error instanceof SmfsError && error.code === "NO_SPACE") return null;
    throw error;
  }
}

/** What is left of an interrupted mkfs is removed before the next, as `smfs mkfs --force` does. */
async function clearHalfMade(disk: SimulatedDisk): Promise<void> {
  for (const { segment } of disk.list().toReversed()) disk.remove(segment);
}
