/**
 * A disk for the simulator: a `SegmentStore` in memory, in virtual time, that can lose power, lose
 * its process, rot, refuse to read, write to the wrong place and fill up. One seed, one history.
 *
 * What survives what: `cached` is what a read gives (the page cache); `platter` what stable storage
 * holds. A finished write is in `cached` and in `unsynced`; a finished sync moves to `platter` what
 * was written before it began. Losing power keeps each 512-byte sector of each unsynced write or
 * not, independently, so writes are dropped, torn and reordered.
 */
import type { Done, ReserveUse, SegmentInfo, SegmentStore } from "../../logfs/core/log/api.ts";
import { assert } from "../../lib/assert.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Prng } from "../../lib/prng.ts";

const SECTOR_BYTES = 512;

export interface DiskOptions {
  /** Bytes of all segments together, reserve included. */
  readonly capacityBytes: number;
  readonly reserveBytes: number;
  readonly writeMicros: number;
  readonly syncMicros: number;
  readonly readMicros: number;
}

const DEFAULTS: DiskOptions = {
  capacityBytes: 256 * 2 ** 20,
  reserveBytes: 64 * 1024,
  writeMicros: 50,
  syncMicros: 2000,
  readMicros: 100,
};

export type Schedule = (delayMicros: number, callback: () => void) => void;

interface PendingWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface File {
  cached: Uint8Array;
  platter: Uint8Array;
  unsynced: PendingWrite[];
}

export interface PowerLoss {
  readonly sectorsLost: number;
  readonly sectorsKept: number;
}

/** What the next write meets. */
export type WriteFault =
  | { readonly kind: "error"; readonly message: string }
  /** Some of it lands, then the device says no. */
  | { readonly kind: "short"; readonly bytes: number }
  /** The device says yes and puts it somewhere else. */
  | { readonly kind: "misdirected"; readonly byBytes: number };

export class SimulatedDisk implements SegmentStore {
  private readonly files = new Map<number, File>();
  private readonly schedule: Schedule;
  private options: DiskOptions;
  private readonly unreadable = new Set<string>();
  private readonly inFlight = new Set<PendingWrite & { readonly segment: number }>();
  private reserve: number;
  /** Calls of an earlier life of the process do not come back. */
  private life = 0;
  private nextWriteFault: WriteFault | null = null;
  private nextSyncFault: string | null = null;
  readonly statistics = { writes: 0, syncs: 0, reads: 0, allocations: 0 };

  constructor(schedule: Schedule, options: Partial<DiskOptions> = {}) {
    this.schedule = schedule;
    this.options = { ...DEFAULTS, ...options };
    this.reserve = this.options.reserveBytes;
  }

  list(): SegmentInfo[] {
    return [...this.files]
      .map(([segment, file]) => ({ segment, bytes: file.cached.length }))
      .toSorted((a, b) => a.segment - b.segment);
  }

  allocate(segment: number, bytes: number): void {
    const file = this.files.get(segment);
    const more = bytes - (file?.cached.length ?? 0);
    if (more <= 0 && file !== undefined) return;
    if (more > this.space().freeBytes) {
      throw new SmfsError("NO_SPACE", `simulated disk: ${more} bytes wanted, too few left`);
    }
    this.statistics.allocations++;
    const grown = file ?? { cached: new Uint8Array(0), platter: new Uint8Array(0), unsynced: [] };
    grown.cached = resized(grown.cached, bytes);
    grown.platter = resized(grown.platter, bytes);
    this.files.set(segment, grown);
  }

  clear(segment: number, from: number): void {
    const file = this.file(segment);
    file.cached.fill(0, from);
    file.platter.set(file.cached);
    file.unsynced = [];
  }

  write(segment: number, offset: number, parts: readonly Uint8Array[], done: Done): void {
    const bytes = joined(parts);
    const fault = this.nextWriteFault;
    this.nextWriteFault = null;
    this.statistics.writes++;
    const flight = { segment, offset, bytes };
    this.inFlight.add(flight);
    this.later(this.options.writeMicros, () => {
      this.inFlight.delete(flight);
      const file = this.file(segment);
      switch (fault?.kind) {
        case undefined:
          put(file, offset, bytes);
          return done(null);
        case "misdirected":
          put(file, offset + fault.byBytes, bytes);
          return done(null);
        case "short":
          put(file, offset, bytes.subarray(0, fault.bytes));
          return done(new Error("simulated disk: short write"));
        case "error":
          return done(new Error(fault.message));
      }
    });
  }

  sync(segment: number, done: Done): void {
    const file = this.file(segment);
    const covered = file.unsynced.length;
    const fault = this.nextSyncFault;
    this.nextSyncFault = null;
    this.statistics.syncs++;
    this.later(this.options.syncMicros, () => {
      if (fault !== null) return done(new Error(fault));
      for (const write of file.unsynced.splice(0, covered))
        file.platter.set(write.bytes, write.offset);
      done(null);
    });
  }

