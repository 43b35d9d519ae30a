/**
 * Which past states a log still holds. Every checkpoint says where the one before it stands. The
 * state of one is whole while all segments are there that its table names: segments are never
 * written again. From there the records up to the next checkpoint lead on, as long as their segments
 * are there. Nothing keeps these states (snapshots do that); they last until something in them is
 * dropped.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader, LogSegment } from "../log/api.ts";
import { KIND, RecordHeader } from "../log/format.ts";
import { readRecordHeader } from "../log/record.ts";
import { readLog } from "./reading-log.ts";
import { type Checkpoint, decodeCheckpoint } from "./superblock.ts";

/** A state that can be shown, with those that follow from it by records. */
export interface PastState extends Address {
  /** Of the checkpoint. */
  readonly sequence: number;
  /** When the checkpoint was written, microseconds since 1970. */
  readonly timeMicros: number;
  /** The states after every record from `sequence` to this one can be shown. */
  readonly untilSequence: number;
}

/** A checkpoint record as it stands in the log. */
interface Found extends Address {
  readonly sequence: number;
  readonly timeMicros: number;
  readonly checkpoint: Checkpoint;
}

/**
 * From the newest checkpoint back, to the first one that cannot be read: damaged, or dropped with its
 * segment. Rejects when that is the newest.
 */
export async function* pastStates(log: LogReader, newest: Address): AsyncGenerator<PastState> {
  const there = new Set(log.segments.map(({ segment }) => segment));
  let later: Found | null = null;
  for (let at: Address | null = newest; at !== null && there.has(at.segment); ) {
    const found: Found | null = await findCheckpoint(log, at).catch(endUnless(later === null));
    if (found === null) return;
    if (isWhole(found.checkpoint, there)) {
      const { segment, offset, sequence, timeMicros } = found;
      const untilSequence = later === null ? log.head.sequence : reach(found, later, log.segments);
      yield { segment, offset, sequence, timeMicros, untilSequence };
    }
    later = found;
    at = earlier(found);
  }
}

function endUnless(isNeeded: boolean): (error: unknown) => null {
  return (error) => {
    if (isNeeded || !(error instanceof SmfsError)) throw error;
    return null;
  };
}

/** Addresses only fall, so that bytes made to deceive cannot lead in a circle. */
function earlier({ segment, offset, checkpoint: { previous } }: Found): Address | null {
  if (previous === null) return null;
  const { segment: before, offset: beforeOffset } = previous;
  return before < segment || (before === segment && beforeOffset < offset) ? previous : null;
}

function isWhole({ live }: Checkpoint, there: ReadonlySet<number>): boolean {
  return live.entries.every(({ segment }) => there.has(segment));
}

/** The record before the next checkpoint, or the last one before a segment that is missing. */
function reach(from: Found, to: Found, segments: readonly LogSegment[]): number {
  let expected = from.segment;
  for (const { segment, firstSequence } of segments) {
    if (segment < from.segment || segment > to.segment) continue;
    if (segment !== expected) return from.sequence;
    expected = segment + 1;
    if (segment === to.segment) return Math.max(firstSequence, to.sequence) - 1;
  }
  return from.sequence;
}

async function findCheckpoint(log: LogReader, at: Address): Promise<Found> {
  const { segment, offset } = at;
  const header = readRecordHeader(await readLog(log, at, RecordHeader.size), 0);
  const where = `segment ${segment} offset ${offset}`;
  if (header.kind !== KIND.checkpoint) {
    throw new SmfsError("DAMAGED", `${where} has no checkpoint, as a later one says`);
  }
  const start = { segment, offset: offset + RecordHeader.size };
  const metadata = await readLog(log, start, header.metadataBytes);
  if (crc32c(metadata) !== header.metadataChecksum) {
    throw new SmfsError("DAMAGED", `the checkpoint at ${where}: checksum differs`);
  }
  const { sequence, timeMicros } = header;
  return { segment, offset, sequence, timeMicros, checkpoint: decodeCheckpoint(metadata) };
}

/** A moment of a log: after a record, or after the last record of a time. */
export type Moment = { readonly sequence: number } | { readonly micros: number };

/** The state to begin with, to get to a moment. Throws `SmfsError` NOT_FOUND with what there is instead. */
export async function stateBefore(
  log: LogReader,
  newest: Address,
  moment: Moment,
): Promise<PastState> {
  if ("sequence" in moment && moment.sequence > log.head.sequence) {
    throw new SmfsError("NOT_FOUND", `the newest record is ${log.head.sequence}`);
  }
  let later: PastState | null = null;
  for await (const state of pastStates(log, newest)) {
    if (isNotBehind(state, moment)) {
      if (reaches(state, later, moment)) return state;
      throw missing(state, later);
    }
    later = state;
  }
  throw missing(null, later);
}

function isNotBehind(state: PastState, moment: Moment): boolean {
  return "sequence" in moment
    ? state.sequence <= moment.sequence
    : state.timeMicros <= moment.micros;
}

/** `later`: the next state that is there, if any. */
function reaches(state: PastState, later: PastState | null, moment: Moment): boolean {
  if ("sequence" in moment) return moment.sequence <= state.untilSequence;
  return later === null || state.untilSequence + 1 >= later.sequence;
}

function missing(before: PastState | null, later: PastState | null): SmfsError {
  const last = before === null ? [] : [`records ${before.sequence} to ${before.untilSequence}`];
  const next = later === null ? [] : [`record ${later.sequence} and later`];
  const kept = [...last, ...next].join(", and ");
  const text = `that state is gone: its segments were dropped; nearest that are there: ${kept}`;
  return new SmfsError("NOT_FOUND", text);
}
