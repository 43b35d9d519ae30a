/**
 * Repairing a log's bytes in place. A mirror has the same bytes at the same addresses, so what is
 * damaged here is taken from there, record by record, when it verifies and continues the chain. A
 * segment's header can be made again from the first record behind it.
 *
 * A sealed segment is otherwise never written to again. Here it is: only over bytes that do not
 * verify, only with bytes that do, synced and read back (`put`). A crash in between leaves damage
 * where there was damage.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address, SegmentStore } from "./api.ts";
import { put } from "./bridge.ts";
import { termOf } from "./epoch.ts";
import { KIND, type RecordHeader } from "./format.ts";
import { readRecord, readRecordHeader, RECORD_HEADER_BYTES, recordBytes } from "./record.ts";
import type { ChainLink, ScannedRecord } from "./scan.ts";
import { encodeSegmentHeader, readSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";
import { type Surveyed, surveyLog } from "./survey.ts";

/** One thing that was done, or that could not be. */
interface Mended {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  readonly what: string;
  readonly outcome: "repaired" | "left";
}

export interface MendContext {
  readonly store: SegmentStore;
  /** Of another site, only read; null: there is none. */
  readonly mirror: SegmentStore | null;
  readonly logId: Uint8Array;
  /** Records that the mirror has behind the last one here: taken when the log's end was cut off. */
  readonly end: "leave" | "extend";
  readonly report: (mended: Mended) => void;
}

interface Damage {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  readonly problem: string;
  /** What a record at `from` has to continue; null when that is not known. */
  readonly after: ChainLink | null;
  readonly isHeader: boolean;
  /** Nothing verifies behind it: a tear, perhaps, which opening the log cuts off. */
  readonly isTail: boolean;
}

const COPY_BYTES = 2 ** 20;
/** Damage remembered of one segment: the rest is found by repairing again. */
const MAX_DAMAGE = 10_000;

/** Goes through the whole log. `progress` is called with bytes read so far. */
export async function mendLog(
  context: MendContext,
  progress: (bytes: number) => void,
): Promise<void> {
  let checkpoint: Address | null = null;
  let after: ChainLink | null = null;
  let readBytes = 0;
  const segments = context.store.list();
  for (const [i, { segment, bytes }] of segments.entries()) {
    const found = surveySegment(context, segment, after, checkpoint);
    for (const damage of found.damage) await mend(context, damage, found);
    if (i < segments.length - 1 || context.end === "extend") await mendEnd(context, segment, found);
    ({ checkpoint, after } = found);
    readBytes += bytes;
    progress(readBytes);
  }
}

interface SurveyedSegmentSum {
  readonly damage: readonly Damage[];
  /** Newest in the log so far. */
  readonly checkpoint: Address | null;
  readonly checkpointBefore: Address | null;
  readonly after: ChainLink | null;
  /** First record of the segment that verifies, when it stands where the first one does. */
  readonly first: RecordHeader | null;
  readonly last: RecordHeader | null;
}

function surveySegment(
  { store, logId, mirror }: MendContext,
  segment: number,
  before: ChainLink | null,
  checkpointBefore: Address | null,
): SurveyedSegmentSum {
  const damage: Damage[] = [];
  let after = before;
  let checkpoint = checkpointBefore;
  let first: RecordHeader | null = null;
  let last: RecordHeader | null = null;
  for (const part of surveyLog(store, logId, segment)) {
    if (part.kind === "segment" && part.segment !== segment) break;
    // Without a copy nothing is won by reading every record's parts.
    const isWanted = part.kind !== "record" || mirror !== null;
    const found = isWanted ? damageOf(part, after) : null;
    if (found !== null && damage.length < MAX_DAMAGE) damage.push(found);
    if (part.kind !== "record") continue;
    const { header, offset } = part.record;
    if (offset === SEGMENT_HEADER_BYTES) first = header;
    last = header;
    if (header.kind === KIND.checkpoint) checkpoint = { segment, offset };
    after = { sequence: header.sequence, checksum: header.headerChecksum };
  }
  return { damage, checkpoint, checkpointBefore, after, first, last };
}

