/**
 * Emptying segments: survey them, load what is alive in batches, oldest data first, write each batch
 * between two seals while the gate holds writers back. So cold data stands among cold data.
 *
 * Damage is left where it is: nothing is moved from a block that does not verify, and the segment
 * keeps its live bytes.
 */
import { SmfsError } from "../../../../lib/errors.ts";
import type { LogSegment } from "../../log/api.ts";
import type { CleanableVolume } from "./api.ts";
import type { CleanerLog } from "./cleaner.ts";
import type { Gate } from "./gate.ts";
import { loadedBytes, type LoadedPiece, loadPieces } from "./loading.ts";
import { inMovingOrder, type Move, type Moved, movesOf, runMove } from "./moving.ts";
import { isDamage } from "./records.ts";
import type { CleanerCounters } from "./statistics.ts";
import { type LivePiece, surveySegment } from "./survey.ts";

export interface EvacuationPorts {
  readonly log: CleanerLog;
  readonly volume: CleanableVolume;
  readonly gate: Pick<Gate, "hold">;
  readonly counters: CleanerCounters;
}

export interface EvacuationOptions {
  readonly segmentBytes: number;
  readonly maxRecordBytes: number;
  /** Loaded and written together. */
  readonly batchBytes: number;
  /** Asked between segments and between batches. */
  readonly isWanted: () => boolean;
  /** Keeps space for so many bytes in all; false: there is not enough, and less is kept. */
  readonly reserve: (bytes: number) => boolean;
  /** So many of them are done with. */
  readonly onMoved: (bytes: number) => void;
}

/** Appended and not yet written: beyond it a burst waits for the disk. */
const BACKLOG_BYTES = 8 * 2 ** 20;
/** A burst smaller than this share of a segment is not worth a segment of its own. */
const ALONE_SHARE = 1 / 8;

/** What came of it. */
export interface Evacuation {
  /** Those that were surveyed; the rest had no room. */
  readonly segments: readonly number[];
  /** Written again. */
  readonly bytes: number;
}

/**
 * Empties as many of the victims as there is room for: all of the first ones rather than some of
 * each, since only an empty segment is a gain. Rejects with what reading and appending reject.
 */
export async function evacuate(
  ports: EvacuationPorts,
  victims: readonly number[],
  options: EvacuationOptions,
): Promise<Evacuation> {
  const { volume, counters } = ports;
  const before = counters.movedBytes;
  const { pieces, segments } = await surveyAll(ports, victims, options);
  const nowSeconds = Math.floor(volume.nowMicros() / 1_000_000);
  for (const batch of batchesOf(inMovingOrder(pieces, nowSeconds), options.batchBytes)) {
    if (!options.isWanted()) break;
    const loaded = await loadPieces(volume, batch);
    counters.damagedBlocks += loaded.damagedBlocks;
    await burst(ports, loaded.pieces, options);
    options.onMoved(batch.reduce((sum, piece) => sum + loadedBytes(piece), 0));
  }
  return { segments, bytes: counters.movedBytes - before };
}

async function surveyAll(
  ports: EvacuationPorts,
  victims: readonly number[],
  { isWanted, reserve }: EvacuationOptions,
) {
  const pieces: LivePiece[] = [];
  const segments: number[] = [];
  for (const victim of victims) {
    const segment = ports.log.segments.find((one) => one.segment === victim);
    if (segment === undefined || !isWanted()) continue;
    const found = await survey(ports, segment);
    const bytes = [...pieces, ...found].reduce((sum, piece) => sum + loadedBytes(piece), 0);
    if (!reserve(bytes)) break;
    pieces.push(...found);
    segments.push(victim);
  }
  return { pieces, segments };
}

async function survey(
  { log, volume, counters }: EvacuationPorts,
  segment: LogSegment,
): Promise<readonly LivePiece[]> {
  try {
    const { pieces, nodes } = await surveySegment(log, volume, segment);
    counters.movedNodes += nodes;
    return pieces;
  } catch (error) {
    // It stays as it is. Whether that is for good is judged by its live bytes.
    if (isDamage(error) || (error as { code?: unknown } | null)?.code === "IO") return [];
    throw error;
  }
}

function* batchesOf(pieces: readonly LivePiece[], batchBytes: number): Generator<LivePiece[]> {
  let batch: LivePiece[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    const size = loadedBytes(piece);
    if (bytes + size > batchBytes && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(piece);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

async function burst(
  { log, volume, gate, counters }: EvacuationPorts,
  pieces: readonly LoadedPiece[],
  { segmentBytes, maxRecordBytes }: EvacuationOptions,
): Promise<void> {
  const bytes = pieces.reduce((sum, one) => sum + one.bytes.length, 0);
  const isAlone = bytes >= segmentBytes * ALONE_SHARE;
  await gate.hold(async () => {
    if (isAlone) log.sealSegment();
    for (const move of movesOf(pieces, maxRecordBytes)) {
      await write(volume, move, counters);
      if (log.unwrittenBytes > BACKLOG_BYTES) await written(log);
    }
    if (isAlone) log.sealSegment();
  });
}

async function write(
  volume: CleanableVolume,
  move: Move,
  counters: CleanerCounters,
): Promise<void> {
  for (let from: number | null = 0; from !== null; ) {
    const { bytes, next }: Moved = await moved(volume, move, from);
    counters.movedBytes += bytes;
    from = next;
  }
  counters.movedPieces += move.length;
}

async function moved(volume: CleanableVolume, move: Move, from: number): Promise<Moved> {
  try {
    return (await volume.change((transaction) => runMove(transaction, move, from), true)).value;
  } catch (error) {
    // A block that many share may need more items than a small log's records take: it stays.
    if (error instanceof SmfsError && error.code === "TOO_LARGE") return { bytes: 0, next: null };
    throw error;
  }
}

/** Rejects with the log's failure. */
function written(log: CleanerLog): Promise<void> {
  return new Promise((resolve, reject) => {
    log.whenWritten(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
  });
}
