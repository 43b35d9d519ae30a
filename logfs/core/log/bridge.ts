/**
 * Ending a log behind damage, so that it can go on. What stands behind a damaged record cannot be
 * reached by a scan that follows the chain, so the segment in which it stands must not stay the last
 * one: its last whole record is followed by a seal, and a new segment begins with a new epoch.
 *
 * The chain goes on from the last whole record, so a mirror that has everything takes the seal and
 * what follows as it takes any other record.
 *
 * The seal is made durable first: a crash before the new segment leaves the log as damaged as it was,
 * and bridging it again finds the seal.
 */
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Clock } from "../../../lib/ports.ts";
import type { Address, SegmentStore } from "./api.ts";
import { EPOCH_REASON } from "./epoch.ts";
import { EpochStart, KIND, type RecordHeader, SealSummary } from "./format.ts";
import { SEAL_BYTES } from "./options.ts";
import { blankHeader, RECORD_HEADER_BYTES, recordBytes, sealHeader } from "./record.ts";
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";

export interface BridgeOptions {
  /** Last whole record of the log, wherever it stands. */
  readonly last: RecordHeader;
  /** Sequence of the first record of its segment. */
  readonly firstSequence: number;
  /** Newest checkpoint that can be read. */
  readonly checkpoint: Address | null;
  readonly epoch: number;
  readonly writerId: Uint8Array;
  readonly allocationBytes: number;
  /** Told what is cleared or removed, from these addresses to the ends of their files. */
  readonly beforeCut: (parts: readonly Address[]) => void;
}

/** Gives the number of the new segment. Throws `SmfsError` NO_SPACE, IO. */
export async function bridgeLog(
  store: SegmentStore,
  time: Pick<Clock, "wallMicros">,
  options: BridgeOptions,
): Promise<number> {
  const { last, allocationBytes } = options;
  const next = last.segment + 1;
  const behind = store.list().filter(({ segment }) => segment >= next);
  const parts = behind.map(({ segment }) => ({ segment, offset: 0 }));
  options.beforeCut([{ segment: last.segment, offset: endOf(last) }, ...parts]);
  const sealed = last.kind === KIND.seal ? null : sealBehind(last, options, time);
  if (sealed !== null) {
    store.allocate(last.segment, sealed.offset + SEAL_BYTES);
    store.clear(last.segment, sealed.offset);
    await put(store, last.segment, sealed.offset, sealed.bytes);
  }
  // No record stands in them: the last one is in front.
  for (const { segment } of behind.toReversed()) store.remove(segment);
  store.allocate(next, allocationBytes);
  await put(store, next, 0, firstBytes(next, sealed ?? last, options, time));
  return next;
}

interface Sealed extends RecordHeader {
  readonly bytes: Uint8Array;
}

function sealBehind(
  last: RecordHeader,
  { firstSequence }: BridgeOptions,
  time: Pick<Clock, "wallMicros">,
): Sealed {
  const usedBytes = endOf(last);
  const header = blankHeader(last.logId);
  header.kind = KIND.seal;
  header.epoch = last.epoch;
  header.sequence = last.sequence + 1;
  header.timeMicros = time.wallMicros();
  header.durableSequence = last.durableSequence;
  header.segment = last.segment;
  header.offset = usedBytes;
  header.metadataBytes = SealSummary.size;
  header.previousChecksum = last.headerChecksum;
  const bytes = new Uint8Array(recordBytes(SealSummary.size, 0));
  const records = header.sequence - firstSequence + 1;
  SealSummary.encode(viewOf(bytes), RECORD_HEADER_BYTES, { firstSequence, records, usedBytes });
  const headerChecksum = sealHeader(bytes, viewOf(bytes), 0, header);
  return { ...header, headerChecksum, bytes };
}

/** Header of the new segment and the epoch record. */
function firstBytes(
  segment: number,
  before: RecordHeader,
  { epoch, writerId, checkpoint }: BridgeOptions,
  time: Pick<Clock, "wallMicros">,
): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES + recordBytes(EpochStart.size, 0));
  const { logId, headerChecksum: previousChecksum } = before;
  const firstSequence = before.sequence + 1;
  encodeSegmentHeader(bytes, { logId, segment, firstSequence, previousChecksum, checkpoint });
  const header = blankHeader(logId);
  header.kind = KIND.epoch;
  header.epoch = epoch;
  header.sequence = firstSequence;
  header.timeMicros = time.wallMicros();
  header.durableSequence = before.durableSequence;
  header.segment = segment;
  header.offset = SEGMENT_HEADER_BYTES;
  header.metadataBytes = EpochStart.size;
  header.previousChecksum = previousChecksum;
  const view = viewOf(bytes);
  const reason = EPOCH_REASON.opened;
  EpochStart.encode(view, SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES, {
    previousEpoch: before.epoch,
    writerId,
    reason,
  });
  sealHeader(bytes, view, SEGMENT_HEADER_BYTES, header);
  return bytes;
}

function endOf({ offset, metadataBytes, bodyBytes }: RecordHeader): number {
  return offset + recordBytes(metadataBytes, bodyBytes);
}

/** Writes bytes, makes them durable, and reads them back. Throws `SmfsError` IO. */
export async function put(
  store: SegmentStore,
  segment: number,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    store.write(segment, offset, [bytes], (failure) => {
      if (failure !== null) return reject(failure);
      store.sync(segment, (error) => (error === null ? resolve() : reject(error)));
    });
  });
  const found = store.readSync(segment, offset, bytes.length);
  if (found.every((byte, i) => byte === bytes[i]) && found.length === bytes.length) return;
  const where = `segment ${segment} offset ${offset}`;
  throw new SmfsError("IO", `${where}: the device does not keep what is written there`);
}
