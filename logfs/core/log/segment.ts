/** Segment headers as bytes: encoding, and the checks of one header on its own. */
import { viewOf } from "../../../lib/codec.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address } from "./api.ts";
import { FORMAT_VERSION, SEGMENT_MAGIC, SegmentHeader } from "./format.ts";

export const SEGMENT_HEADER_BYTES = SegmentHeader.size;
const CHECKSUM_AT = SegmentHeader.offsetOf("headerChecksum");
const VERSION_AT = SegmentHeader.offsetOf("version");

export interface SegmentStart {
  readonly logId: Uint8Array;
  readonly segment: number;
  readonly firstSequence: number;
  readonly previousChecksum: number;
  /** Newest checkpoint before this segment. */
  readonly checkpoint: Address | null;
}

/** Writes the 64 bytes of a segment header at the start of `target`. */
export function encodeSegmentHeader(target: Uint8Array, start: SegmentStart): void {
  const view = viewOf(target);
  SegmentHeader.encode(view, 0, {
    magic: SEGMENT_MAGIC,
    version: FORMAT_VERSION,
    logId: start.logId,
    segment: start.segment,
    previousChecksum: start.previousChecksum,
    firstSequence: start.firstSequence,
    checkpointSegment: start.checkpoint?.segment ?? 0,
    checkpointOffset: start.checkpoint?.offset ?? 0,
    headerChecksum: 0,
  });
  view.setUint32(CHECKSUM_AT, crc32c(target.subarray(0, CHECKSUM_AT)), true);
}

/** Throws `SmfsError` SHORT, DAMAGED or NEWER_VERSION with the segment's number. */
export function readSegmentHeader(bytes: Uint8Array, segment: number): SegmentHeader {
  if (bytes.length < SEGMENT_HEADER_BYTES) {
    throw new SmfsError(
      "SHORT",
      `segment ${segment} has ${bytes.length} bytes and no whole header`,
    );
  }
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== SEGMENT_MAGIC) throw damaged(segment, "has no segment magic");
  if (view.getUint32(CHECKSUM_AT, true) !== crc32c(bytes.subarray(0, CHECKSUM_AT))) {
    throw damaged(segment, "has a header whose checksum is wrong");
  }
  const version = view.getUint16(VERSION_AT, true);
  if (version > FORMAT_VERSION) {
    throw new SmfsError(
      "NEWER_VERSION",
      `segment ${segment} has format version ${version}; this program reads up to ${FORMAT_VERSION}`,
    );
  }
  const header = decode(view, segment);
  if (version !== FORMAT_VERSION) throw damaged(segment, "has a version that never was");
  if (header.segment !== segment) throw damaged(segment, `says it is segment ${header.segment}`);
  if (header.firstSequence === 0) throw damaged(segment, "starts at sequence 0");
  return header;
}

function decode(view: DataView, segment: number): SegmentHeader {
  try {
    return SegmentHeader.decode(view, 0);
  } catch (error) {
    throw damaged(segment, messageOf(error));
  }
}

function damaged(segment: number, what: string): SmfsError {
  return new SmfsError("DAMAGED", `segment ${segment} offset 0: ${what}`);
}
