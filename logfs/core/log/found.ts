/** What recovery finds, and what a new log or a fork begins with instead: all that a log needs to go on. */
import type { Address } from "./api.ts";
import type { ChainLink } from "./scan.ts";
import type { Mark } from "./segments.ts";

export interface RecoveryReport {
  readonly segments: number;
  readonly scannedRecords: number;
  /** Where a torn tail was cut off; null when there was none. */
  readonly cutAt: Address | null;
  /** A follower's cut record was vouched for by the primary: it must be sent again. */
  readonly cutWasVouched: boolean;
  readonly removedSegments: number;
  /** The last segment's file was cut short; what a follower lacks must be sent again. */
  readonly endedEarly: boolean;
}

export interface FoundSegment {
  readonly segment: number;
  readonly firstSequence: number;
  /** Of the file. */
  readonly bytes: number;
}

/** Everything a log needs to go on. */
export interface FoundLog {
  readonly logId: Uint8Array;
  readonly segments: readonly FoundSegment[];
  /** Some records of the last segment, `MARK_BYTES` apart. */
  readonly marks: readonly Mark[];
  readonly head: ChainLink & { readonly epoch: number };
  readonly end: Address;
  /** The last record is a seal: the next one starts a segment. */
  readonly sealed: boolean;
  /** The newest record says that records up to here were durable where it was written. */
  readonly vouchedSequence: number;
  readonly checkpoint: Address | null;
  readonly report: RecoveryReport;
}

/** What `findLog` would say of a log that has nothing yet. */
export function emptyLog(logId: Uint8Array): FoundLog {
  const head = { sequence: 0, checksum: 0, epoch: 0 };
  return {
    ...nothingFound(),
    logId,
    segments: [],
    head,
    end: { segment: 1, offset: 0 },
    sealed: false,
  };
}

/** Sealed segments of another log, and where its history was left to go on in the next segment. */
export interface Inheritance {
  readonly segments: readonly FoundSegment[];
  readonly head: FoundLog["head"];
  /** Number of the segment that the new log's first one comes after. */
  readonly lastSegment: number;
}

/** The same of a log that begins with what it inherits from another one. */
export function forkedLog(logId: Uint8Array, inherited: Inheritance): FoundLog {
  const { segments, head, lastSegment } = inherited;
  const offset = segments.find(({ segment }) => segment === lastSegment)?.bytes ?? 0;
  const end = { segment: lastSegment, offset };
  return { ...nothingFound(), logId, segments, head, end, sealed: true };
}

function nothingFound() {
  return {
    marks: [],
    vouchedSequence: 0,
    checkpoint: null,
    report: {
      segments: 0,
      scannedRecords: 0,
      cutAt: null,
      cutWasVouched: false,
      removedSegments: 0,
      endedEarly: false,
    },
  };
}
