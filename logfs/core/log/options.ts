/** What a log can be told, with defaults, bounds and their reasons. */
import { SmfsError } from "../../../lib/errors.ts";
import { RecordHeader, SealSummary, SegmentHeader } from "./format.ts";

export const ID_BYTES = 16;
/** A seal record always fits behind the last record of a segment: room is kept for it. */
export const SEAL_BYTES = RecordHeader.size + SealSummary.size;
/** Offsets are u32 on disk, and kept below 2^31 so that rounding may use 32-bit operations. */
export const MAX_SEGMENT_BYTES = 2 ** 31 - 4096;

export interface LogOptions {
  /** A segment is sealed before it grows past this; rounded down to whole 4 KiB pages. */
  readonly segmentBytes?: number;
  /** Longest record, header and padding included. */
  readonly maxRecordBytes?: number;
  /** Space is taken from the device in steps of this. */
  readonly allocationBytes?: number;
  /** Written records nobody waits for are synced this long after they were written. */
  readonly commitIntervalMicros?: number;
  /**
   * So many written bytes are synced without waiting for the interval: what is left to sync when
   * somebody waits, or when a segment is full, takes a bounded time.
   */
  readonly commitBytes?: number;
  /** Recent records kept in memory after they were written, for readers that follow closely. */
  readonly tailBytes?: number;
  /** The store that writes, for its epoch records. 16 bytes. */
  readonly writerId?: Uint8Array;
}

export type ResolvedOptions = Required<LogOptions>;

/** Segments are allocated in whole pages. */
export const PAGE_BYTES = 4096;

export function resolveOptions(options: LogOptions): ResolvedOptions {
  const segmentBytes = roundDown(options.segmentBytes ?? 100_000_000, PAGE_BYTES);
  const room = segmentBytes - SegmentHeader.size - SEAL_BYTES;
  const resolved = {
    segmentBytes,
    maxRecordBytes: options.maxRecordBytes ?? Math.min(4 * 2 ** 20, room),
    allocationBytes: options.allocationBytes ?? 8 * 2 ** 20,
    commitIntervalMicros: options.commitIntervalMicros ?? 1_000_000,
    commitBytes: options.commitBytes ?? 32 * 2 ** 20,
    tailBytes: options.tailBytes ?? 16 * 2 ** 20,
    writerId: options.writerId ?? new Uint8Array(ID_BYTES),
  };
  check(segmentBytes > 0 && segmentBytes <= MAX_SEGMENT_BYTES, "segmentBytes is 4 KiB to 2 GiB");
  check(resolved.maxRecordBytes <= room, `maxRecordBytes is at most ${room} in such segments`);
  check(resolved.maxRecordBytes >= 256, "maxRecordBytes is at least 256");
  check(resolved.allocationBytes >= PAGE_BYTES, "allocationBytes is at least one page of 4 KiB");
  check(resolved.commitIntervalMicros > 0, "commitIntervalMicros is greater than zero");
  check(resolved.commitBytes > 0, "commitBytes is greater than zero");
  check(resolved.tailBytes >= 0, "tailBytes is not negative");
  check(resolved.writerId.length === ID_BYTES, "writerId is 16 bytes");
  return resolved;
}

function check(holds: boolean, rule: string): void {
  if (!holds) throw new SmfsError("CONFIG", `log options: ${rule}`);
}

function roundDown(value: number, step: number): number {
  return Math.floor(value / step) * step;
}
