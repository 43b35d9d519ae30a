/**
 * Parting a log in two: the end of its last segment, closed for a fork that goes on elsewhere. The
 * seal continues the chain as if the log had sealed the segment there, so the fork's own first
 * record continues it, too.
 */
import { viewOf } from "../../../lib/codec.ts";
import type { Address, Position } from "./api.ts";
import { KIND, SealSummary } from "./format.ts";
import { SEAL_BYTES } from "./options.ts";
import { blankHeader, RECORD_HEADER_BYTES, sealHeader } from "./record.ts";

export interface Parting {
  readonly logId: Uint8Array;
  /** Newest record of the segment. */
  readonly head: Position;
  /** Where the seal stands: behind that record. */
  readonly end: Address;
  /** First record of the segment. */
  readonly firstSequence: number;
  readonly timeMicros: number;
}

/** The seal as a record, and the position that the fork continues. */
export function closingSeal(parting: Parting): { bytes: Uint8Array; head: Position } {
  const { logId, head, end, firstSequence, timeMicros } = parting;
  const sequence = head.sequence + 1;
  const records = sequence + 1 - firstSequence;
  const bytes = new Uint8Array(SEAL_BYTES);
  const view = viewOf(bytes);
  SealSummary.encode(view, RECORD_HEADER_BYTES, { firstSequence, records, usedBytes: end.offset });
  const header = blankHeader(logId);
  header.kind = KIND.seal;
  header.epoch = head.epoch;
  header.sequence = sequence;
  header.timeMicros = timeMicros;
  header.segment = end.segment;
  header.offset = end.offset;
  header.metadataBytes = SealSummary.size;
  header.previousChecksum = head.checksum;
  const checksum = sealHeader(bytes, view, 0, header);
  return { bytes, head: { sequence, epoch: head.epoch, checksum } };
}
