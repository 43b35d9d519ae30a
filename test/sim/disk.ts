/**
 * A disk for the simulator: a `SegmentStore` in memory, in virtual time, that can lose power, lose
 * its process, rot, refuse to read, write to the wrong place and fill up. One seed, one history.
 *
 * What it holds, and what survives what, is `DiskImage`'s; this file adds time, faults, room, and
 * `onBoundary`, which is told of every step that a crash can come before or after.
 */
import type { Done, ReserveUse, SegmentInfo, SegmentStore } from "../../logfs/core/log/api.ts";
import { assert } from "../../lib/assert.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Prng } from "../../lib/prng.ts";
import { DiskImage, type PowerLoss, randomSurvival, SECTOR_BYTES, sectorOf } from "./disk-image.ts";

export interface DiskOptions {
  /** Bytes of all segments together, reserve included. */
  readonly capacityBytes: number;
  readonly reserveBytes: number;
  readonly writeMicros: number;
  readonly syncMicros: number;
  readonly readMicros: number;
  /** A file of whole such steps that grows by one or more is not synced: a power loss may undo it. */
  readonly looseGrowthBytes: number;
  /** Which reads need not wait for the device: none, or those of every other page. */
  readonly pageCache: "none" | "half";
}

const DEFAULTS: DiskOptions = {
  capacityBytes: 256 * 2 ** 20,
  reserveBytes: 64 * 1024,
  writeMicros: 50,
  syncMicros: 2000,
  readMicros: 100,
  looseGrowthBytes: Infinity,
  pageCache: "half",
};

export type Schedule = (delayMicros: number, callback: () => void) => void;

/** What the next write meets. */
export type WriteFault =
  | { readonly kind: "error"; readonly message: string }
  /** Some of it lands, then the device says no. */
  | { readonly kind: "short"; readonly bytes: number }
  /** The device says yes and puts it somewhere else. */
  | { readonly kind: "misdirected"; readonly byBytes: number };

export class SimulatedDisk implements SegmentStore {
  private readonly image: DiskImage;
  private readonly schedule: Schedule;
  private options: DiskOptions;
  private readonly unreadable = new Set<string>();
  private reserve: number;
  /** Calls of an earlier life of the process do not come back. */
  private life = 0;
  private nextWriteFault: WriteFault | null = null;
  private nextSyncFault: string | null = null;
  private refusedAllocations = 0;
  readonly statistics = { writes: 0, syncs: 0, reads: 0, allocations: 0 };
  /** Called after each step that changes what a crash would leave. */
  onBoundary: (what: string) => void = () => {};

  constructor(schedule: Schedule, options: Partial<DiskOptions> = {}, image = new DiskImage()) {
    this.schedule = schedule;
    this.options = { ...DEFAULTS, ...options };
    this.image = image;
    this.reserve = this.options.reserveBytes;
  }

  /** What it holds now; the disk's own writing does not change the copy. */
  snapshot(): DiskImage {
    return this.image.copy();
  }

  list(): SegmentInfo[] {
    return this.image
      .segments()
      .map((segment) => ({ segment, bytes: this.image.lengthOf(segment) }));
  }

  allocate(segment: number, bytes: number): void {
    const { image } = this;
    const isNew = !image.has(segment);
    const more = bytes - image.lengthOf(segment);
    if (more <= 0 && !isNew) return;
    if (this.refusedAllocations > 0) this.refusedAllocations--;
    else if (more <= this.space().freeBytes) return this.grow(segment, bytes, isNew);
    throw new SmfsError("NO_SPACE", `simulated disk: ${more} bytes wanted, too few left`);
  }

  private grow(segment: number, bytes: number, isNew: boolean): void {
    const { image } = this;
    this.statistics.allocations++;
    if (isNew) image.make(segment);
    if (isNew) this.onBoundary(`segment ${segment} made`);
    const had = image.lengthOf(segment);
    const step = this.options.looseGrowthBytes;
    const isLoose = !isNew && bytes - had >= step && had % step === 0;
    image.grow(segment, bytes, isLoose ? "with the next sync" : "durable");
    this.onBoundary(`segment ${segment} grown to ${bytes}`);
  }

