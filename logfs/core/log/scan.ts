/**
 * Reading a log's files from front to back without opening it: recovery, replay, fsck and debugging
 * all walk with `scanRecords`.
 *
 * A header is handed out only when it verifies, stands where it says, belongs to the log, continues
 * the chain, and its record ends inside the file; so no length is believed before it was checked,
 * and memory is one window, at most as long as the longest record. The parts are read and checked
 * when the visitor asks for them.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { type ErrorCode, SmfsError } from "../../../lib/errors.ts";
import type { Address, SegmentStore } from "./api.ts";
import { KIND, type RecordHeader } from "./format.ts";
import { readRecordHeader, RECORD_HEADER_BYTES, recordBytes } from "./record.ts";
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";

export const WINDOW_BYTES = 1 << 20;

/** A sliding view of one segment file. Views are valid until the next call. */
export class Window {
  private readonly store: SegmentStore;
  readonly segment: number;
  private start = 0;
  private bytes: Uint8Array = new Uint8Array(0);

  constructor(store: SegmentStore, segment: number) {
    this.store = store;
    this.segment = segment;
  }

  /** Fewer bytes than `length` at the end of the file. */
  at(offset: number, length: number): Uint8Array {
    const from = offset - this.start;
    if (from < 0 || from + length > this.bytes.length) {
      this.bytes = this.readAhead(offset, length);
      this.start = offset;
      return this.bytes.subarray(0, length);
    }
    return this.bytes.subarray(from, from + length);
  }

  /** What nobody asked for may be unreadable. */
  private readAhead(offset: number, length: number): Uint8Array {
    const { store, segment } = this;
    if (length < WINDOW_BYTES) {
      try {
        return store.readSync(segment, offset, WINDOW_BYTES);
      } catch (error) {
        if (!(error instanceof SmfsError)) throw error;
      }
    }
    return store.readSync(segment, offset, length);
  }
}

/** What the next record must continue. */
export interface ChainLink {
  readonly sequence: number;
  /** headerChecksum of that record. */
  readonly checksum: number;
}

export class ScannedRecord implements Address {
  readonly segment: number;
  readonly offset: number;
  readonly header: RecordHeader;
  private readonly window: Window;

  constructor(window: Window, offset: number, header: RecordHeader) {
    this.window = window;
    this.segment = window.segment;
    this.offset = offset;
    this.header = header;
  }

  /** Bytes in the log, padding included. */
  get totalBytes(): number {
    return recordBytes(this.header.metadataBytes, this.header.bodyBytes);
  }

  get bodyOffset(): number {
    return this.offset + RECORD_HEADER_BYTES + this.header.metadataBytes;
  }

  /** The metadata part, checked; null when it is damaged. Valid until the window moves. */
  metadata(): Uint8Array | null {
    const from = this.offset + RECORD_HEADER_BYTES;
    return this.part(from, this.header.metadataBytes, this.header.metadataChecksum);
  }

  /** The body part, checked; null when it is damaged. Valid until the window moves. */
  body(): Uint8Array | null {
    return this.part(this.bodyOffset, this.header.bodyBytes, this.header.bodyChecksum);
  }

  /** The whole record as it stands, not checked. Valid until the window moves. */
  raw(): Uint8Array {
    return this.window.at(this.offset, this.totalBytes);
  }

  private part(from: number, length: number, checksum: number): Uint8Array | null {
    const bytes = this.window.at(from, length);
    const sum = length === 0 ? 0 : crc32c(bytes);
    return bytes.length === length && sum === checksum ? bytes : null;
  }
}

/** Why a scan ended. `damage` has a sentence and the code an error about it would have. */
export type ScanEnd = Address & { readonly last: ChainLink | null } & (
    | { readonly reason: "limit" | "end" | "visitor" }
    | { readonly reason: "damage"; readonly code: ErrorCode; readonly message: string }
  );

export interface ScanStart extends Address {
  readonly logId: Uint8Array;
  /** What the first record must continue; null to begin anywhere. */
  readonly after: ChainLink | null;
}

/**
 * Visits the records from the address on until `to` (null: the end of the log), the first that does
 * not verify, or a `visit` that returns false. It goes on into the next segment behind a seal.
 * `damage` may be a torn tail: the caller knows whether anything was expected there.
 */
