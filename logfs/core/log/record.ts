/**
 * Records as bytes: encoding in place, and the checks of one record on its own. What a record must
 * be in relation to its neighbours (chain, sequence, epoch, address) is checked by `scan.ts` when
 * reading a segment and by `follow.ts` when taking a record from a peer.
 */
import { viewOf } from "../../../lib/codec.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address } from "./api.ts";
import { FORMAT_VERSION, RECORD_ALIGNMENT, RECORD_MAGIC, RecordHeader } from "./format.ts";

export const RECORD_HEADER_BYTES = RecordHeader.size;
const CHECKSUM_AT = RecordHeader.offsetOf("headerChecksum");
const VERSION_AT = RecordHeader.offsetOf("version");
const METADATA_BYTES_AT = RecordHeader.offsetOf("metadataBytes");
const BODY_BYTES_AT = RecordHeader.offsetOf("bodyBytes");
const KIND_AT = RecordHeader.offsetOf("kind");
const SEQUENCE_AT = RecordHeader.offsetOf("sequence");

/** Bytes that a record takes in the log, padding included. */
export function recordBytes(metadataBytes: number, bodyBytes: number): number {
  const unpadded = RECORD_HEADER_BYTES + metadataBytes + bodyBytes;
  return Math.ceil(unpadded / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;
}

/** Length of the record whose header starts at `at`, taken on trust: for bytes that were verified. */
export function peekRecordBytes(view: DataView, at: number): number {
  return recordBytes(
    view.getUint32(at + METADATA_BYTES_AT, true),
    view.getUint32(at + BODY_BYTES_AT, true),
  );
}

/** Sequence of the record whose header starts at `at`, taken on trust. */
export function peekSequence(view: DataView, at: number): number {
  const low = view.getUint32(at + SEQUENCE_AT, true);
  return low + view.getUint32(at + SEQUENCE_AT + 4, true) * 2 ** 32;
}

export function peekKind(view: DataView, at: number): number {
  return view.getUint16(at + KIND_AT, true);
}

/**
 * Completes a record whose parts already stand behind the space for its header at `at`: computes the
 * checksums, writes the header, zeroes the padding. Gives the header's checksum, which the next
 * record chains to. `target` and `view` are the same memory.
 */
export function sealHeader(
  target: Uint8Array,
  view: DataView,
  at: number,
  header: RecordHeader,
  bodyChecksum?: number,
): number {
  const metadataAt = at + RECORD_HEADER_BYTES;
  const bodyAt = metadataAt + header.metadataBytes;
  const end = bodyAt + header.bodyBytes;
  header.metadataChecksum = checksum(target, metadataAt, bodyAt);
  header.bodyChecksum = bodyChecksum ?? checksum(target, bodyAt, end);
  header.headerChecksum = 0;
  RecordHeader.encode(view, at, header);
  const sum = checksum(target, at, at + CHECKSUM_AT);
  view.setUint32(at + CHECKSUM_AT, sum, true);
  target.fill(0, end, at + recordBytes(header.metadataBytes, header.bodyBytes));
  return sum;
}

/** One header object, filled again for each record: appends allocate none. */
export function blankHeader(logId: Uint8Array): RecordHeader {
  return {
    magic: RECORD_MAGIC,
    version: FORMAT_VERSION,
    kind: 0,
    logId,
    epoch: 0,
    sequence: 0,
    timeMicros: 0,
    durableSequence: 0,
    segment: 0,
    offset: 0,
    metadataBytes: 0,
    bodyBytes: 0,
    metadataChecksum: 0,
    bodyChecksum: 0,
    previousChecksum: 0,
    headerChecksum: 0,
  };
}

function checksum(source: Uint8Array, from: number, to: number): number {
  return from === to ? 0 : crc32c(source.subarray(from, to));
}

/**
 * The header at `at` when magic, checksum, version and fields are right. Throws `SmfsError` SHORT,
 * DAMAGED or NEWER_VERSION; every version keeps the places of magic, version and headerChecksum, so
 * that a newer record is told from a damaged one.
 */
export function readRecordHeader(source: Uint8Array, at: number): RecordHeader {
  if (source.length - at < RECORD_HEADER_BYTES) {
    const had = Math.max(0, source.length - at);
    throw new SmfsError("SHORT", `record header needs ${RECORD_HEADER_BYTES} bytes, had ${had}`);
  }
  const view = viewOf(source);
  if (view.getUint32(at, true) !== RECORD_MAGIC) throw damaged("has no record magic");
  if (view.getUint32(at + CHECKSUM_AT, true) !== checksum(source, at, at + CHECKSUM_AT)) {
    throw damaged("has a header whose checksum is wrong");
  }
  const version = view.getUint16(at + VERSION_AT, true);
  if (version > FORMAT_VERSION) {
    throw new SmfsError(
      "NEWER_VERSION",
      `record of format version ${version}; this program reads up to ${FORMAT_VERSION}`,
    );
  }
  const header = RecordHeader.decode(view, at);
  if (version !== FORMAT_VERSION) throw damaged("has a version that never was");
  if (header.sequence === 0) throw damaged("has sequence 0");
  if (header.durableSequence >= header.sequence) throw damaged("vouches for itself");
  return header;
}

/** Checks parts and padding of a whole record against its header. Throws `SmfsError` DAMAGED. */
function verifyParts(record: Uint8Array, header: RecordHeader): void {
  if (record.length !== recordBytes(header.metadataBytes, header.bodyBytes)) {
    throw damaged("has another length than its header says");
  }
  const bodyAt = RECORD_HEADER_BYTES + header.metadataBytes;
  const end = bodyAt + header.bodyBytes;
  if (checksum(record, RECORD_HEADER_BYTES, bodyAt) !== header.metadataChecksum) {
    throw damaged("has a metadata part whose checksum is wrong");
  }
  if (checksum(record, bodyAt, end) !== header.bodyChecksum) {
    throw damaged("has a body part whose checksum is wrong");
  }
  for (let i = end; i < record.length; i++) {
    if (record[i] !== 0) throw damaged("has padding that is not zero");
  }
}

/** Header of one whole, verified record. Throws `SmfsError` SHORT, DAMAGED or NEWER_VERSION. */
export function readRecord(record: Uint8Array): RecordHeader {
  const header = readRecordHeader(record, 0);
  verifyParts(record, header);
  return header;
}

/** The two parts of a verified record, as views. */
export function recordParts(record: Uint8Array, header: RecordHeader) {
  const bodyAt = RECORD_HEADER_BYTES + header.metadataBytes;
  return {
    metadata: record.subarray(RECORD_HEADER_BYTES, bodyAt),
    body: record.subarray(bodyAt, bodyAt + header.bodyBytes),
  };
}

function damaged(what: string): SmfsError {
  return new SmfsError("DAMAGED", `record ${what}`);
}

export function describeAddress(address: Address): string {
  return `segment ${address.segment} offset ${address.offset}`;
}