  read(
    segment: number,
    offset: number,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void {
    this.later(this.options.readMicros, () => {
      try {
        done(null, this.readSync(segment, offset, length));
      } catch (error) {
        if (!(error instanceof SmfsError)) throw error;
        done(error, new Uint8Array(0));
      }
    });
  }

  readSync(segment: number, offset: number, length: number): Uint8Array {
    this.statistics.reads++;
    const { cached } = this.file(segment);
    const to = Math.min(cached.length, offset + length);
    for (let at = sectorOf(offset); at < to; at += SECTOR_BYTES) {
      if (this.unreadable.has(`${segment}:${at}`)) {
        throw new SmfsError("IO", `segment ${segment} offset ${at}: unreadable sector`);
      }
    }
    return cached.slice(offset, Math.max(offset, to));
  }

  remove(segment: number): void {
    assert(this.files.delete(segment), `segment ${segment} is not there`);
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
    let used = this.reserve;
    for (const file of this.files.values()) used += file.cached.length;
    return { totalBytes: capacityBytes, freeBytes: Math.max(0, capacityBytes - used) };
  }

  /**
   * The process dies: what writes had finished stays, calls under way never come back. Of a write
   * under way a prefix stays, as long as `prng` decides.
   */
  killProcess(prng: Prng): void {
    for (const { segment, offset, bytes } of this.inFlight) {
      put(this.file(segment), offset, bytes.subarray(0, prng.below(bytes.length + 1)));
    }
    this.inFlight.clear();
    this.life++;
    this.nextWriteFault = null;
    this.nextSyncFault = null;
  }

  /** The power goes: only what was synced is sure. */
  crash(prng: Prng): PowerLoss {
    this.killProcess(prng);
    let sectorsLost = 0;
    let sectorsKept = 0;
    for (const file of this.files.values()) {
      for (const write of file.unsynced) {
        const share = prng.pick([0, 0.5, 0.9, 1]);
        forEachSector(write, (from, to) => {
          const kept = prng.float() < share;
          if (kept) file.platter.set(write.bytes.subarray(from, to), write.offset + from);
          if (kept) sectorsKept++;
          else sectorsLost++;
        });
      }
      file.unsynced = [];
      file.cached = file.platter.slice();
    }
    return { sectorsLost, sectorsKept };
  }

  /** Flips one bit, on the platter and in the cache. */
  flipBit(segment: number, offset: number, bit: number): void {
    const file = this.file(segment);
    for (const bytes of [file.cached, file.platter]) {
      bytes[offset] = (bytes[offset] as number) ^ (1 << (bit & 7));
    }
  }

  /** Replaces bytes on the platter and in the cache. */
  overwrite(segment: number, offset: number, bytes: Uint8Array): void {
    const file = this.file(segment);
    file.cached.set(bytes, offset);
    file.platter.set(bytes, offset);
  }

  /** Shortens the file. */
  truncate(segment: number, bytes: number): void {
    const file = this.file(segment);
    file.cached = file.cached.slice(0, bytes);
    file.platter = file.platter.slice(0, bytes);
    file.unsynced = file.unsynced.filter((write) => write.offset + write.bytes.length <= bytes);
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

  /** Another disk with the same bytes, as if all were synced. */
  copy(schedule: Schedule): SimulatedDisk {
    const other = new SimulatedDisk(schedule, this.options);
    for (const [segment, { cached }] of this.files) {
      other.files.set(segment, { cached: cached.slice(), platter: cached.slice(), unsynced: [] });
    }
    return other;
  }

  private later(delayMicros: number, callback: () => void): void {
    const { life } = this;
    this.schedule(delayMicros, () => {
      if (life === this.life) callback();
    });
  }

  private file(segment: number): File {
    const file = this.files.get(segment);
    if (file === undefined) throw new SmfsError("IO", `segment ${segment} does not exist`);
    return file;
  }
}

function put(file: File, offset: number, bytes: Uint8Array): void {
  const fitting = bytes.subarray(0, Math.max(0, file.cached.length - offset));
  file.cached.set(fitting, offset);
  file.unsynced.push({ offset, bytes: fitting });
}

function forEachSector(write: PendingWrite, visit: (from: number, to: number) => void): void {
  const { length } = write.bytes;
  for (let from = 0; from < length; ) {
    const to = Math.min(length, sectorOf(write.offset + from) + SECTOR_BYTES - write.offset);
    visit(from, to);
    from = to;
  }
}

function sectorOf(offset: number): number {
  return offset - (offset % SECTOR_BYTES);
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return whole;
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
