/**
 * The records of one sealed segment, front to back, in bounded reads. Headers and metadata parts are
 * verified; bodies are passed over, or looked into where the caller asks.
 *
 * A record whose metadata part is damaged is handed out without it. Behind a damaged header nobody
 * knows where the next record starts: the walk ends there, and says so.
 */
import { crc32c } from "../../../../lib/crc32c.ts";
import { SmfsError } from "../../../../lib/errors.ts";
import type { LogReader, LogSegment } from "../../log/api.ts";
import { KIND } from "../../log/format.ts";
import { readRecordHeader, RECORD_HEADER_BYTES, recordBytes } from "../../log/record.ts";
import { SEGMENT_HEADER_BYTES } from "../../log/segment.ts";
import { readLog } from "../reading-log.ts";

/** One read: many small records at once, and of a large one not much more than is looked at. */
const WINDOW_BYTES = 256 * 1024;

export interface SegmentRecord {
  readonly kind: number;
  /** When it was appended, microseconds since 1970. */
  readonly timeMicros: number;
  /** null: damaged. Valid until the walk goes on. */
  readonly metadata: Uint8Array | null;
  /** Where the body stands in the segment. */
  readonly bodyOffset: number;
  readonly bodyBytes: number;
}

/** A sliding view of a segment. What it gives is valid until it is asked for something else. */
export class SegmentWindow {
  private readonly log: Pick<LogReader, "read">;
  private readonly segment: LogSegment;
  private start = 0;
  private bytes = new Uint8Array(0);

  constructor(log: Pick<LogReader, "read">, segment: LogSegment) {
    this.log = log;
    this.segment = segment;
  }

  /** Rejects with DAMAGED past the segment's end, and with what the log rejects. */
  async at(offset: number, length: number): Promise<Uint8Array> {
    const from = offset - this.start;
    if (from >= 0 && from + length <= this.bytes.length) {
      return this.bytes.subarray(from, from + length);
    }
    const { segment, usedBytes } = this.segment;
    if (offset + length > usedBytes) {
      throw new SmfsError("DAMAGED", `segment ${segment} offset ${offset}: cut off`);
    }
    const ahead = Math.min(Math.max(length, WINDOW_BYTES), usedBytes - offset);
    this.bytes = new Uint8Array(await readLog(this.log, { segment, offset }, ahead));
    this.start = offset;
    return this.bytes.subarray(0, length);
  }
}

/**
 * Yields the records up to the seal. Returns whether the walk came to it: false when a header was
 * damaged. Rejects with IO, NOT_FOUND.
 */
export async function* recordsOf(
  window: SegmentWindow,
  { segment }: LogSegment,
): AsyncGenerator<SegmentRecord, boolean> {
  for (let offset = SEGMENT_HEADER_BYTES; ; ) {
    const record = await recordAt(window, segment, offset);
    if (record === null) return false;
    if (record.kind === KIND.seal) return true;
    yield record;
    offset += record.totalBytes;
  }
}

async function recordAt(window: SegmentWindow, segment: number, offset: number) {
  try {
    const header = readRecordHeader(await window.at(offset, RECORD_HEADER_BYTES), 0);
    if (header.segment !== segment || header.offset !== offset) return null;
    const { kind, timeMicros, metadataBytes, bodyBytes, metadataChecksum } = header;
    const metadata = await window.at(offset + RECORD_HEADER_BYTES, metadataBytes);
    const isWhole = metadataBytes === 0 || crc32c(metadata) === metadataChecksum;
    return {
      kind,
      timeMicros,
      metadata: isWhole ? metadata : null,
      bodyOffset: offset + RECORD_HEADER_BYTES + metadataBytes,
      bodyBytes,
      totalBytes: recordBytes(metadataBytes, bodyBytes),
    };
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

/** Bytes that are not what they should be; anything else about them may be better next time. */
export function isDamage(error: unknown): boolean {
  const damage = ["DAMAGED", "SHORT", "NEWER_VERSION"];
  return error instanceof SmfsError && damage.includes(error.code);
}
