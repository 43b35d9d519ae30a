/**
 * The stored blocks that a read needs: which of their bytes, in which runs they are read, and whether
 * what was read matches its checksum.
 */
import { EMPTY } from "../../../lib/bytes.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { type ExtentItem, SUMMED_BYTES } from "./items.ts";

/** Blocks closer than this in the log are read together: the record header and items between them. */
const RUN_GAP_BYTES = 4096;
/** No block is read together with another. */
const NO_RUNS = -1;

/** A run of merged blocks is not made longer than this. */
const RUN_BYTES = 2 * 1024 * 1024;

/** How much is read at once. */
export interface Manner {
  /** Blocks so close are read together. */
  readonly gapBytes: number;
  readonly blocks: "parts" | "whole";
}

export const FAST: Manner = { gapBytes: RUN_GAP_BYTES, blocks: "parts" };
/** For when a run cannot be read. */
export const APART: Manner = { gapBytes: NO_RUNS, blocks: "parts" };
/** For when the checksum of a part does not match. */
export const WHOLE: Manner = { gapBytes: NO_RUNS, blocks: "whole" };
export interface StoredBlock {
  readonly segment: number;
  readonly offset: number;
  readonly storedBytes: number;
  readonly checksum: number;
  readonly sums: readonly number[] | undefined;
  /** The bytes of it that are read: all, or as many as have checksums of their own. */
  from: number;
  to: number;
  /** File offset it was first needed at, for messages. */
  readonly neededAt: number;
  run: Run;
}

export interface Run {
  readonly segment: number;
  readonly offset: number;
  length: number;
  bytes: Uint8Array;
}

const NO_RUN: Run = { segment: 0, offset: 0, length: 0, bytes: EMPTY };

/** Bytes of the file in order. */
export interface Piece {
  /** null: a hole. */
  readonly extent: ExtentItem | null;
  readonly skip: number;
  readonly length: number;
  readonly fileOffset: number;
}

type DataPiece = Piece & { readonly extent: ExtentItem };

/** In the order of addresses; one block is one entry, whatever number of pieces needs it. */
export function planBlocks(
  pieces: readonly Piece[],
  { blocks: wanted }: Manner,
): Map<Piece, StoredBlock> {
  const sorted = pieces.filter((piece): piece is DataPiece => piece.extent !== null);
  sorted.sort((a, b) => a.extent.segment - b.extent.segment || a.extent.offset - b.extent.offset);
  const blocks = new Map<Piece, StoredBlock>();
  let last: StoredBlock | undefined;
  for (const piece of sorted) {
    const { segment, offset, storedBytes, checksum, sums } = piece.extent;
    const range = wanted === "whole" ? { from: 0, to: storedBytes } : rangeOf(piece);
    if (last === undefined || last.segment !== segment || last.offset !== offset) {
      const neededAt = piece.fileOffset;
      last = { segment, offset, storedBytes, checksum, sums, ...range, neededAt, run: NO_RUN };
    } else {
      last.from = Math.min(last.from, range.from);
      last.to = Math.max(last.to, range.to);
    }
    blocks.set(piece, last);
  }
  return blocks;
}

/** What must be read of the block to check the piece's bytes. */
function rangeOf({ extent, skip, length }: DataPiece): { from: number; to: number } {
  const { storedBytes, sums } = extent;
  if (sums === undefined) return { from: 0, to: storedBytes };
  const end = Math.ceil((skip + length) / SUMMED_BYTES) * SUMMED_BYTES;
  return { from: skip - (skip % SUMMED_BYTES), to: Math.min(storedBytes, end) };
}

/** Gives each of the blocks, which are in the order of addresses, its run. */
export function planRuns(blocks: Iterable<StoredBlock>, { gapBytes }: Manner): Run[] {
  const runs: Run[] = [];
  for (const block of blocks) {
    const { segment, from, to } = block;
    const place = { segment, offset: block.offset + from, length: to - from };
    block.run = runFor(runs, place, gapBytes);
  }
  return runs;
}

function runFor(
  runs: Run[],
  { segment, offset, length }: Omit<Run, "bytes">,
  gapBytes: number,
): Run {
  const run = runs.at(-1);
  if (run !== undefined && run.segment === segment) {
    const gap = offset - (run.offset + run.length);
    const merged = offset + length - run.offset;
    if (gap >= 0 && gap <= gapBytes && merged <= RUN_BYTES) {
      run.length = merged;
      return run;
    }
  }
  const fresh = { segment, offset, length, bytes: EMPTY };
  runs.push(fresh);
  return fresh;
}

/** What is wrong with the bytes that were read of the block; null when they match. */
export function faultOf(inode: number, block: StoredBlock): SmfsError | null {
  const { run, offset, storedBytes, segment, from, to } = block;
  const start = offset + from - run.offset;
  const bytes = run.bytes.subarray(start, start + to - from);
  if (bytes.length === to - from && isAsSummed(block, bytes)) return null;
  return new SmfsError(
    "DAMAGED",
    `inode ${inode}, offset ${block.neededAt}: the ${storedBytes} bytes at ${segment}:${offset} do not match their checksum`,
  );
}

function isAsSummed(block: StoredBlock, bytes: Uint8Array): boolean {
  const { storedBytes, checksum, sums, from, to } = block;
  if (to - from === storedBytes) return crc32c(bytes) === checksum;
  for (let at = 0; at < bytes.length; at += SUMMED_BYTES) {
    const sum = sums?.[(from + at) / SUMMED_BYTES];
    if (crc32c(bytes.subarray(at, at + SUMMED_BYTES)) !== sum) return false;
  }
  return true;
}
