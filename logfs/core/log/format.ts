/**
 * The log on disk, version 1. See FORMAT.md for the grammar and an example.
 *
 * A segment is a file: one segment header, then records, each starting on an 8-byte boundary, then
 * zeros (allocated, not yet written). A record is its header, its metadata part, its body part and
 * zeros up to the next boundary.
 *
 * A record says where it stands (segment, offset), so that a write the device misdirected is found
 * out; which record came before it (`previousChecksum`), so that two histories can never be
 * mistaken for one another; and what was durable when it was written (`durableSequence`), so that
 * damage to something that was acknowledged is told from a tail that a crash tore.
 */
import { bytes, type Infer, reserved, struct, u16, u32, u64 } from "../../../lib/codec.ts";

export const FORMAT_VERSION = 1;
/** "SMFR" and "SMFS" read as little-endian u32. */
export const RECORD_MAGIC = 0x52464d53;
export const SEGMENT_MAGIC = 0x53464d53;
export const RECORD_ALIGNMENT = 8;

/** What a record is. The log itself acts on `seal` and `epoch`; the rest belongs to its users. */
export const KIND = {
  /** Last record of a sealed segment. Metadata: `SealSummary`. */
  seal: 1,
  /** First record of a writer's epoch. Metadata: `EpochStart`. */
  epoch: 2,
  /** Nothing but its time: proof that the log moves (lag of an idle mirror). */
  heartbeat: 3,
  /** File system: item changes (metadata part) and file data (body part). */
  update: 16,
  /** File system: blocks of the tree (body part). */
  nodes: 17,
  /** File system: a root. Metadata: the superblock. */
  checkpoint: 18,
  /** File system: blocks that the cleaner moved for several trees. Metadata: `MovedEntry`. */
  moved: 19,
  /** File system: blocks of snapshots' trees that the cleaner moved (body part). */
  keptNodes: 20,
} as const;

export const RecordHeader = struct("RecordHeader", {
  magic: u32("0x52464d53, the bytes SMFR"),
  version: u16("format version, 1"),
  kind: u16("what the record is (KIND)"),
  logId: bytes(16, "the log it belongs to, random"),
  epoch: u64("term × 2^32 + incarnation: the writer's right to append"),
  sequence: u64("1 for the first record of the log, then one more each"),
  timeMicros: u64("when it was appended, microseconds since 1970, writer's clock"),
  durableSequence: u64("highest sequence known durable when this one was written"),
  segment: u32("number of the segment it stands in"),
  offset: u32("byte offset of this header in the segment"),
  metadataBytes: u32("length of the metadata part"),
  bodyBytes: u32("length of the body part"),
  metadataChecksum: u32("CRC-32C of the metadata part"),
  bodyChecksum: u32("CRC-32C of the body part"),
  previousChecksum: u32("headerChecksum of the record before; 0 for the first"),
  flags: reserved(4),
  headerChecksum: u32("CRC-32C of this header up to here"),
  padding: reserved(4),
});
export type RecordHeader = Infer<typeof RecordHeader>;

export const SegmentHeader = struct("SegmentHeader", {
  magic: u32("0x53464d53, the bytes SMFS"),
  version: u16("format version, 1"),
  flags: reserved(2),
  logId: bytes(16, "the log it belongs to; a fork's older segments name its ancestors"),
  segment: u32("number of this segment, 1 for the first"),
  previousChecksum: u32("headerChecksum of the last record before this segment; 0 for none"),
  firstSequence: u64("sequence of the first record in this segment"),
  checkpointSegment: u32("where the newest checkpoint before this segment stands; 0: none"),
  checkpointOffset: u32("its offset"),
  unused: reserved(12),
  headerChecksum: u32("CRC-32C of this header up to here"),
});
export type SegmentHeader = Infer<typeof SegmentHeader>;

export const SealSummary = struct("SealSummary", {
  firstSequence: u64("first record of the segment"),
  records: u32("records in the segment, the seal included"),
  usedBytes: u32("offset behind the last record before the seal"),
});
export type SealSummary = Infer<typeof SealSummary>;

export const EpochStart = struct("EpochStart", {
  previousEpoch: u64("epoch of the record before; 0 for none"),
  writerId: bytes(16, "the store that writes from here on"),
  reason: u16("1 created, 2 opened, 3 promoted, 4 forked (EPOCH_REASON)"),
  flags: reserved(6),
});
export type EpochStart = Infer<typeof EpochStart>;
