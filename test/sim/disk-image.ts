/**
 * What a disk holds at one moment, and what can become of it: the part of the simulated disk that
 * knows no time. Copies are cheap (bytes are shared until one side changes them), so a copy can be
 * kept of every moment at which a crash makes a difference.
 *
 * - `cached` is what a read gives (the page cache), `platter` what stable storage holds.
 * - A write is in flight, then finished (cached), then, by a sync, on the platter. A failed sync drops
 *   its pages: they are read as before, and no later sync covers them (Rebello et al., ATC 2020).
 * - Losing power gives every 512-byte sector the content it had on the platter or after any of the
 *   writes since: so writes are dropped, torn and reordered, and a sector is never mixed.
 * - A file that grew may be found at any length it had since its last sync.
 */
import { assert } from "../../lib/assert.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Prng } from "../../lib/prng.ts";

export const SECTOR_BYTES = 512;

export interface PendingWrite {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface FileImage {
  cached: Uint8Array;
  platter: Uint8Array;
  /** The bytes belong to a copy of this image as well. */
  cachedIsShared: boolean;
  platterIsShared: boolean;
  /** Finished and not synced, oldest first. */
  unsynced: PendingWrite[];
  /** As those; no sync covers them any more. */
  dropped: PendingWrite[];
  /** Lengths that the file had since its last sync, the one it had then first. */
  lengths: number[];
}

/** What a sync that begins now covers. */
export interface SyncScope {
  readonly segment: number;
  readonly writes: readonly PendingWrite[];
  readonly lengths: number;
}

export interface PowerLoss {
  readonly sectorsLost: number;
  readonly sectorsKept: number;
}

/**
 * Decides what a power loss leaves. `versions` are the writes that touched a sector since it was
 * safe, oldest first, by their place among all such writes of the disk: as many as the answer says
 * are kept. `length` picks one of a file's lengths, the safe one first.
 */
export interface Survival {
  versionsKept(versions: readonly number[]): number;
  length(lengths: readonly number[]): number;
}

export class DiskImage {
  private readonly files = new Map<number, FileImage>();
  private inFlight: PendingWrite[] = [];

  copy(): DiskImage {
    const other = new DiskImage();
    for (const [segment, file] of this.files) {
      file.cachedIsShared = true;
      file.platterIsShared = true;
      const { unsynced, dropped, lengths } = file;
      const lists = { unsynced: [...unsynced], dropped: [...dropped], lengths: [...lengths] };
      other.files.set(segment, { ...file, ...lists });
    }
    other.inFlight = [...this.inFlight];
    return other;
  }

  /** Images with the same bytes in their segments (as read, whatever is synced) give the same. */
  fingerprint(): string {
    const parts = this.segments().map((segment) => {
      const file = this.file(segment);
      // Nobody writes to bytes that are shared: their sum stays right.
      file.cachedIsShared = true;
      return `${segment}:${file.cached.length}:${sumOf(file.cached)}`;
    });
    return parts.join(" ");
  }

  segments(): number[] {
    return [...this.files.keys()].toSorted((a, b) => a - b);
  }

  has(segment: number): boolean {
    return this.files.has(segment);
  }

  lengthOf(segment: number): number {
    return this.files.get(segment)?.cached.length ?? 0;
  }

  totalBytes(): number {
    let sum = 0;
    for (const { cached } of this.files.values()) sum += cached.length;
    return sum;
  }

  /** The bytes that a read gives. */
  read(segment: number): Uint8Array {
    return this.file(segment).cached;
  }

  make(segment: number): void {
    const none = new Uint8Array(0);
    const shared = { cachedIsShared: true, platterIsShared: true };
    const lists = { unsynced: [], dropped: [], lengths: [] };
    this.files.set(segment, { cached: none, platter: none, ...shared, ...lists });
  }