  clear(segment: number, from: number): void {
    const { image } = this;
    image.put({ segment, offset: from, bytes: new Uint8Array(image.lengthOf(segment) - from) });
    this.onBoundary(`segment ${segment} cleared from ${from}`);
    image.synced(image.syncScope(segment));
    this.onBoundary(`segment ${segment} synced after clearing`);
  }

  rewrite(segment: number, from: number, to: number): void {
    const { image } = this;
    image.put({ segment, offset: from, bytes: this.readSync(segment, from, to - from) });
    this.onBoundary(`segment ${segment} written again from ${from}`);
    const scope = image.syncScope(segment);
    const fault = this.nextSyncFault;
    this.nextSyncFault = null;
    if (fault === null) image.synced(scope);
    else image.syncFailed(scope);
    this.onBoundary(`segment ${segment} synced after writing again: ${fault ?? "done"}`);
    if (fault !== null) throw new SmfsError("IO", fault);
  }

  trim(segment: number, bytes: number): void {
    const unused = this.image.read(segment).subarray(bytes);
    assert(
      unused.every((byte) => byte === 0),
      "what is trimmed was never written",
    );
    this.image.trim(segment, bytes);
    this.onBoundary(`segment ${segment} trimmed to ${bytes}`);
  }

  write(segment: number, offset: number, parts: readonly Uint8Array[], done: Done): void {
    const bytes = joined(parts);
    const fault = this.nextWriteFault;
    this.nextWriteFault = null;
    this.statistics.writes++;
    const write = { segment, offset, bytes };
    this.image.begin(write);
    this.onBoundary(`write of ${bytes.length} at ${segment}:${offset} begun`);
    this.later(this.options.writeMicros, () => {
      // An open file takes what is written although its name is gone.
      if (!this.image.has(segment)) return done(null);
      this.image.finish(write, landed(write, fault));
      this.remap(landed(write, fault));
      this.onBoundary(`write of ${bytes.length} at ${segment}:${offset} done`);
      if (fault === null || fault.kind === "misdirected") return done(null);
      done(new Error(fault.kind === "error" ? fault.message : "simulated disk: short write"));
    });
  }

  sync(segment: number, done: Done): void {
    if (!this.image.has(segment)) return this.later(this.options.syncMicros, () => done(null));
    const scope = this.image.syncScope(segment);
    const fault = this.nextSyncFault;
    this.nextSyncFault = null;
    this.statistics.syncs++;
    this.later(this.options.syncMicros, () => {
      if (!this.image.has(segment)) return done(null);
      if (fault === null) this.image.synced(scope);
      else this.image.syncFailed(scope);
      this.onBoundary(`sync of segment ${segment} ${fault ?? "done"}`);
      done(fault === null ? null : new Error(fault));
    });
  }

  readCached(segment: number, offset: number, into: Uint8Array): boolean {
    const isCached = this.options.pageCache === "half" && (offset >>> 12) % 2 === 1;
    if (!isCached || !this.image.has(segment)) return false;
    try {
      const bytes = this.readFrom(this.image.read(segment), segment, offset, into.length);
      if (bytes.length < into.length) return false;
      into.set(bytes);
      return true;
    } catch (error) {
      if (!(error instanceof SmfsError)) throw error;
      return false;
    }
  }