function damageOf(part: Surveyed, after: ChainLink | null): Damage | null {
  switch (part.kind) {
    case "segment": {
      if (part.problem === null) return null;
      const { segment, problem } = part;
      return {
        segment,
        from: 0,
        to: SEGMENT_HEADER_BYTES,
        problem,
        after: null,
        isHeader: true,
        isTail: false,
      };
    }
    case "gap": {
      const { segment, from, to, problem, isFollowed } = part;
      return { segment, from, to, problem, after, isHeader: false, isTail: !isFollowed };
    }
    case "record": {
      const problem = problemOf(part.record);
      if (problem === null) return null;
      const { segment, offset, totalBytes, header } = part.record;
      const chain = { sequence: header.sequence - 1, checksum: header.previousChecksum };
      const to = offset + totalBytes;
      return { segment, from: offset, to, problem, after: chain, isHeader: false, isTail: false };
    }
  }
}

/** Of a record whose header verifies. */
export function problemOf(record: ScannedRecord): string | null {
  try {
    readRecord(record.raw());
    return null;
  } catch (error) {
    if (error instanceof SmfsError) return messageOf(error);
    throw error;
  }
}

async function mend(
  context: MendContext,
  damage: Damage,
  { first, checkpointBefore }: SurveyedSegmentSum,
): Promise<void> {
  const { segment, from, to, problem, isHeader, isTail } = damage;
  const bytes = isHeader ? headerFrom(context, segment) : recordsFrom(context, damage);
  const where = { segment, from, to };
  if (bytes.length > 0) {
    makeRoom(context, segment, from + bytes.length);
    await put(context.store, segment, from, bytes);
    const isAll = isTail || bytes.length >= to - from;
    const what = `${problem}: ${bytes.length} bytes taken from the mirror`;
    context.report({ ...where, to: from + bytes.length, what, outcome: "repaired" });
    if (!isAll)
      context.report({ ...where, from: from + bytes.length, what: problem, outcome: "left" });
    return;
  }
  if (isTail || (!isHeader && context.mirror === null)) return;
  if (!isHeader || first === null)
    return context.report({ ...where, what: problem, outcome: "left" });
  const made = new Uint8Array(SEGMENT_HEADER_BYTES);
  const { logId, previousChecksum, sequence: firstSequence } = first;
  const start = { logId, segment, firstSequence, previousChecksum };
  encodeSegmentHeader(made, { ...start, checkpoint: checkpointBefore });
  await put(context.store, segment, 0, made);
  const what = `${problem}: made again from its first record`;
  context.report({ ...where, what, outcome: "repaired" });
}

/** A file that was cut short becomes as long as the mirror's: of a length that allocation gives. */
function makeRoom({ store, mirror }: MendContext, segment: number, to: number): void {
  const bytesIn = (one: SegmentStore | null): number =>
    one?.list().find((info) => info.segment === segment)?.bytes ?? 0;
  if (to > bytesIn(store)) store.allocate(segment, Math.max(to, bytesIn(mirror)));
}

/** A segment that does not end with a seal has lost its end, unless it is the last. */
async function mendEnd(
  context: MendContext,
  segment: number,
  { last, after }: SurveyedSegmentSum,
): Promise<void> {
  const { mirror, store } = context;
  const to = mirror?.list().find((info) => info.segment === segment)?.bytes;
  if (to === undefined || last?.kind === KIND.seal) return;
  const from =
    last === null
      ? SEGMENT_HEADER_BYTES
      : last.offset + recordBytes(last.metadataBytes, last.bodyBytes);
  const problem = "the end of the segment is missing";
  const missing = { segment, from, to, problem, after, isHeader: false, isTail: true };
  const bytes = recordsFrom(context, missing);
  if (bytes.length === 0) return;
  makeRoom(context, segment, to);
  await put(store, segment, from, bytes);
  const what = `${problem}: ${bytes.length} bytes taken from the mirror`;
  context.report({ segment, from, to: from + bytes.length, what, outcome: "repaired" });
}

