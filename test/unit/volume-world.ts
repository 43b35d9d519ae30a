/** A volume on a simulated disk in virtual time, and a plain sorted map to compare it with. */
import { formatVolume, openVolume } from "../../logfs/core/fs/volume-open.ts";
import type { Transaction, Volume } from "../../logfs/core/fs/api.ts";
import type { Slot } from "../../logfs/core/fs/node.ts";
import { ChildItem, LeafItem, NodeHeader } from "../../logfs/core/fs/node.ts";
import type { Tree } from "../../logfs/core/fs/tree.ts";
import type { TreeVolume, VolumeLimits } from "../../logfs/core/fs/volume.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { LogOptions } from "../../logfs/core/log/options.ts";
import { toHex } from "../../lib/bytes.ts";
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "../sim/clock.ts";
import { SimulatedDisk } from "../sim/disk.ts";

export const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const VOLUME_ID = Uint8Array.from({ length: 16 }, (_, i) => 200 + i);

export interface WorldOptions {
  readonly nodeBytes?: number;
  readonly limits?: Partial<VolumeLimits>;
  readonly log?: LogOptions;
  readonly initialise?: (transaction: Transaction) => void;
  readonly capacityBytes?: number;
}

export class VolumeWorld {
  readonly clock = new VirtualClock();
  disk: SimulatedDisk;
  readonly options: WorldOptions;
  log: Log;
  volume: TreeVolume;

  constructor(options: WorldOptions = {}) {
    this.options = options;
    const capacityBytes = options.capacityBytes ?? 64 * 2 ** 20;
    this.disk = new SimulatedDisk(this.clock.schedule, { capacityBytes });
    this.log = Log.create(this.disk, { logId: LOG_ID, ...this.logOptions }, this.clock);
    this.log.startEpoch(1, 1);
    const format = { volumeId: VOLUME_ID, nodeBytes: options.nodeBytes ?? 512 };
    const initialise = options.initialise ?? (() => {});
    this.volume = formatVolume(this.log, this.environment, format, initialise);
  }

  get logOptions(): LogOptions {
    return { segmentBytes: 256 * 1024, allocationBytes: 16 * 1024, ...this.options.log };
  }

  get environment() {
    const { limits = {} } = this.options;
    return { clock: this.clock, space: () => this.disk.space(), limits };
  }

  /** Waits for a value in virtual time. */
  async finish<T>(value: T | Promise<T>): Promise<T> {
    if (!(value instanceof Promise)) return value;
    const wait = { over: false };
    const settled = value.finally(() => {
      wait.over = true;
    });
    settled.catch(() => {});
    for (let steps = 0; !wait.over; steps++) {
      if (steps > 100_000) throw new Error("nothing ends this wait");
      await new Promise((resolve) => setImmediate(resolve));
      if (!wait.over) this.clock.step();
    }
    return settled;
  }

  durable(): Promise<void> {
    const { log } = this;
    return this.finish(
      new Promise<void>((resolve, reject) => {
        log.whenDurable(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
      }),
    );
  }

  /** The process ends without a word and starts again. */
  async reopen(): Promise<void> {
    await this.durable();
    this.disk.killProcess(new Prng(1));
    this.disk = this.disk.successor();
    await this.recover();
  }

  /** The power goes; what was not synced is kept or lost as `seed` says. */
  async losePower(seed: number): Promise<void> {
    this.disk.crash(new Prng(seed));
    this.disk = this.disk.successor();
    await this.recover();
  }

  private async recover(): Promise<void> {
    const recovered = Log.recover(this.disk, this.logOptions, this.clock);
    if (!recovered.ok) throw recovered.failure;
    this.log = recovered.log;
    if (this.log.checkpoint === null) throw new Error("no checkpoint was found");
    this.volume = await this.finish(openVolume(this.log, this.log.checkpoint, this.environment));
  }
}

export type Change = readonly [high: number, low: number, value: Uint8Array | null];

/** Items in a plain map, sorted when asked. */
export class Model {
  readonly items = new Map<string, { high: number; low: number; value: Uint8Array }>();

