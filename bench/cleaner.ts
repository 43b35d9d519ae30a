/**
 * Write amplification of the cleaner: bytes appended to the log per byte written to a file, when the
 * file fills a share of the store and is overwritten at random for ever. Production code on the
 * simulated disk, in virtual time, so that ages mean something: a write takes a while, a fill minutes.
 *
 * Beside it LFS (Rosenblum and Ousterhout, §3.4–3.5). Its write cost counts the reads of the cleaner,
 * too: 2 / (1 − u) when the cleaned segments have utilisation u. What is written of that is half,
 * 1 / (1 − u). The paper prints curves, not figures; those of Figures 4 and 7 are calculated here by
 * its simulator, built again (`test/sim/cleaning-model.ts`), which knows no metadata. It gives what
 * the text says of Figure 5: 55 % in the segments cleaned at a disk utilisation of 75 %.
 */
import { concatBytes } from "../lib/bytes.ts";
import { Prng } from "../lib/prng.ts";
import { emptinessOf, type Worth, worthOf } from "../logfs/core/fs/cleaner/policy.ts";
import { CleanerWorld } from "../test/cleaner-world.ts";
import { costBenefit, type Pattern, runModel } from "../test/sim/cleaning-model.ts";
import { type Series, writeChart } from "./chart.ts";

export interface CleanerOptions {
  readonly capacityBytes: number;
  /** Overwrites before measuring and while measuring, each in multiples of the file. */
  readonly fills: number;
  readonly utilisations: readonly number[];
  readonly blockBytes: readonly number[];
  /** Of the simulator's disk. */
  readonly modelSegments: number;
}

/** For a test that the bench works; its figures mean nothing. */
export const QUICK: CleanerOptions = {
  capacityBytes: 24 * 2 ** 20,
  fills: 0.25,
  utilisations: [0.5],
  blockBytes: [65_536],
  modelSegments: 100,
};

export interface Measured {
  readonly utilisation: number;
  readonly pattern: Pattern;
  readonly blockBytes: number;
  readonly writeAmplification: number;
  /** Of what was appended: data moved by the cleaner, nodes and records the rest, per byte written. */
  readonly movedPerByte: number;
  /** Share of the log that was alive at the end. */
  readonly logUtilisation: number;
}

export interface CleanerResult {
  readonly measured: readonly Measured[];
  readonly reference: Reference;
}

const SEGMENT_BYTES = 2 ** 20;
/** 10 % of the file get 90 % of the writes (LFS §3.5). */
const HOT_SHARE = 0.1;
const WRITE_MICROS = 10_000;
const PATTERNS: readonly Pattern[] = ["uniform", "hot and cold"];
const MODEL_STEPS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9];

export async function run(
  options: CleanerOptions,
  onMeasured: (measured: Measured) => void = () => {},
): Promise<CleanerResult> {
  const measured: Measured[] = [];
  for (const blockBytes of options.blockBytes) {
    for (const pattern of PATTERNS) {
      for (const utilisation of options.utilisations) {
        const one = await measure(options, { blockBytes, pattern, utilisation });
        measured.push(one);
        onMeasured(one);
      }
    }
  }
  return { measured, reference: referenceOf(options.modelSegments) };
}

interface Point {
  readonly blockBytes: number;
  readonly pattern: Pattern;
  readonly utilisation: number;
}

async function measure({ capacityBytes, fills }: CleanerOptions, point: Point): Promise<Measured> {
  const world = new CleanerWorld({
    capacityBytes,
    segmentBytes: SEGMENT_BYTES,
    nodeBytes: 16_384,
    dirtyBytes: 4 * 2 ** 20,
    // As LFS: nothing is cleaned before space is short.
    garbageShare: 0.9,
  });
  const file = await Overwritten.fill(world, capacityBytes, point);
  await file.overwrite(fills);
  const { bytesAppended } = world.log.statistics;
  const { movedBytes } = world.cleaner.counters;
  const writtenBytes = await file.overwrite(fills);
  await file.verifySome();
  const { liveBytes, usedBytes } = world.cleaner.usage;
  await world.run(world.cleaner.stop());
  return {
    ...point,
    writeAmplification: (world.log.statistics.bytesAppended - bytesAppended) / writtenBytes,
    movedPerByte: (world.cleaner.counters.movedBytes - movedBytes) / writtenBytes,
    logUtilisation: liveBytes / usedBytes,
  };
}

/** A file that is overwritten in blocks; what it should hold is known by a number for each block. */
class Overwritten {
  private readonly world: CleanerWorld;
  private readonly handle: number;
  private readonly point: Point;
  private readonly prng = new Prng(7);
  private readonly versions: Uint32Array;

