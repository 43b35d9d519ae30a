/** Monotonic counts of one log since it was opened. */
export interface LogStatistics {
  readonly recordsAppended: number;
  readonly bytesAppended: number;
  readonly writes: number;
  readonly bytesWritten: number;
  readonly syncs: number;
  /** With `syncs`: how many records shared one. */
  readonly recordsSynced: number;
  readonly segmentsSealed: number;
  readonly segmentsDropped: number;
  readonly bytesDropped: number;
  /** Unused ends of sealed segments that the device did not take back. */
  readonly trimsRefused: number;
  readonly refusedForSpace: number;
  readonly reserveReleases: number;
  /** At recovery. */
  readonly tornTailsCut: number;
  readonly truncations: number;
  /** Reads that went to the disk, and those that memory answered. */
  readonly diskReads: number;
  readonly memoryReads: number;
  /** Those that the operating system's memory answered. */
  readonly cachedReads: number;
}

export type LogCounters = { -readonly [K in keyof LogStatistics]: number };

export function newCounters(): LogCounters {
  return {
    recordsAppended: 0,
    bytesAppended: 0,
    writes: 0,
    bytesWritten: 0,
    syncs: 0,
    recordsSynced: 0,
    segmentsSealed: 0,
    segmentsDropped: 0,
    bytesDropped: 0,
    trimsRefused: 0,
    refusedForSpace: 0,
    reserveReleases: 0,
    tornTailsCut: 0,
    truncations: 0,
    diskReads: 0,
    memoryReads: 0,
    cachedReads: 0,
  };
}