  apply(changes: readonly Change[]): void {
    for (const [high, low, value] of changes) {
      if (value === null) this.items.delete(`${high}/${low}`);
      else this.items.set(`${high}/${low}`, { high, low, value });
    }
  }

  get(high: number, low: number): Uint8Array | undefined {
    return this.items.get(`${high}/${low}`)?.value;
  }

  floor(high: number, low: number): number | undefined {
    return this.lows(high, 0, low + 1).at(-1);
  }

  lows(high: number, from: number, to: number): number[] {
    const all = [...this.items.values()].filter((item) => item.high === high);
    const inRange = all.filter(({ low }) => low >= from && low < to);
    return inRange.map(({ low }) => low).toSorted((a, b) => a - b);
  }

  /** One line per item in key order. */
  lines(): string[] {
    const sorted = [...this.items.values()].toSorted((a, b) => a.high - b.high || a.low - b.low);
    return sorted.map(({ high, low, value }) => `${high}/${low} ${toHex(value)}`);
  }
}

export function applyTo(transaction: Transaction, changes: readonly Change[]): void {
  for (const [high, low, value] of changes) {
    if (value === null) transaction.delete(high, low);
    else transaction.put(high, low, value);
  }
}

/** Everything a volume holds under the given highs, as `Model.lines`. */
export function linesOf(volume: Volume, highs: readonly number[]): string[] | Promise<string[]> {
  return volume.view((view) => {
    const lines: string[] = [];
    for (const high of highs) {
      view.scan(high, 0, Number.MAX_SAFE_INTEGER, (low, value) => {
        lines.push(`${high}/${low} ${toHex(value)}`);
        return true;
      });
    }
    return lines;
  });
}

/** What is wrong with a tree in memory: sizes, order, bounds, balance, dirtiness. */
export function flawsOf(tree: Tree): string[] {
  const flaws: string[] = [];
  let dirtyBytes = 0;
  const visit = (
    slot: Slot,
    lower: readonly number[],
    upper: readonly number[],
    dirty: boolean,
  ) => {
    const { node } = slot;
    if (slot.reference === null && !dirty) flaws.push("a dirty node under a clean one");
    if (node === null) return;
    if (slot.reference === null) dirtyBytes += node.bytes;
    if (node.level !== slot.level) flaws.push(`level ${node.level} in a slot of ${slot.level}`);
    if (node.bytes > tree.nodeBytes) flaws.push(`a node of ${node.bytes} bytes`);
    let bytes = NodeHeader.size + node.children.length * ChildItem.size;
    for (let i = 0; i < node.values.length; i++) bytes += LeafItem.size + node.values.bytesAt(i);
    if (bytes !== node.bytes) flaws.push(`a node of ${bytes} bytes says ${node.bytes}`);
    if (slot !== tree.root && node.highs.length === 0) flaws.push("an empty node");
    const keys = node.highs.map((high, i) => [high, node.lows[i] as number]);
    for (const [i, key] of keys.entries()) {
      const before = i === 0 ? lower : (keys[i - 1] as number[]);
      const order = compare(before, key);
      if (i === 0 ? order > 0 : order >= 0) flaws.push(`key ${key.join("/")} out of order`);
      if (compare(key, upper) >= 0) flaws.push(`key ${key.join("/")} out of bounds`);
    }
    for (const [i, child] of node.children.entries()) {
      visit(child, keys[i] as number[], keys[i + 1] ?? upper, slot.reference === null);
    }
  };
  visit(tree.root, [0, 0], [Infinity, Infinity], true);
  if (dirtyBytes !== tree.dirtyBytes) flaws.push(`dirty ${dirtyBytes}, says ${tree.dirtyBytes}`);
  return flaws;
}

function compare(a: readonly number[], b: readonly number[]): number {
  return (a[0] as number) - (b[0] as number) || (a[1] as number) - (b[1] as number);
}
