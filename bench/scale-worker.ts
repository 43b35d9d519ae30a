/**
 * One part of the scale measurement, in a process of its own, so that its resident memory is that
 * part's alone. Ends without closing the store, like a process that was killed, unless asked.
 */
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, ROOT_INODE, type Vfs } from "../logfs/core/vfs.ts";
import { openScaleStore, ROOT_USER } from "./scale-store.ts";

/**
 * What grows: `tree`, files in many directories; `directory`, files in one; `sparse`, blocks of 4 KiB
 * all over one file of 10 TB.
 */
export const SHAPES = ["tree", "directory", "sparse"] as const;
export type Shape = (typeof SHAPES)[number];

export interface WorkOrder {
  readonly store: string;
  readonly shape: Shape;
  /** Files (blocks of the sparse one) there are before, and shall be behind. */
  readonly from: number;
  readonly to: number;
  readonly end: "close" | "die";
}

export interface Measured {
  readonly openMillis: number;
  readonly replayedRecords: number;
  /** Peak resident memory of the process, bytes. */
  readonly residentBytes: number;
  /** Mean cost of one operation; 32 are under way together. */
  readonly costs: Readonly<Record<string, Cost>>;
  /** Longest time that one operation kept the event loop, milliseconds: nobody was served meanwhile. */
  readonly longestStepMillis: number;
}

/** Microseconds for one operation. */
interface Cost {
  readonly wall: number;
  /** Of all threads: what is left of the cost on a machine that has other things to do as well. */
  readonly processor: number;
}

const FILES_PER_DIRECTORY = 1000;
/** Files that are made, looked up and removed to see what each costs at the size reached. */
const PROBES = 10_000;
const PARALLEL = 32;

/** Where file number `n` stands. */
interface Place {
  readonly parent: number;
  readonly name: Uint8Array;
}

export async function work({ store, shape, from, to, end }: WorkOrder): Promise<Measured> {
  const started = performance.now();
  const opened = await openScaleStore(store);
  const { fs, replayed } = opened;
  await fs.getattr(ROOT_INODE);
  const openMillis = performance.now() - started;
  const steps = new Steps();
  const subject =
    shape === "sparse" ? await SparseFile.open(fs, steps) : new Files(fs, shape, steps);
  const costs: Record<string, Cost> = {};
  if (to > from) costs.grow = await each(from, to, (n) => subject.make(n));
  costs.make = await each(to, to + PROBES, (n) => subject.make(n));
  costs.look = await each(0, PROBES, (i) => subject.look(scattered(i, to + PROBES)));
  if (shape === "directory") costs.readdirEntry = await subject.list(to + PROBES);
  costs.remove = await each(to, to + PROBES, (n) => subject.remove(n));
  const residentBytes = process.resourceUsage().maxRSS * 1024;
  if (end === "close") await opened.close();
  const { longestStepMillis } = steps;
  return { openMillis, replayedRecords: replayed, residentBytes, costs, longestStepMillis };
}

/** Calls operations, and notes the longest time until one gave way to others. */
class Steps {
  longestStepMillis = 0;

  run<T>(operation: () => T): T {
    const started = performance.now();
    const outcome = operation();
    this.longestStepMillis = Math.max(this.longestStepMillis, performance.now() - started);
    return outcome;
  }
}

interface Subject {
  make(n: number): Promise<void>;
  look(n: number): Promise<void>;
  remove(n: number): Promise<void>;
  /** For one of `expected`. */
  list(expected: number): Promise<Cost>;
}

class Files implements Subject {
  private readonly fs: Vfs;
  private readonly shape: Shape;
  private readonly steps: Steps;
  private readonly directories = new Map<number, Promise<number>>();

  constructor(fs: Vfs, shape: Shape, steps: Steps) {
    this.fs = fs;
    this.shape = shape;
    this.steps = steps;
  }

  async make(n: number): Promise<void> {
    const { parent, name } = await this.placeOf(n);
    await this.steps.run(() => this.fs.mknod(ROOT_USER, parent, name, 0o100644, 0));
  }