  grow(segment: number, bytes: number, durability: "durable" | "with the next sync"): void {
    const file = this.file(segment);
    if (durability === "with the next sync") file.lengths.push(file.cached.length);
    else file.lengths = [];
    file.cached = resized(file.cached, bytes);
    file.platter = resized(file.platter, bytes);
    file.cachedIsShared = false;
    file.platterIsShared = false;
  }

  /** Gives back what is allocated behind `bytes`; a power loss may bring it back. */
  trim(segment: number, bytes: number): void {
    const file = this.file(segment);
    if (bytes >= file.cached.length) return;
    file.lengths.push(file.cached.length);
    this.shorten(file, bytes);
  }

  begin(write: PendingWrite): void {
    this.inFlight.push(write);
  }

  /** `landed`: what of it reached the page cache, where. */
  finish(write: PendingWrite, landed: PendingWrite = write): void {
    this.inFlight = this.inFlight.filter((one) => one !== write);
    this.put(landed);
  }

  put({ segment, offset, bytes }: PendingWrite): void {
    const file = this.file(segment);
    const fitting = bytes.subarray(0, Math.max(0, file.cached.length - offset));
    if (fitting.length === 0) return;
    cacheOf(file).set(fitting, offset);
    file.unsynced.push({ segment, offset, bytes: fitting });
  }

  syncScope(segment: number): SyncScope {
    const { unsynced, lengths } = this.file(segment);
    return { segment, writes: [...unsynced], lengths: lengths.length };
  }

  synced(scope: SyncScope): void {
    const file = this.file(scope.segment);
    for (const write of scope.writes) {
      platterOf(file).set(write.bytes, write.offset);
      file.dropped = file.dropped.flatMap((one) => outside(one, write));
    }
    this.forget(scope);
  }

  /** The sync failed: its pages count as clean, whatever is on the platter. */
  syncFailed(scope: SyncScope): void {
    this.file(scope.segment).dropped.push(...scope.writes);
    this.forget(scope);
  }

  private forget(scope: SyncScope): void {
    const file = this.file(scope.segment);
    const covered = new Set(scope.writes);
    file.unsynced = file.unsynced.filter((write) => !covered.has(write));
    file.lengths = file.lengths.slice(scope.lengths);
  }

  remove(segment: number): void {
    assert(this.files.delete(segment), `segment ${segment} is not there`);
  }

  /** Changes bytes on the platter and in the cache alike. */
  change(segment: number, change: (bytes: Uint8Array) => void): void {
    const file = this.file(segment);
    change(cacheOf(file));
    change(platterOf(file));
  }

  truncate(segment: number, bytes: number): void {
    const file = this.file(segment);
    this.shorten(file, bytes);
    file.unsynced = file.unsynced.filter((write) => write.offset + write.bytes.length <= bytes);
  }

  private shorten(file: FileImage, bytes: number): void {
    file.cached = file.cached.slice(0, bytes);
    file.platter = file.platter.slice(0, bytes);
    file.cachedIsShared = false;
    file.platterIsShared = false;
  }

  /** Everything that was finished is on the platter, as after a sync of all. */
  settle(): void {
    for (const file of this.files.values()) settleAs(file, file.cached);
  }

  /** The process dies: of each write in flight the prefix stays that `keeps` says. */
  loseProcess(keeps: (write: PendingWrite) => number): void {
    for (const write of this.inFlight) {
      if (!this.files.has(write.segment)) continue;
      this.put({ ...write, bytes: write.bytes.subarray(0, keeps(write)) });
    }
    this.inFlight = [];
  }

  /** Writes that a power loss may lose, oldest first. */
  pending(): PendingWrite[] {
    const files = [...this.files.values()];
    const finished = files.flatMap(({ dropped, unsynced }) => [...dropped, ...unsynced]);
    return [...finished, ...this.inFlight.filter(({ segment }) => this.files.has(segment))];
  }