  read(
    segment: number,
    offset: number,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void {
    // An open file is read even when its name is gone by then.
    const opened = this.image.has(segment) ? this.image.read(segment) : null;
    this.later(this.options.readMicros, () => {
      try {
        const bytes =
          opened !== null && !this.image.has(segment) ? opened : this.image.read(segment);
        done(null, this.readFrom(bytes, segment, offset, length));
      } catch (error) {
        if (!(error instanceof SmfsError)) throw error;
        done(error, new Uint8Array(0));
      }
    });
  }

  readSync(segment: number, offset: number, length: number): Uint8Array {
    return this.readFrom(this.image.read(segment), segment, offset, length);
  }

  private readFrom(bytes: Uint8Array, segment: number, offset: number, length: number): Uint8Array {
    this.statistics.reads++;
    const to = Math.min(bytes.length, offset + length);
    if (this.unreadable.size > 0) this.refuseUnreadable(segment, offset, to);
    return bytes.slice(offset, Math.max(offset, to));
  }

  private refuseUnreadable(segment: number, from: number, to: number): void {
    for (let at = sectorOf(from); at < to; at += SECTOR_BYTES) {
      if (this.unreadable.has(`${segment}:${at}`)) {
        throw new SmfsError("IO", `segment ${segment} offset ${at}: unreadable sector`);
      }
    }
  }

  /** A device gives a sector that cannot be read another place when it is written. */
  private remap({ segment, offset, bytes }: Write): void {
    if (this.unreadable.size === 0) return;
    for (let at = sectorOf(offset); at < offset + bytes.length; at += SECTOR_BYTES) {
      this.unreadable.delete(`${segment}:${at}`);
    }
  }

  remove(segment: number): void {
    this.image.remove(segment);
    this.onBoundary(`segment ${segment} removed`);
  }

  releaseReserve(bytes: number, use: ReserveUse): boolean {
    const kept = use === "epoch" ? 0 : this.options.reserveBytes / 4;
    if (this.reserve - bytes < kept) return false;
    this.reserve -= bytes;
    return true;
  }

  restoreReserve(): void {
    if (this.space().freeBytes >= this.options.reserveBytes)
      this.reserve = this.options.reserveBytes;
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { capacityBytes } = this.options;
    const used = this.reserve + this.image.totalBytes();
    return { totalBytes: capacityBytes, freeBytes: Math.max(0, capacityBytes - used) };
  }

  /**
   * The process dies: what writes had finished stays, calls under way never come back. Of a write
   * under way a prefix stays, as long as `prng` decides.
   */
  killProcess(prng: Prng): void {
    this.image.loseProcess(({ bytes }) => prng.below(bytes.length + 1));
    this.life++;
    this.nextWriteFault = null;
    this.nextSyncFault = null;
    this.refusedAllocations = 0;
  }

  /** The power goes: only what was synced is sure. */
  crash(prng: Prng): PowerLoss {
    this.killProcess(prng);
    return this.image.losePower(randomSurvival(prng));
  }

  /** Flips one bit, on the platter and in the cache. */
  flipBit(segment: number, offset: number, bit: number): void {
    this.image.change(segment, (bytes) => {
      bytes[offset] = (bytes[offset] as number) ^ (1 << (bit & 7));
    });
  }

  /** Replaces bytes on the platter and in the cache. */
  overwrite(segment: number, offset: number, bytes: Uint8Array): void {
    this.image.change(segment, (whole) => whole.set(bytes, offset));
  }

  /** Shortens the file. */
  truncate(segment: number, bytes: number): void {
    this.image.truncate(segment, bytes);
  }

  /** Somebody else filled the device, or gave it more room. */
  resize(capacityBytes: number): void {
    this.options = { ...this.options, capacityBytes };
  }

  makeUnreadable(segment: number, offset: number): void {
    this.unreadable.add(`${segment}:${sectorOf(offset)}`);
  }

  failNextWrite(fault: WriteFault): void {
    this.nextWriteFault = fault;
  }

  failNextSync(message: string): void {
    this.nextSyncFault = message;
  }

  /** The device has no room for the next `count` allocations. */
  refuseAllocations(count: number): void {
    this.refusedAllocations = count;
  }

  /**
   * The disk as the next process finds it, when this one's is over: whoever goes on in the dead one
   * (a promise that was under way) writes to this one, and nobody sees it.
   */
  successor(): SimulatedDisk {
    const next = new SimulatedDisk(this.schedule, this.options, this.image.copy());
    next.reserve = this.reserve;
    for (const sector of this.unreadable) next.unreadable.add(sector);
    return next;
  }

  /** Another disk with the same bytes, as if all were synced. */
  copy(schedule: Schedule): SimulatedDisk {
    const image = this.image.copy();
    image.settle();
    return new SimulatedDisk(schedule, this.options, image);
  }

  private later(delayMicros: number, callback: () => void): void {
    const { life } = this;
    this.schedule(delayMicros, () => {
      if (life === this.life) callback();
    });
  }
}

interface Write {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What of a write reached the page cache, and where. */
function landed(write: Write, fault: WriteFault | null): Write {
  switch (fault?.kind) {
    case undefined:
      return write;
    case "misdirected":
      return { ...write, offset: write.offset + fault.byBytes };
    case "short":
      return { ...write, bytes: write.bytes.subarray(0, fault.bytes) };
    case "error":
      return { ...write, bytes: write.bytes.subarray(0, 0) };
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
