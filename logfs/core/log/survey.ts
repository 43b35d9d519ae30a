/**
 * Everything that stands in a log's files, in order, damage or not: for debugging and for repair.
 * Unlike a scan (`scan.ts`) a survey goes on behind what it cannot read: at the next header that
 * verifies, stands where it says, belongs to the log and is newer than what came before.
 */
import { EMPTY, equalBytes } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { SegmentStore } from "./api.ts";
import {
  KIND,
  RECORD_ALIGNMENT,
  RECORD_MAGIC,
  type RecordHeader,
  type SegmentHeader,
} from "./format.ts";
import { readRecordHeader, RECORD_HEADER_BYTES, recordBytes } from "./record.ts";
import { ScannedRecord, Window, WINDOW_BYTES } from "./scan.ts";
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";

interface SurveyedSegment {
  readonly kind: "segment";
  readonly segment: number;
  /** Of the file. */
  readonly bytes: number;
  /** Null when it does not verify; `problem` says why. */
  readonly header: SegmentHeader | null;
  readonly problem: string | null;
}

export interface SurveyedRecord {
  readonly kind: "record";
  readonly record: ScannedRecord;
  /** It continues the record before it. */
  readonly isNext: boolean;
}

/** Bytes [from, to) that are no record and not just the zeros behind the last one. */
interface SurveyedGap {
  readonly kind: "gap";
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  /** A record that verifies stands behind it: this is no torn tail. */
  readonly isFollowed: boolean;
  readonly problem: string;
}

export type Surveyed = SurveyedSegment | SurveyedRecord | SurveyedGap;

/** Looked through for a record at once: as much is passed over where the device cannot read. */
const SEARCH_BYTES = 4096;

/** Where a survey is in the log's history. */
interface Course {
  readonly store: SegmentStore;
  /** Of the segment. */
  logId: Uint8Array;
  /** Newest record seen. */
  last: RecordHeader | null;
}

/** Yields what stands in the segments from `firstSegment` on. Views are valid until the next step. */
export function* surveyLog(
  store: SegmentStore,
  logId: Uint8Array,
  firstSegment = 0,
): Generator<Surveyed> {
  const course: Course = { store, logId, last: null };
  for (const { segment, bytes } of store.list()) {
    if (segment < firstSegment) continue;
    const described = describeSegment(store, segment, bytes);
    yield described;
    // A fork's older segments are of other logs; which ones may stand here, opening the log says.
    course.logId = described.header?.logId.slice() ?? logId;
    yield* surveySegment(course, segment, bytes);
  }
}

function describeSegment(store: SegmentStore, segment: number, bytes: number): SurveyedSegment {
  try {
    const header = readSegmentHeader(store.readSync(segment, 0, SEGMENT_HEADER_BYTES), segment);
    return { kind: "segment", segment, bytes, header, problem: null };
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    return { kind: "segment", segment, bytes, header: null, problem: messageOf(error) };
  }
}

function* surveySegment(course: Course, segment: number, bytes: number): Generator<Surveyed> {
  const window = new Window(course.store, segment);
  let at = SEGMENT_HEADER_BYTES;
  while (at + RECORD_HEADER_BYTES <= bytes) {
    const header = headerAt(window, at, bytes, course);
    if (header instanceof SmfsError) {
      const next = nextHeader(window, at, bytes, course);
      const end = next ?? bytes;
      if (next === null && isZero(window, at, bytes)) return;
      const problem = header.message;
      yield { kind: "gap", segment, from: at, to: end, isFollowed: next !== null, problem };
      at = end;
      continue;
    }
    const { last } = course;
    const isNext = last === null || header.previousChecksum === last.headerChecksum;
    course.last = header;
    const record = new ScannedRecord(window, at, header);
    at += record.totalBytes;
    yield { kind: "record", record, isNext };
    if (header.kind === KIND.seal) return;
  }
}

function headerAt(
  window: Window,
  at: number,
  fileBytes: number,
  { logId, last }: Course,
): RecordHeader | SmfsError {
  try {
    const header = readRecordHeader(window.at(at, RECORD_HEADER_BYTES), 0);
    if (header.segment !== window.segment || header.offset !== at) {
      return new SmfsError("DAMAGED", "a record that belongs elsewhere");
    }
    if (!equalBytes(header.logId, logId)) return new SmfsError("DAMAGED", "record of another log");
    if (header.sequence <= (last?.sequence ?? 0))
      return new SmfsError("DAMAGED", "an older record");
    if (at + recordBytes(header.metadataBytes, header.bodyBytes) > fileBytes) {
      return new SmfsError("SHORT", "record runs past the end of its segment");
    }
    return { ...header, logId: header.logId.slice() };
  } catch (error) {
    if (error instanceof SmfsError) return error;
    throw error;
  }
}

/** Offset of the next header behind `from`; null when there is none. */
function nextHeader(
  window: Window,
  from: number,
  fileBytes: number,
  course: Course,
): number | null {
  for (let start = from + RECORD_ALIGNMENT; start < fileBytes; start += SEARCH_BYTES) {
    const length = Math.min(SEARCH_BYTES, fileBytes - start);
    for (const at of magicsIn(tryRead(window, start, length))) {
      if (!(headerAt(window, start + at, fileBytes, course) instanceof SmfsError))
        return start + at;
    }
  }
  return null;
}

function magicsIn(bytes: Uint8Array): number[] {
  const view = viewOf(bytes);
  const found: number[] = [];
  for (let at = 0; at + 4 <= bytes.length; at += RECORD_ALIGNMENT) {
    if (view.getUint32(at, true) === RECORD_MAGIC) found.push(at);
  }
  return found;
}

function isZero(window: Window, from: number, to: number): boolean {
  for (let at = from; at < to; at += WINDOW_BYTES) {
    const length = Math.min(WINDOW_BYTES, to - at);
    const bytes = tryRead(window, at, length);
    if (bytes.length < length || bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}

/** Nothing where the device cannot read: what stands behind it is looked at all the same. */
function tryRead(window: Window, at: number, length: number): Uint8Array {
  try {
    return window.at(at, length);
  } catch (error) {
    if (error instanceof SmfsError) return EMPTY;
    throw error;
  }
}