  async look(n: number): Promise<void> {
    const { parent, name } = await this.placeOf(n);
    await this.steps.run(() => this.fs.lookup(ROOT_USER, parent, name));
  }

  async remove(n: number): Promise<void> {
    const { parent, name } = await this.placeOf(n);
    await this.steps.run(() => this.fs.unlink(ROOT_USER, parent, name));
  }

  list(expected: number): Promise<Cost> {
    return measured(expected, async () => {
      const { parent } = await this.placeOf(0);
      let entries = 0;
      await this.fs.readdir(ROOT_USER, parent, 0, () => ++entries > 0);
      if (entries !== expected) throw new Error(`${entries} entries listed of ${expected}`);
    });
  }

  private async placeOf(n: number): Promise<Place> {
    const number = this.shape === "tree" ? Math.floor(n / FILES_PER_DIRECTORY) : 0;
    let parent = this.directories.get(number);
    if (parent === undefined) {
      parent = this.directory(bytesOf(`d${number}`));
      this.directories.set(number, parent);
    }
    return { parent: await parent, name: bytesOf(`file-${n}`) };
  }

  private async directory(name: Uint8Array): Promise<number> {
    try {
      return (await this.fs.lookup(ROOT_USER, ROOT_INODE, name)).inode;
    } catch {
      return (await this.fs.mkdir(ROOT_USER, ROOT_INODE, name, 0o755)).inode;
    }
  }
}

const SPARSE_BYTES = 10e12;
const BLOCK = new Uint8Array(4096).fill(0x5a);

class SparseFile implements Subject {
  private readonly fs: Vfs;
  private readonly handle: number;
  private readonly steps: Steps;

  static async open(fs: Vfs, steps: Steps): Promise<SparseFile> {
    const name = bytesOf("sparse");
    const options = { read: true, write: true, append: false, truncate: false };
    const made = await fs.create(ROOT_USER, ROOT_INODE, name, 0o644, false, options);
    await fs.setattr(ROOT_USER, made.attributes.inode, { size: SPARSE_BYTES });
    return new SparseFile(fs, made.handle, steps);
  }

  private constructor(fs: Vfs, handle: number, steps: Steps) {
    this.fs = fs;
    this.handle = handle;
    this.steps = steps;
  }

  async make(n: number): Promise<void> {
    await this.steps.run(() => this.fs.write(this.handle, offsetOf(n), BLOCK, "none"));
  }

  async look(n: number): Promise<void> {
    const read = this.steps.run(() => this.fs.read(this.handle, offsetOf(n), BLOCK.length));
    const [piece] = read instanceof Promise ? await read : read;
    if (piece?.[0] !== BLOCK[0]) throw new Error(`block ${n} is not what was written`);
  }

  async remove(n: number): Promise<void> {
    const mode = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
    const { handle } = this;
    await this.steps.run(() => this.fs.fallocate(handle, offsetOf(n), BLOCK.length, mode));
  }

  list(): Promise<Cost> {
    return Promise.reject(new Error("a file has no entries"));
  }
}

/** Blocks in no order, none twice. */
function offsetOf(n: number): number {
  const blocks = Math.floor(SPARSE_BYTES / BLOCK.length);
  return scattered(n, blocks) * BLOCK.length;
}

/** Runs `act` for each number, some at a time; gives what one costs. */
function each(from: number, to: number, act: (n: number) => Promise<void>): Promise<Cost> {
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < to) await act(next++);
  };
  const lanes = (): Promise<unknown> => Promise.all(Array.from({ length: PARALLEL }, lane));
  return measured(to - from, lanes);
}

async function measured(operations: number, run: () => Promise<unknown>): Promise<Cost> {
  const started = performance.now();
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  const wall = (performance.now() - started) * 1000;
  return { wall: wall / operations, processor: (user + system) / operations };
}

/** The i-th of a fixed sequence of numbers below `size` that visits it all over (Knuth's multiplier). */
function scattered(i: number, size: number): number {
  return (i * 2_654_435_761) % size;
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
