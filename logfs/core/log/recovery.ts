/**
 * Finding the end of a log after whatever happened to its machine.
 *
 * 1. Segments must have headers that verify, and be numbered without gaps from the newest checkpoint's
 *    on: before it, some may have been dropped. Only trailing segments may be hollow (no header, or
 *    no record that verifies): they were allocated ahead, and nothing was written to them before
 *    everything in front was durable (`pipeline.ts`, rule 3).
 * 2. The last segment with records is scanned with its chain, parts included, up to the first record
 *    that does not verify.
 * 3. If anything behind vouches for that record, it was durable once: damage, and no log is opened.
 *    Otherwise it was torn: zeros take its place, hollow segments are removed.
 *
 * 4. A last segment that ends where no allocation would have ended was cut short by somebody: its
 *    missing records may have been acknowledged. That is damage, too, and never a torn tail: space is
 *    allocated before it is written to, in whole steps (`space.ts`).
 *
 * 5. What is left of the last segment and nobody vouches for is written again and synced: the process
 *    before may have ended because a sync failed, and then these bytes may be in memory only. So all
 *    that was found is durable, and nothing is acknowledged that is not.
 *
 * A follower's records say what was durable at the *primary*, so they vouch for nothing here: a
 * follower's tail is cut, and the primary, which knows what the follower acknowledged, sends it again.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { inspectAftermath } from "./aftermath.ts";
import type { Address, SegmentStore } from "./api.ts";
import {
  type Candidate,
  type LastSegment,
  lastWithRecords,
  readCandidate,
  refuseGaps,
  scanStart,
} from "./candidates.ts";
import { KIND, type SegmentHeader } from "./format.ts";
import type { FoundLog, RecoveryReport } from "./found.ts";
import { PAGE_BYTES, SEAL_BYTES } from "./options.ts";
import { describeAddress } from "./record.ts";
import { type ChainLink, type ScanEnd, type ScannedRecord, scanRecords } from "./scan.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";
import { type Mark, MARK_BYTES } from "./segments.ts";

/** The end of a follower's log that is about to go, although records in it were durable somewhere. */
export interface DoomedTail {
  /** Newest record that stays. */
  readonly keptSequence: number;
  /** A record that was here, or at least the next one: the log has not caught up before it is back. */
  readonly lostSequence: number;
  /** What is cleared or removed: up to the ends of these files. */
  readonly parts: readonly Address[];
}

export interface RecoverySettings {
  readonly follower: boolean;
  readonly segmentBytes: number;
  readonly allocationBytes: number;
  /** Logs of which this one is a fork: older segments may be theirs. */
  readonly ancestors: readonly Uint8Array[];
  /** Called before such an end is cut off. When it throws, nothing is changed. */
  readonly beforeCut?: (tail: DoomedTail) => void;
}

/** Throws `SmfsError`: NOT_FOUND (no log), DAMAGED, NEWER_VERSION, OTHER_HISTORY, IO. */
export function findLog(store: SegmentStore, settings: RecoverySettings): FoundLog {
  const listed = store.list();
  if (listed.length === 0) throw new SmfsError("NOT_FOUND", "there is no log here");
  const candidates = listed.map((info) => readCandidate(store, info));
  const last = lastWithRecords(store, candidates, settings.ancestors);
  const scan = scanLast(store, last.header, last.bytes);
  refuseGaps(candidates, scan.checkpoint);
  const hollow = candidates.slice(last.index + 1);
  const endedEarly =
    isCutShort(last, scan, settings) || hollow.some((one) => isHeadOnly(one, settings));
  if (endedEarly && !settings.follower) refuseCutShort(scan.end);
  const verdict = judgeEnd(store, scan, hollow, last.header.logId, settings);
  if (verdict.lostSequence !== null || endedEarly) {
    settings.beforeCut?.(doomedTail(scan.end, hollow, verdict));
  }
  if (verdict.cut) store.clear(scan.end.segment, scan.end.offset);
  for (const info of hollow.toReversed()) store.remove(info.segment);
  store.rewrite(scan.end.segment, unsureFrom(scan, settings), scan.end.offset);
  return assemble(candidates.slice(0, last.index + 1), last.header, scan, {
    segments: last.index + 1,
    scannedRecords: scan.records,
    cutAt: verdict.cut ? { segment: scan.end.segment, offset: scan.end.offset } : null,
    cutWasVouched: verdict.lostSequence !== null,
    removedSegments: hollow.length,
    endedEarly,
  });
}

function refuseCutShort(end: Address): never {
  const what = "the file ends where no allocation ends: it was cut short, and records are missing";
  throw new SmfsError("DAMAGED", `${describeAddress(end)}: ${what}`);
}

function doomedTail(end: ScanEnd, hollow: readonly Candidate[], verdict: Verdict): DoomedTail {
  const parts = [end, ...hollow.map(({ segment }) => ({ segment, offset: 0 }))];
  const keptSequence = end.last?.sequence ?? 0;
  return { keptSequence, lostSequence: verdict.lostSequence ?? keptSequence + 1, parts };
}

/** A segment that was made whole (its header came after its space) and has lost its end. */
function isHeadOnly({ bytes, header }: Candidate, { segmentBytes }: RecoverySettings): boolean {
  return !(header instanceof SmfsError) && bytes !== segmentBytes && bytes % PAGE_BYTES !== 0;
}

