/**
 * Emptying segments: survey them, load what is alive in batches, oldest data first, write each batch
 * between two seals while the gate holds writers back. So cold data stands among cold data.
 *
 * Damage is left where it is: nothing is moved from a block that does not verify, and the segment
 * keeps its live bytes.
 */
import { SmfsError } from "../../../../lib/errors.ts";
import type { LogSegment } from "../../log/api.ts";
import type { CleanableVolume, CleanerLog } from "./api.ts";
import { writtenWhenBehind } from "./backlog.ts";
import { NodeReader } from "./forest.ts";
import type { Gate } from "./gate.ts";
import { evacuateKept, type KeptVictims } from "./kept-evacuation.ts";
import { loadedBytes, type LoadedPiece, loadPieces } from "./loading.ts";
import { inMovingOrder, type Move, type Moved, movesOf, runMove } from "./moving.ts";
import { gainOf } from "./policy.ts";
import { isDamage } from "./records.ts";
import type { CleanerCounters } from "./statistics.ts";
import { type LivePiece, type Survey, surveySegment } from "./survey.ts";

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
  /** Nodes of snapshots' trees kept in memory, bytes. */
  readonly cacheBytes: number;
  /** Asked between segments and between batches. */
  readonly isWanted: () => boolean;
  /** Keeps space for so many bytes in all; false: there is not enough, and less is kept. */
  readonly reserve: (bytes: number) => boolean;
  /** So many of them are done with. */
  readonly onMoved: (bytes: number) => void;
  /** So many bytes were appended for it. */
  readonly onWritten: (bytes: number) => void;
  /** What was found alive in a victim is too much for its move to gain anything. */
  readonly onFull: (segment: number, liveBytes: number) => void;
}

/** A burst smaller than this share of a segment is not worth a segment of its own. */
const ALONE_SHARE = 1 / 8;

/** What came of it. */
export interface Evacuation {
  /** Those that should be empty; the rest had no room, or was disturbed. */
  readonly segments: readonly number[];
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
  const { log, volume, counters } = ports;
  const before = counters.movedBytes;
  const version = volume.treesVersion;
  // Whoever took a snapshot meanwhile has made what moves alone something that is shared.
  const isWanted = (): boolean => options.isWanted() && volume.treesVersion === version;
  const settings = { ...options, isWanted };
  const reader = new NodeReader(log, options.cacheBytes);
  const { pieces, kept, segments } = await surveyAll(ports, reader, victims, settings);
  const nowSeconds = Math.floor(volume.nowMicros() / 1_000_000);
  for (const batch of batchesOf(inMovingOrder(pieces, nowSeconds), options.batchBytes)) {
    if (!isWanted()) break;
    const loaded = await loadPieces(volume, batch);
    counters.damagedBlocks += loaded.damagedBlocks;
    await burst(ports, loaded.pieces, settings);
    options.onMoved(batch.reduce((sum, piece) => sum + loadedBytes(piece), 0));
  }
  options.onWritten(counters.movedBytes - before);
  const outcome = await evacuateKept({ ...ports, reader }, { ...kept, version }, settings);
  return { segments: outcome === "late" ? [] : segments };
}

interface Surveyed {
  readonly pieces: LivePiece[];
  readonly kept: Omit<KeptVictims, "version">;
  readonly segments: readonly number[];
}