/** Makes a segment that is missing from the mirror's; what is wrong with it there, `mendLog` says. */
export async function copySegment(
  store: SegmentStore,
  mirror: SegmentStore,
  segment: number,
  bytes: number,
): Promise<void> {
  store.allocate(segment, bytes);
  for (let at = 0; at < bytes; at += COPY_BYTES) {
    await put(store, segment, at, mirror.readSync(segment, at, Math.min(COPY_BYTES, bytes - at)));
  }
}

const NOTHING = new Uint8Array(0);

/** The mirror's header of a segment; empty when it has none that verifies. */
function headerFrom({ mirror, logId }: MendContext, segment: number): Uint8Array {
  const bytes = readFrom(mirror, segment, 0, SEGMENT_HEADER_BYTES);
  try {
    return equalBytes(readSegmentHeader(bytes, segment).logId, logId) ? bytes : NOTHING;
  } catch (error) {
    if (error instanceof SmfsError) return NOTHING;
    throw error;
  }
}

/** The mirror's records from `from` on that continue the chain, until `to` or the first that does not. */
function recordsFrom(
  { mirror, logId }: MendContext,
  { segment, from, to, after, isTail }: Damage,
): Uint8Array {
  if (after === null && from !== SEGMENT_HEADER_BYTES) return NOTHING;
  // Behind a tail nothing is known here, so the mirror has all of it or none.
  const limit = isTail ? Infinity : to;
  let chain = after;
  let end = from;
  let term: number | null = null;
  while (end < limit) {
    const record = recordAt(mirror, segment, end, logId, chain);
    if (record === null) break;
    // What another writer has written since a promotion is not this store's history.
    term ??= termOf(record.epoch);
    if (termOf(record.epoch) !== term) break;
    chain = { sequence: record.sequence, checksum: record.headerChecksum };
    end += recordBytes(record.metadataBytes, record.bodyBytes);
  }
  return readFrom(mirror, segment, from, end - from);
}

function recordAt(
  mirror: SegmentStore | null,
  segment: number,
  offset: number,
  logId: Uint8Array,
  after: ChainLink | null,
): RecordHeader | null {
  try {
    const head = readRecordHeader(readFrom(mirror, segment, offset, RECORD_HEADER_BYTES), 0);
    const length = recordBytes(head.metadataBytes, head.bodyBytes);
    const header = readRecord(readFrom(mirror, segment, offset, length));
    const isHere = header.segment === segment && header.offset === offset;
    const isNext =
      after === null ||
      (header.sequence === after.sequence + 1 && header.previousChecksum === after.checksum);
    return isHere && isNext && equalBytes(header.logId, logId) ? header : null;
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}

function readFrom(
  mirror: SegmentStore | null,
  segment: number,
  offset: number,
  length: number,
): Uint8Array {
  if (mirror === null || length === 0) return NOTHING;
  if (!mirror.list().some((info) => info.segment === segment)) return NOTHING;
  return mirror.readSync(segment, offset, length);
}

/** What a log's files hold in the end. */
export interface LogSummary {
  /** Checkpoint records that verify, oldest first; the newest `MAX_CHECKPOINTS`. */
  readonly checkpoints: readonly (Address & { readonly sequence: number })[];
  readonly last: RecordHeader | null;
  /** Sequence of the first record of the last record's segment. */
  readonly firstSequence: number;
}

const MAX_CHECKPOINTS = 1024;

export function summarizeLog(store: SegmentStore, logId: Uint8Array): LogSummary {
  const checkpoints: (Address & { readonly sequence: number })[] = [];
  let last: RecordHeader | null = null;
  let firstSequence = 1;
  for (const part of surveyLog(store, logId)) {
    if (part.kind !== "record") continue;
    const { header, offset } = part.record;
    const { segment, sequence } = header;
    if (last?.segment !== segment) firstSequence = sequence;
    last = header;
    if (header.kind !== KIND.checkpoint || part.record.metadata() === null) continue;
    checkpoints.push({ segment, offset, sequence });
    if (checkpoints.length > MAX_CHECKPOINTS) checkpoints.shift();
  }
  return { checkpoints, last, firstSequence };
}
