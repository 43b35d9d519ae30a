/**
 * The tree of items as the file-system operations see it (ARCHITECTURE, "The tree").
 *
 * A key is (high, low), compared as numbers, both whole and below 2^53. Values are at most
 * `MAX_VALUE_BYTES`; a value handed out is the tree's own and must not be changed or kept past the
 * operation without a copy.
 */
import type { SyncLevel } from "../vfs.ts";
import type { Quota } from "./superblock.ts";

export const MAX_VALUE_BYTES = 4200;

export interface Item {
  readonly high: number;
  readonly low: number;
  readonly value: Uint8Array;
}

/** Reading. Every method may throw `Miss`, which the volume's driver catches. */
export interface ItemView {
  get(high: number, low: number): Uint8Array | undefined;
  /** The item with the greatest low ≤ `low` and this `high`. */
  floor(high: number, low: number): Item | undefined;
  /** Items of this `high` with from ≤ low < to, ascending, until `visit` returns false. */
  scan(
    high: number,
    from: number,
    to: number,
    visit: (low: number, value: Uint8Array) => boolean,
  ): void;
}

/**
 * One operation's changes, seen by its own reads. The operation may be run several times (after a
 * `Miss`), each time with a fresh transaction; it must do nothing else that lasts.
 */
export interface Transaction extends ItemView {
  put(high: number, low: number, value: Uint8Array): void;
  delete(high: number, low: number): void;
  /**
   * Adds file data to the record's body; gives its offset in the body. Copied when the operation is
   * appended. `checksum`: the bytes' CRC-32C, where it is known already.
   */
  addBody(bytes: Uint8Array, checksum?: number): number;
  /**
   * As `put`; when the record has its address, the address of body byte `bodyOffset` is written
   * into the value: segment (u32) at `at`, byte offset (u32) at `at` + 4.
   */
  putLocated(high: number, low: number, value: Uint8Array, at: number, bodyOffset: number): void;
  /**
   * Puts an item under the address that body byte `bodyOffset` will have: `keyOf(segment)` and the
   * byte offset in it. The operation's own reads do not see it. Addresses only grow, so such keys
   * are behind all others in the tree.
   */
  putAtAddress(keyOf: (segment: number) => number, value: Uint8Array, bodyOffset: number): void;
  /** The body holds data that was first written then, seconds since 1970: the cleaner moves it. */
  dateBody(writtenSeconds: number): void;
  /** Bytes at an address are no longer referred to (accounting, done when the operation is applied). */
  free(segment: number, offset: number, length: number): void;
  /** A new inode number, never used before; taken only if the operation is applied. */
  allocateInode(): number;
  /** Counters of the superblock: added when the operation is applied. */
  adjust(change: { inodes?: number; dataBytes?: number }): void;
}

export interface VolumeStatistics {
  readonly inodes: number;
  readonly dataBytes: number;
  readonly treeHeight: number;
  readonly cachedNodes: number;
  readonly dirtyBytes: number;
  readonly checkpoints: number;
  /** Checkpoints that the log refused (no space); the operation that caused one succeeded. */
  readonly checkpointFailures: number;
  readonly replayedRecords: number;
  readonly misses: number;
  readonly quota: Quota;
}

/** Runs operations against the tree; one operation is one record and one step of the event loop. */
export interface Volume {
  readonly readOnly: boolean;
  /** Wall-clock time of this step, for timestamps. */
  nowMicros(): number;
  /** Runs a reading operation now, or after loading what it misses. */
  view<T>(operation: (view: ItemView) => T): T | Promise<T>;
  /**
   * Runs a changing operation and appends its record. `sequence` is the record's, or that of the
   * newest record when nothing was changed. Throws EROFS on a read-only volume. `privileged`: it frees space.
   * An operation that throws has changed nothing.
   */
  change<T>(
    operation: (transaction: Transaction) => T,
    privileged?: boolean,
  ): { value: T; sequence: number } | Promise<{ value: T; sequence: number }>;
  /** Stored bytes at an address (whole blocks; the caller verifies). */
  readBlock(
    segment: number,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array>;
  readonly headSequence: number;
  readonly statistics: VolumeStatistics;
  space(): { totalBytes: number; freeBytes: number };
}

/** Who decides when a record is as safe as an operation asked for. `mirror` implements it; a volume without a mirror answers from its log. */
export interface Committer {
  /** undefined when it already is; the promise rejects with the errno the application gets. */
  wait(sequence: number, level: SyncLevel): Promise<void> | undefined;
}

/** Sync levels of one mount (docs: "what an operation waits for"). */
export interface SyncOptions {
  readonly floor: SyncLevel;
  /** fdatasync, O_DSYNC, RWF_DSYNC */
  readonly dataSync: SyncLevel;
  /** fsync */
  readonly fsync: SyncLevel;
  /** O_SYNC, RWF_SYNC */
  readonly osync: SyncLevel;
}