async function surveyAll(
  ports: EvacuationPorts,
  reader: NodeReader,
  victims: readonly number[],
  { isWanted, reserve, onFull }: EvacuationOptions,
): Promise<Surveyed> {
  // The first one may be too much where a later one is not.
  const pieces: LivePiece[] = [];
  const keptIn = new Map<number, Survey["kept"]>();
  const segments: number[] = [];
  let bytes = 0;
  for (const victim of victims) {
    const segment = ports.log.segments.find((one) => one.segment === victim);
    if (segment === undefined || !isWanted()) continue;
    const found = await survey(ports, reader, segment);
    if (found === null) {
      segments.push(victim);
      continue;
    }
    const isKept = found.kept.blocks.length + found.kept.nodes.length > 0;
    const alive = aliveIn(found);
    if (isKept && !isWorthMoving(segment, alive.liveBytes)) {
      onFull(victim, alive.liveBytes);
      continue;
    }
    if (!reserve(bytes + alive.writtenBytes)) {
      if (segments.length > 0) break;
      continue;
    }
    bytes += alive.writtenBytes;
    for (const piece of found.pieces) pieces.push(piece);
    keptIn.set(victim, found.kept);
    segments.push(victim);
  }
  const parts = [...keptIn.values()];
  return {
    pieces,
    kept: {
      segments: new Set(keptIn.keys()),
      blocks: parts.flatMap(({ blocks }) => blocks),
      nodes: parts.flatMap(({ nodes }) => nodes),
    },
    segments,
  };
}

/** `writtenBytes`: to move it; what the checkpoint writes of the active tree is not among them. */
function aliveIn({ pieces, kept, nodeBytes }: Survey) {
  const pieceBytes = pieces.reduce((sum, piece) => sum + loadedBytes(piece), 0);
  const keptBytes = kept.blocks
    .flatMap(({ ranges }) => ranges)
    .reduce((sum, { from, to }) => sum + to - from, 0);
  // Most of the active tree's nodes are the snapshots' too.
  const liveBytes = pieceBytes + keptBytes + Math.max(nodeBytes, kept.nodeBytes);
  const writtenBytes = pieceBytes + keptBytes + kept.nodeBytes + kept.changedNodeBytes;
  return { liveBytes, writtenBytes };
}

function isWorthMoving({ usedBytes }: LogSegment, liveBytes: number): boolean {
  return gainOf({ bytes: usedBytes, liveBytes }) > 0;
}

/** null: it cannot be read. */
async function survey(
  { log, volume, counters }: EvacuationPorts,
  reader: NodeReader,
  segment: LogSegment,
): Promise<Survey | null> {
  try {
    const found = await surveySegment(log, volume, segment, reader);
    counters.movedNodes += found.nodes;
    return found;
  } catch (error) {
    // It stays as it is. Whether that is for good is judged by its live bytes.
    if (isDamage(error) || (error as { code?: unknown } | null)?.code === "IO") return null;
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
  { segmentBytes, maxRecordBytes, isWanted }: EvacuationOptions,
): Promise<void> {
  const bytes = pieces.reduce((sum, one) => sum + one.bytes.length, 0);
  const isAlone = bytes >= segmentBytes * ALONE_SHARE;
  await gate.hold(async () => {
    if (isAlone) log.sealSegment();
    for (const move of movesOf(pieces, maxRecordBytes)) {
      if (!isWanted()) break;
      await write(volume, move, counters, isWanted);
      await writtenWhenBehind(log);
    }
    if (isAlone) log.sealSegment();
  });
}

async function write(
  volume: CleanableVolume,
  move: Move,
  counters: CleanerCounters,
  isWanted: () => boolean,
): Promise<void> {
  for (let from: number | null = 0; from !== null; ) {
    const { bytes, next }: Moved = await moved(volume, move, from, isWanted);
    counters.movedBytes += bytes;
    from = next;
  }
  counters.movedPieces += move.length;
}

async function moved(
  volume: CleanableVolume,
  move: Move,
  from: number,
  isWanted: () => boolean,
): Promise<Moved> {
  const nothing: Moved = { bytes: 0, next: null };
  try {
    // Asked in the step that moves.
    const change = await volume.change(
      (transaction) => (isWanted() ? runMove(transaction, move, from) : nothing),
      true,
    );
    return change.value;
  } catch (error) {
    // A block that many share may need more items than a small log's records take: it stays.
    if (error instanceof SmfsError && error.code === "TOO_LARGE") return { bytes: 0, next: null };
    throw error;
  }
}