export function scanRecords(
  store: SegmentStore,
  from: ScanStart,
  to: Address | null,
  visit: (record: ScannedRecord) => boolean,
): ScanEnd {
  const fileBytes = new Map(store.list().map((info) => [info.segment, info.bytes]));
  let { segment, offset, after } = from;
  for (;;) {
    const bytes = fileBytes.get(segment);
    if (bytes === undefined) return { segment, offset, last: after, reason: "end" };
    const window = new Window(store, segment);
    if (offset < SEGMENT_HEADER_BYTES) offset = SEGMENT_HEADER_BYTES;
    const end = scanSegment(window, bytes, { ...from, segment, offset, after }, to, visit);
    const limited = to !== null && segment >= to.segment;
    if (end.next === null || limited) return end.end;
    const broken = segmentFault(store, segment + 1, fileBytes, end.next);
    if (broken !== null) return broken;
    segment += 1;
    offset = SEGMENT_HEADER_BYTES;
    after = end.next;
  }
}

interface SegmentScan {
  readonly end: ScanEnd;
  /** Set behind a seal: the scan goes on in the next segment. */
  readonly next: ChainLink | null;
}

function scanSegment(
  window: Window,
  fileBytes: number,
  from: ScanStart,
  to: Address | null,
  visit: (record: ScannedRecord) => boolean,
): SegmentScan {
  const { segment } = from;
  let { offset, after } = from;
  for (;;) {
    const here = { segment, offset, last: after };
    const limited =
      to !== null && (segment > to.segment || (segment === to.segment && offset >= to.offset));
    if (limited) return { end: { ...here, reason: "limit" }, next: null };
    const found = recordAt(window, fileBytes, offset, from.logId, after);
    if (found instanceof SmfsError) {
      const { code, message } = found;
      return { end: { ...here, reason: "damage", code, message }, next: null };
    }
    if (found === null) return { end: { ...here, reason: "end" }, next: null };
    const record = new ScannedRecord(window, offset, found);
    if (!visit(record)) return { end: { ...here, reason: "visitor" }, next: null };
    after = { sequence: found.sequence, checksum: found.headerChecksum };
    offset += record.totalBytes;
    if (found.kind === KIND.seal) {
      return { end: { segment, offset, last: after, reason: "end" }, next: after };
    }
  }
}

/** The verified header at `offset`; null where only zeros are; an error for anything else. */
function recordAt(
  window: Window,
  fileBytes: number,
  offset: number,
  logId: Uint8Array,
  after: ChainLink | null,
): RecordHeader | SmfsError | null {
  const bytes = window.at(offset, RECORD_HEADER_BYTES);
  if (bytes.every((byte) => byte === 0)) return null;
  try {
    const header = readRecordHeader(bytes, 0);
    checkPlace(header, window.segment, offset, fileBytes);
    checkHistory(header, logId, after);
    return { ...header, logId: header.logId.slice() };
  } catch (error) {
    if (error instanceof SmfsError) return error;
    throw error;
  }
}

function checkPlace(
  header: RecordHeader,
  segment: number,
  offset: number,
  fileBytes: number,
): void {
  if (header.segment !== segment || header.offset !== offset) {
    const claimed = `segment ${header.segment} offset ${header.offset}`;
    throw new SmfsError("DAMAGED", `a record that belongs at ${claimed} stands here`);
  }
  if (offset + recordBytes(header.metadataBytes, header.bodyBytes) > fileBytes) {
    throw new SmfsError("SHORT", "record runs past the end of its segment");
  }
}

function checkHistory(header: RecordHeader, logId: Uint8Array, after: ChainLink | null): void {
  if (!equalBytes(header.logId, logId)) {
    throw new SmfsError("OTHER_HISTORY", "record of another log");
  }
  if (after === null) return;
  if (header.sequence !== after.sequence + 1) {
    const message = `record ${header.sequence} stands where ${after.sequence + 1} belongs`;
    throw new SmfsError("OTHER_HISTORY", message);
  }
  if (header.previousChecksum !== after.checksum) {
    throw new SmfsError("OTHER_HISTORY", `record ${header.sequence} continues another history`);
  }
}

/** null when `segment` starts with a header that continues the chain. */
function segmentFault(
  store: SegmentStore,
  segment: number,
  fileBytes: ReadonlyMap<number, number>,
  after: ChainLink,
): ScanEnd | null {
  const here = { segment, offset: 0, last: after };
  if (!fileBytes.has(segment)) return { ...here, reason: "end" };
  try {
    const bytes = store.readSync(segment, 0, SEGMENT_HEADER_BYTES);
    const header = readSegmentHeader(bytes, segment);
    if (header.firstSequence === after.sequence + 1 && header.previousChecksum === after.checksum) {
      return null;
    }
    const message = "segment continues another history";
    return { ...here, reason: "damage", code: "OTHER_HISTORY", message };
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    return { ...here, reason: "damage", code: error.code, message: error.message };
  }
}
