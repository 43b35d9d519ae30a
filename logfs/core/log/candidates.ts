/**
 * The files that recovery finds, judged by their headers: which is the last one of the log, and
 * whether those before it are all there and belong to it.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { inspectAftermath } from "./aftermath.ts";
import type { Address, SegmentInfo, SegmentStore } from "./api.ts";
import type { SegmentHeader } from "./format.ts";
import { scanRecords } from "./scan.ts";
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";

/** A file, and its header or what is wrong with that. */
export type Candidate = SegmentInfo & { readonly header: SegmentHeader | SmfsError };

/** Throws `SmfsError` NEWER_VERSION and IO: those are not for recovery to judge. */
export function readCandidate(store: SegmentStore, info: SegmentInfo): Candidate {
  try {
    const bytes = store.readSync(info.segment, 0, SEGMENT_HEADER_BYTES);
    const header = readSegmentHeader(bytes, info.segment);
    return { ...info, header: { ...header, logId: header.logId.slice() } };
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code === "IO") throw error;
    if (error.code === "NEWER_VERSION") throw error;
    return { ...info, header: error };
  }
}

/** What is dropped stands before the newest checkpoint's segment. Throws `SmfsError` DAMAGED. */
export function refuseGaps(candidates: readonly Candidate[], checkpoint: Address | null): void {
  const neededFrom = checkpoint?.segment ?? 1;
  let before = 0;
  for (const { segment } of candidates) {
    if (segment !== before + 1 && segment > neededFrom) {
      const missing = Math.max(before + 1, neededFrom);
      throw new SmfsError("DAMAGED", `segment ${missing} is missing`);
    }
    before = segment;
  }
}

export interface LastSegment {
  readonly index: number;
  readonly header: SegmentHeader;
  readonly bytes: number;
}

/**
 * The last segment that has a record; the first of all when none has. Throws `SmfsError` DAMAGED,
 * OTHER_HISTORY, NOT_FOUND.
 */
export function lastWithRecords(
  store: SegmentStore,
  candidates: readonly Candidate[],
  ancestors: readonly Uint8Array[],
): LastSegment {
  for (let index = candidates.length - 1; index >= 0; index--) {
    const { header, bytes } = candidates[index] as Candidate;
    if (header instanceof SmfsError) continue;
    if (index > 0 && !startsWithRecord(store, header)) continue;
    refuseBadHeaders(candidates.slice(0, index), header, ancestors);
    return { index, header, bytes };
  }
  return refuseHeadless(store, candidates);
}

function startsWithRecord(store: SegmentStore, header: SegmentHeader): boolean {
  let intact = false;
  scanRecords(store, scanStart(header), null, (record) => {
    intact = record.metadata() !== null && record.body() !== null;
    return false;
  });
  return intact;
}

/** Where the records of a segment begin, and what the first one continues. */
export function scanStart(header: SegmentHeader) {
  const after = { sequence: header.firstSequence - 1, checksum: header.previousChecksum };
  return { segment: header.segment, offset: SEGMENT_HEADER_BYTES, logId: header.logId, after };
}

function refuseBadHeaders(
  before: readonly Candidate[],
  last: SegmentHeader,
  ancestors: readonly Uint8Array[],
): void {
  const accepted = [last.logId, ...ancestors];
  let firstSequence = 0;
  for (const { header, segment } of before) {
    if (header instanceof SmfsError) throw header;
    if (header.firstSequence <= firstSequence || header.firstSequence >= last.firstSequence) {
      throw new SmfsError("DAMAGED", `segment ${segment} offset 0: sequence out of order`);
    }
    if (!accepted.some((logId) => equalBytes(logId, header.logId))) {
      throw new SmfsError("OTHER_HISTORY", `segment ${segment} belongs to another log`);
    }
    firstSequence = header.firstSequence;
  }
}

/**
 * No header verifies. A log's first header is durable before its first record is written, so if no
 * record ever was, the log was not completed; otherwise this is damage.
 */
function refuseHeadless(store: SegmentStore, candidates: readonly Candidate[]): never {
  for (const { segment, header } of candidates) {
    const behind = { segment, offset: SEGMENT_HEADER_BYTES };
    if (inspectAftermath(store, behind, 1, new Uint8Array(0)).written) throw header;
  }
  for (const { segment } of candidates.toReversed()) store.remove(segment);
  throw new SmfsError("NOT_FOUND", "the log was never completed; it can be created anew");
}
