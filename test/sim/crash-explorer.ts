/**
 * The crash explorer: a random life of one file system, cut at every step of its disk, in every way
 * a cut can fall out, and again in the lives after.
 *
 * 1. A machine is formatted (or opened) and works; at each step of the disk (a write begun, done, a
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
import { ModelFs } from "../fs-model.ts";
import { VirtualClock } from "./clock.ts";
import { fatesOf, type Fate } from "./crash-fates.ts";
import { CrashHistory, linesOf, type State } from "./crash-history.ts";
import { CrashMachine, diskOf, NotFormatted } from "./crash-machine.ts";
import { CrashWorkload, linesOfMachine } from "./crash-workload.ts";
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

/** For every run of the tests: short lives, one fate a cut. */
export const CRASH_QUICK: ExplorerOptions = {
  operations: 16,
  fatesPerCut: 1,
  livesAfter: 2,
  depth: 3,
};

/** By command: longer lives, every fate of every cut. */
export const CRASH_THOROUGH: ExplorerOptions = {
  operations: 40,
  fatesPerCut: Infinity,
  livesAfter: 3,
  depth: 3,
};

/** How to see a violation again. */
export function replayOf(seed: number, kind: "quick" | "thorough" = "quick"): string {
  const flag = kind === "quick" ? " --quick" : "";
  return `seed ${seed}: npm run sim -- crash --seed ${seed} --runs 1${flag}`;
}

export interface ExplorerSummary {
  lives: number;
  operations: number;
  cuts: number;
  crashes: number;
  failedSyncs: number;
  refusedForSpace: number;
  segmentsDropped: number;
}

class CrashViolation extends Error {
  override name = "CrashViolation";
}

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
  readonly summary: ExplorerSummary = {
    lives: 0,
    operations: 0,
    cuts: 0,
    crashes: 0,
    failedSyncs: 0,
    refusedForSpace: 0,
    segmentsDropped: 0,
  };
  private readonly prng: Prng;
  private readonly options: ExplorerOptions;
  /** How it came here, for whoever reads a violation. */
  private readonly trail: string[] = [];

  constructor(seed: number, options: ExplorerOptions) {
    this.prng = new Prng(seed);
    this.options = options;
  }

  /** Throws `CrashViolation`. */
  async run(): Promise<ExplorerSummary> {
    await this.explore(new DiskImage(), new CrashHistory(), 1);
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
      this.summary.cuts++;
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
    this.summary.crashes++;
    const promised = fate.survives === "written" ? cut.written : cut.durable;
    const { index, found } = await this.inspect(fate.image.copy(), history, promised);
    if (!goesOn) return;
    await this.explore(fate.image, history.after(index, found, cut.durable), depth + 1);
  }

  /** One machine's life on `image`, which is changed; every step of its disk is kept. */
  private async live(image: DiskImage, before: CrashHistory): Promise<Lived> {
    const { prng, summary } = this;
    summary.lives++;
    const clock = new VirtualClock();
    const disk = diskOf(clock, image, { capacityBytes: prng.pick([2 ** 20, 2 ** 20, 180_000]) });
    const cuts: Cut[] = [];
    const history = before.after(before.newest, Infinity, before.durable);
    disk.onBoundary = (what) => {
      const { durable, written } = history;
      cuts.push({ image: disk.snapshot(), what, durable, written });
    };
    const machine = await start(disk, clock, history);
    if (machine === null) return { cuts, history };
    const workload = new CrashWorkload(prng, machine, history);
    const half = Math.ceil(this.options.operations / 2);
    const isWell = await workload.run(prng.below(half));
    if (isWell) this.breakSomething(disk);
    if (isWell) await workload.run(half);
    summary.operations += history.states.length - before.states.length;
    summary.refusedForSpace += workload.refused;
    summary.segmentsDropped += machine.log.statistics.segmentsDropped;
    return { cuts, history };
  }

  private breakSomething(disk: SimulatedDisk): void {
    const { prng, summary } = this;
    const roll = prng.float();
    if (roll < 0.2) {
      summary.failedSyncs++;
      disk.failNextSync("failed: input/output error, pages dropped");
    } else if (roll < 0.4) {
      disk.refuseAllocations(1 + prng.below(6));
    } else if (roll < 0.5) {
      disk.failNextWrite({ kind: "short", bytes: prng.below(1000) });
    }
  }

  /** Opens what a crash left, compares it with the history; gives the index of its state and its newest record. */
  private async inspect(image: DiskImage, history: CrashHistory, promised: number) {
    const disk = diskOf(null, image);
    const machine = await CrashMachine.open(disk, null).catch((error: unknown) => {
      if (error instanceof NotFormatted && promised < 0) return null;
      throw new CrashViolation(`does not open: ${String(error)}`, { cause: error });
    });
    if (machine === null) return { index: -1, found: 0 };
    const { index, state } = await this.recognise(machine, history, promised);
    const findings = await machine.findings();
    if (findings.length > 0) throw new CrashViolation(`fsck: ${findings.join("; ")}`);
    const inodes = state.model.fs.all().length;
    const counted = machine.volume.statistics.inodes;
    if (counted !== inodes) throw new CrashViolation(`counts ${counted} inodes, has ${inodes}`);
    return { index, found: machine.foundSequence };
  }

  private async recognise(machine: CrashMachine, history: CrashHistory, promised: number) {
    const shown = await linesOfMachine(machine);
    const candidates = history.indexesAt(machine.foundSequence);
    const differences: string[] = [];
    for (const index of candidates) {
      const state = history.states[index] as State;
      const difference = differenceOf(shown, linesOf(state.model));
      if (difference !== null) differences.push(`not state ${index}: ${difference}`);
      else if (index >= promised) return { index, state };
      else differences.push(`is state ${index}, ${promised} was acknowledged`);
    }
    const where = `record ${machine.foundSequence}, promised ${promised}`;
    throw new CrashViolation(`${where}: ${differences.join("; ")}`);
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
    history.add({ fs: new ModelFs(), snapshots: new Map() }, machine.headSequence(), "mkfs", [1]);
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

function differenceOf(shown: readonly string[], expected: readonly string[]): string | null {
  const missing = expected.filter((line) => !shown.includes(line));
  const extra = shown.filter((line) => !expected.includes(line));
  if (missing.length + extra.length === 0) return null;
  return `lacks ${missing.join(" | ")}, shows ${extra.join(" | ")}`;
}