  losePower(survival: Survival): PowerLoss {
    const sectors = this.sectorsOf(this.pending());
    const loss = { sectorsLost: 0, sectorsKept: 0 };
    for (const { segment, at, versions } of sectors) {
      const count = survival.versionsKept(versions.map(({ index }) => index));
      const bytes = platterOf(this.file(segment));
      for (const { write } of versions.slice(0, count)) putSector(bytes, at, write);
      loss.sectorsKept += count;
      loss.sectorsLost += versions.length - count;
    }
    for (const file of this.files.values()) {
      const lengths = [...file.lengths, file.platter.length];
      const length = survival.length(lengths);
      settleAs(file, length === file.platter.length ? file.platter : resized(file.platter, length));
    }
    this.inFlight = [];
    return loss;
  }

  private sectorsOf(writes: readonly PendingWrite[]) {
    const sectors = new Map<string, Sector>();
    for (const [index, write] of writes.entries()) {
      const end = write.offset + write.bytes.length;
      for (let at = sectorOf(write.offset); at < end; at += SECTOR_BYTES) {
        const key = `${write.segment}:${at}`;
        const sector = sectors.get(key) ?? { segment: write.segment, at, versions: [] };
        sector.versions.push({ index, write });
        sectors.set(key, sector);
      }
    }
    return sectors.values();
  }

  private file(segment: number): FileImage {
    const file = this.files.get(segment);
    if (file === undefined) throw new SmfsError("NOT_FOUND", `segment ${segment} does not exist`);
    return file;
  }
}

const sums = new WeakMap<Uint8Array, number>();

function sumOf(bytes: Uint8Array): number {
  const known = sums.get(bytes);
  if (known !== undefined) return known;
  const sum = crc32c(bytes);
  sums.set(bytes, sum);
  return sum;
}

interface Sector {
  readonly segment: number;
  readonly at: number;
  readonly versions: { index: number; write: PendingWrite }[];
}

/** What of a write is not written over by a later one. */
function outside(write: PendingWrite, later: PendingWrite): PendingWrite[] {
  const { segment, offset, bytes } = write;
  const before = bytes.subarray(0, Math.max(0, later.offset - offset));
  const end = Math.min(Math.max(0, later.offset + later.bytes.length - offset), bytes.length);
  const behind = bytes.subarray(end);
  return [
    { segment, offset, bytes: before },
    { segment, offset: offset + end, bytes: behind },
  ].filter((piece) => piece.bytes.length > 0);
}

/** Each write has its luck, and within a write each sector: writes are dropped, torn and reordered. */
export function randomSurvival(prng: Prng): Survival {
  const shares = new Map<number, number>();
  const survives = (index: number): boolean => {
    const share = shares.get(index) ?? prng.pick([0, 0.5, 0.9, 1]);
    shares.set(index, share);
    return prng.float() < share;
  };
  return {
    versionsKept: (versions) => 1 + versions.findLastIndex((index) => survives(index)),
    length: (lengths) => prng.pick(lengths),
  };
}

export function sectorOf(offset: number): number {
  return offset - (offset % SECTOR_BYTES);
}

function settleAs(file: FileImage, bytes: Uint8Array): void {
  file.cached = bytes;
  file.platter = bytes;
  file.unsynced = [];
  file.dropped = [];
  file.lengths = [];
  file.cachedIsShared = true;
  file.platterIsShared = true;
}

function cacheOf(file: FileImage): Uint8Array {
  if (file.cachedIsShared) file.cached = file.cached.slice();
  file.cachedIsShared = false;
  return file.cached;
}

function platterOf(file: FileImage): Uint8Array {
  if (file.platterIsShared) file.platter = file.platter.slice();
  file.platterIsShared = false;
  return file.platter;
}

function putSector(platter: Uint8Array, at: number, write: PendingWrite): void {
  const from = Math.max(at, write.offset);
  const to = Math.min(at + SECTOR_BYTES, write.offset + write.bytes.length, platter.length);
  if (to > from) platter.set(write.bytes.subarray(from - write.offset, to - write.offset), from);
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(bytes.subarray(0, length));
  return whole;
}
