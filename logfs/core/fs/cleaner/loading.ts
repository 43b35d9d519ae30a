/**
 * The bytes of live pieces, read in the order in which they stand in the log, and verified before
 * anything is moved: a cleaner that copied damage would give it a new, valid checksum.
 */
import { crc32c } from "../../../../lib/crc32c.ts";
import type { Volume } from "../api.ts";
import type { StoredBlock } from "../relocation.ts";
import { isDamage } from "./records.ts";
import { isSameBlock, type LivePiece } from "./survey.ts";

/** Blocks closer than this in the log are read together: record headers and items between them. */
const GAP_BYTES = 4096;
/** One read, at most. */
const READ_BYTES = 2 ** 20;

export interface LoadedPiece {
  readonly piece: LivePiece;
  /** Of an extent the piece's bytes, otherwise those of the whole block. */
  readonly bytes: Uint8Array;
}

export interface Loaded {
  readonly pieces: readonly LoadedPiece[];
  /** Blocks that could not be read or did not verify; their pieces are not among those. */
  readonly damagedBlocks: number;
}

/** Rejects with what reading rejects, but for damage and unreadable places. */
export async function loadPieces(
  volume: Pick<Volume, "readBlock">,
  pieces: readonly LivePiece[],
): Promise<Loaded> {
  const loaded: LoadedPiece[] = [];
  let damagedBlocks = 0;
  for (const run of runsOf(pieces)) {
    const bytes = await readRun(volume, run);
    let before: StoredBlock | null = null;
    let stored: Uint8Array | null = null;
    for (const piece of run.pieces) {
      const { block } = piece;
      if (before === null || !isSameBlock(before, block)) {
        before = block;
        stored = bytes === null ? await readAlone(volume, block) : blockIn(run, bytes, block);
        if (stored === null) damagedBlocks++;
      }
      if (stored !== null) loaded.push({ piece, bytes: bytesOf(piece, stored) });
    }
  }
  return { pieces: loaded, damagedBlocks };
}

/** Bytes that a piece keeps in memory. */
export function loadedBytes(piece: LivePiece): number {
  return piece.kind === "extent" ? piece.length : piece.block.storedBytes;
}

interface Run {
  readonly segment: number;
  readonly offset: number;
  end: number;
  readonly pieces: LivePiece[];
}

function runsOf(pieces: readonly LivePiece[]): Run[] {
  const sorted = pieces.toSorted(
    (a, b) => a.block.segment - b.block.segment || a.block.offset - b.block.offset,
  );
  const runs: Run[] = [];
  for (const piece of sorted) {
    const { segment, offset, storedBytes } = piece.block;
    const end = offset + storedBytes;
    const run = runs.at(-1);
    const isNear = run !== undefined && run.segment === segment && offset - run.end <= GAP_BYTES;
    if (isNear && end - run.offset <= READ_BYTES) {
      run.end = Math.max(run.end, end);
      run.pieces.push(piece);
    } else {
      runs.push({ segment, offset, end, pieces: [piece] });
    }
  }
  return runs;
}

/** null: some of it cannot be read. */
async function readRun(
  volume: Pick<Volume, "readBlock">,
  { segment, offset, end }: Pick<Run, "segment" | "offset" | "end">,
): Promise<Uint8Array | null> {
  try {
    return await volume.readBlock(segment, offset, end - offset);
  } catch (error) {
    if (isUnreadable(error)) return null;
    throw error;
  }
}

async function readAlone(
  volume: Pick<Volume, "readBlock">,
  block: StoredBlock,
): Promise<Uint8Array | null> {
  const { segment, offset, storedBytes } = block;
  const bytes = await readRun(volume, { segment, offset, end: offset + storedBytes });
  return bytes !== null && crc32c(bytes) === block.checksum ? bytes : null;
}

function blockIn(run: Run, bytes: Uint8Array, block: StoredBlock): Uint8Array | null {
  const from = block.offset - run.offset;
  const stored = bytes.subarray(from, from + block.storedBytes);
  return crc32c(stored) === block.checksum ? stored : null;
}

/** A copy: a view would keep the whole read in memory. */
function bytesOf(piece: LivePiece, stored: Uint8Array): Uint8Array {
  if (piece.kind !== "extent") return stored.slice();
  return stored.slice(piece.skip, piece.skip + piece.length);
}

function isUnreadable(error: unknown): boolean {
  return isDamage(error) || (error as { code?: unknown } | null)?.code === "IO";
}