/**
 * Allocation gives whole steps, the whole segment, or, on a device short of space, whole pages with
 * room for a seal behind the last record. A file of another length was not left by us.
 */
function isCutShort(
  { bytes }: LastSegment,
  { end, sealed }: LastScan,
  { segmentBytes, allocationBytes }: RecoverySettings,
): boolean {
  if (sealed || bytes === segmentBytes || bytes % allocationBytes === 0) return false;
  const goesOn = end.reason === "damage" && end.code === "SHORT";
  return bytes % PAGE_BYTES !== 0 || end.offset + SEAL_BYTES > bytes || goesOn;
}

/** An offset at or before the first byte that may not be on stable storage. */
function unsureFrom({ marks, vouchedSequence }: LastScan, { follower }: RecoverySettings): number {
  if (follower) return 0;
  return marks.findLast((mark) => mark.sequence <= vouchedSequence + 1)?.offset ?? 0;
}

interface LastScan {
  readonly records: number;
  readonly marks: Mark[];
  readonly end: ScanEnd;
  readonly head: (ChainLink & { readonly epoch: number }) | null;
  /** The newest of the log: in this segment, or where its header says. */
  readonly checkpoint: Address | null;
  readonly vouchedSequence: number;
  readonly sealed: boolean;
}

function scanLast(store: SegmentStore, header: SegmentHeader, bytes: number): LastScan {
  const marks: Mark[] = [];
  let records = 0;
  let newest: ScannedRecord | null = null;
  let checkpoint = checkpointBefore(header);
  const visit = (record: ScannedRecord): boolean => {
    if (record.metadata() === null || record.body() === null) return false;
    const { segment, offset, header: found } = record;
    records++;
    if (offset - (marks.at(-1)?.offset ?? 0) >= MARK_BYTES) {
      marks.push({ offset, sequence: found.sequence });
    }
    if (found.kind === KIND.checkpoint) checkpoint = { segment, offset };
    newest = record;
    return true;
  };
  const limit = { segment: header.segment, offset: bytes };
  const end = scanRecords(store, scanStart(header), limit, visit);
  return { records, marks, end, checkpoint, ...summary(newest) };
}

function summary(newest: ScannedRecord | null) {
  if (newest === null) return { head: null, sealed: false, vouchedSequence: 0 };
  const { sequence, epoch, headerChecksum, kind, durableSequence } = newest.header;
  const head = { sequence, epoch, checksum: headerChecksum };
  return { head, sealed: kind === KIND.seal, vouchedSequence: durableSequence };
}

function checkpointBefore({ checkpointSegment, checkpointOffset }: SegmentHeader): Address | null {
  if (checkpointSegment === 0) return null;
  return { segment: checkpointSegment, offset: checkpointOffset };
}

interface Verdict {
  /** Something stands behind the end. */
  readonly cut: boolean;
  /** A record behind the end that vouches for the first one there; null when none does. */
  readonly lostSequence: number | null;
}

/** Torn or damaged? Throws for damage. */
function judgeEnd(
  store: SegmentStore,
  scan: LastScan,
  hollow: readonly Candidate[],
  logId: Uint8Array,
  { follower }: RecoverySettings,
): Verdict {
  const { end } = scan;
  if (end.reason === "damage" && end.code === "NEWER_VERSION") {
    throw new SmfsError("NEWER_VERSION", `${describeAddress(end)}: ${end.message}`);
  }
  const next = (end.last?.sequence ?? 0) + 1;
  const here = inspectAftermath(store, end, next, logId);
  const behind = hollow.map(({ segment }) =>
    inspectAftermath(store, { segment, offset: 0 }, next, logId),
  );
  const witness = [here, ...behind].find((one) => one.vouchedBy !== null)?.vouchedBy ?? null;
  if (witness !== null && !follower) {
    const vouch = `record ${witness.sequence} at ${describeAddress(witness)} says it was durable`;
    const fault = faultBefore(witness, end, hollow);
    throw new SmfsError("DAMAGED", `${fault}; record ${next} is lost, but ${vouch}`);
  }
  return { cut: here.written, lostSequence: witness?.sequence ?? null };
}

/** What is wrong, in words with its address: the end of the scan, or the segment of the witness. */
function faultBefore(witness: Address, end: ScanEnd, hollow: readonly Candidate[]): string {
  const broken = hollow.find(({ segment }) => segment === witness.segment);
  if (broken?.header instanceof SmfsError) return broken.header.message;
  const at = broken === undefined ? end : { segment: broken.segment, offset: SEGMENT_HEADER_BYTES };
  const what = end.reason === "damage" ? end.message : "a part of the record is damaged";
  return `${describeAddress(at)}: ${what}`;
}

function assemble(
  kept: readonly Candidate[],
  header: SegmentHeader,
  scan: LastScan,
  report: RecoveryReport,
): FoundLog {
  const { end, marks, sealed, checkpoint, vouchedSequence } = scan;
  const before = header.firstSequence - 1;
  return {
    logId: header.logId,
    segments: kept.map(({ segment, bytes, header: found }) => ({
      segment,
      bytes,
      firstSequence: (found as SegmentHeader).firstSequence,
    })),
    marks,
    head: scan.head ?? { sequence: before, checksum: header.previousChecksum, epoch: 0 },
    end: { segment: end.segment, offset: end.offset },
    sealed,
    vouchedSequence,
    checkpoint,
    report,
  };
}