  private constructor(world: CleanerWorld, handle: number, blocks: number, point: Point) {
    this.world = world;
    this.handle = handle;
    this.point = point;
    this.versions = new Uint32Array(blocks);
  }

  static async fill(world: CleanerWorld, capacityBytes: number, point: Point) {
    const { handle } = await world.create("file");
    const blocks = Math.floor((capacityBytes * point.utilisation) / point.blockBytes);
    const file = new Overwritten(world, handle, blocks, point);
    for (let block = 0; block < blocks; block++) await file.write(block);
    return file;
  }

  /** Gives the bytes written. */
  async overwrite(fills: number): Promise<number> {
    const count = Math.ceil(this.versions.length * fills);
    for (let i = 0; i < count; i++) await this.write(this.nextBlock());
    return count * this.point.blockBytes;
  }

  async verifySome(): Promise<void> {
    const { blockBytes } = this.point;
    for (let i = 0; i < 100; i++) {
      const block = this.prng.below(this.versions.length);
      const wanted = contentOf(block, this.versions[block] ?? 0, blockBytes);
      const found = await this.world.read(this.handle, block * blockBytes, blockBytes);
      if (concatBytes([found]).some((byte, at) => byte !== wanted[at])) {
        throw new Error(`block ${block} is not what was written`);
      }
    }
  }

  private nextBlock(): number {
    const { length } = this.versions;
    if (this.point.pattern === "uniform") return this.prng.below(length);
    const hot = Math.max(1, Math.floor(length * HOT_SHARE));
    return this.prng.chance(1 - HOT_SHARE)
      ? this.prng.below(hot)
      : hot + this.prng.below(length - hot);
  }

  private async write(block: number): Promise<void> {
    const { blockBytes } = this.point;
    const version = (this.versions[block] ?? 0) + 1;
    this.versions[block] = version;
    const data = contentOf(block, version, blockBytes);
    const outcome = await this.world.write(this.handle, block * blockBytes, data);
    if (outcome !== "ok") throw new Error(`${outcome} at ${this.point.utilisation}`);
    this.world.clock.advance(WRITE_MICROS);
    // What has fallen due may go on.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function contentOf(block: number, version: number, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  new DataView(data.buffer).setUint32(0, block);
  new DataView(data.buffer).setUint32(bytes - 4, version);
  return data;
}

/** LFS's curves, and what our policy would do if there were no metadata. */
interface Reference {
  readonly noVariance: Series;
  readonly ofPaper: Readonly<Record<Pattern, Series>>;
  readonly ofPolicy: Readonly<Record<Pattern, Series>>;
}

function referenceOf(segments: number): Reference {
  const model = (name: string, pattern: Pattern, worth: Worth): Series => ({
    name,
    points: MODEL_STEPS.map((utilisation): [number, number] => [
      utilisation,
      runModel({ utilisation, pattern, worth, seed: 1, segments }).writeAmplification,
    ]),
    reference: true,
  });
  return {
    noVariance: {
      name: "1/(1−u), LFS §3.4",
      points: MODEL_STEPS.map((u): [number, number] => [u, 1 / (1 - u)]),
      reference: true,
    },
    ofPaper: {
      uniform: model("greedy as LFS Fig. 4, simulated", "uniform", emptinessOf),
      "hot and cold": model("cost-benefit as LFS Fig. 7, simulated", "hot and cold", costBenefit),
    },
    ofPolicy: {
      uniform: model("our policy, no metadata", "uniform", worthOf),
      "hot and cold": model("our policy, no metadata", "hot and cold", worthOf),
    },
  };
}

/** One chart for each pattern, in files that begin with `prefix`. */
export function draw(prefix: string, { measured, reference }: CleanerResult): void {
  for (const pattern of PATTERNS) {
    const ours = measured.filter((one) => one.pattern === pattern);
    const sizes = [...new Set(ours.map(({ blockBytes }) => blockBytes))];
    const series = sizes.map((size): Series => {
      const ofSize = ours.filter(({ blockBytes }) => blockBytes === size);
      const points = ofSize.map((one) => [one.utilisation, one.writeAmplification] as const);
      return { name: `smfs, ${size / 1024} KiB`, points };
    });
    writeChart(`${prefix}-${pattern.replaceAll(" ", "-")}.svg`, {
      title: `Write amplification of random overwrites, ${pattern}`,
      x: { name: "share of the store that is file data", scale: "linear" },
      y: { name: "bytes appended to the log per byte written", scale: "log" },
      series: [
        ...series,
        reference.noVariance,
        reference.ofPaper[pattern],
        reference.ofPolicy[pattern],
      ],
    });
  }
}
