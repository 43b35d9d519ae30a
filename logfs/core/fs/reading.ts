/**
 * Reading file data: plan, load, verify, slice.
 *
 * 1. `planRead` collects the extents of the range and names each stored block once.
 * 2. Blocks that stand near one another in the log are merged into runs, each of which is read at
 *    once (`block-reading.ts`): small appends written one after the other are read like one large write.
 * 3. Every block is checked against its CRC-32C before a byte of it is given out. A block that
 *    does not match fails the whole read: never wrong data. Of a block that has a checksum for each
 *    16 KiB only those are read and checked that are needed.
 * 4. A run that cannot be read is read again block by block: what failed may have been a sector
 *    between two of them, which nobody asked for. A part that does not match is read again with its
 *    block: the block's own checksum has the last word.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { MaybePromise } from "../vfs.ts";
import type { ItemView, Volume } from "./api.ts";
import {
  APART,
  FAST,
  faultOf,
  type Manner,
  type Piece,
  planBlocks,
  planRuns,
  type Run,
  type StoredBlock,
  WHOLE,
} from "./block-reading.ts";
import { visitExtents } from "./extents.ts";
import { loadInode } from "./inodes.ts";
import type { XattrValue } from "./items.ts";
import { chain, orElse } from "./maybe.ts";
import type { FsCounters } from "./statistics.ts";
import { requireRegular } from "./truncation.ts";

/** Pieces of one plan, about: what one read keeps in memory besides its bytes. */
const PLAN_PIECES = 4096;
/** Runs read from the log at the same time. */
const PARALLEL_RUNS = 64;
const ZEROS = new Uint8Array(65_536);

export interface ReadPlan {
  readonly inode: number;
  readonly pieces: readonly Piece[];
  /** Where the rest begins, when the range has more extents than one plan takes. */
  readonly next: number | undefined;
}

/** The range is clipped to the file's size. */
export function planRead(view: ItemView, inode: number, offset: number, length: number): ReadPlan {
  const item = loadInode(view, inode);
  requireRegular(item);
  const end = Math.min(item.size, offset + length);
  const pieces: Piece[] = [];
  let at = offset;
  const hole = (to: number): void => {
    if (to > at) pieces.push({ extent: null, skip: 0, length: to - at, fileOffset: at });
    at = Math.max(at, to);
  };
  let next: number | undefined;
  visitExtents(view, inode, offset, end, (extent) => {
    if (pieces.length >= PLAN_PIECES) next = at;
    if (next !== undefined) return false;
    hole(extent.start);
    const skip = extent.skip + at - extent.start;
    const stop = Math.min(end, extent.start + extent.length);
    pieces.push({ extent, skip, length: stop - at, fileOffset: at });
    at = stop;
    return true;
  });
  if (next === undefined) hole(end);
  return { inode, pieces, next };
}

/**
 * The planned bytes in order. Where all of them are there at once they may stand in `scratch`, which
 * is the caller's to use again. Throws `SmfsError` DAMAGED where a stored block does not match.
 */
export function executeRead(
  volume: Volume,
  plan: ReadPlan,
  counters: FsCounters,
  scratch?: Uint8Array,
): MaybePromise<Uint8Array[]> {
  const whole = (error: unknown): MaybePromise<Uint8Array[]> => {
    if (!(error instanceof SmfsError) || error.code !== "DAMAGED") throw error;
    return readBlocks(volume, plan, counters, WHOLE);
  };
  const again = (error: unknown): MaybePromise<Uint8Array[]> => {
    const code = error instanceof SmfsError ? error.code : null;
    if (code === "DAMAGED") return readBlocks(volume, plan, counters, WHOLE);
    if (code === "IO") return orElse(() => readBlocks(volume, plan, counters, APART), whole);
    throw error;
  };
  return orElse(() => readBlocks(volume, plan, counters, FAST, scratch), again);
}

function readBlocks(
  volume: Volume,
  plan: ReadPlan,
  counters: FsCounters,
  manner: Manner,
  scratch?: Uint8Array,
): MaybePromise<Uint8Array[]> {
  const blocks = planBlocks(plan.pieces, manner);
  const distinct = new Set(blocks.values());
  return chain(loadRuns(volume, planRuns(distinct, manner), scratch), () => {
    for (const block of distinct) {
      const fault = faultOf(plan.inode, block);
      if (fault === null) continue;
      if (manner === WHOLE) counters.checksumFailures++;
      throw fault;
    }
    for (const piece of plan.pieces) counters.readBytes += piece.length;
    return slices(plan.pieces, blocks);
  });
}

/** A copy of an extended attribute's value. Throws `SmfsError` DAMAGED as `executeRead` does. */
export function readXattrValue(
  volume: Volume,
  inode: number,
  value: XattrValue,
  counters: FsCounters,
): MaybePromise<Uint8Array> {
  if (value.kind === "inline") return value.bytes;
  const { segment, offset, length: storedBytes, checksum } = value;
  return chain(volume.readBlock(segment, offset, storedBytes), (bytes) => {
    const run = { segment, offset, length: storedBytes, bytes };
    const place = { segment, offset, storedBytes, checksum, sums: undefined };
    const fault = faultOf(inode, { ...place, from: 0, to: storedBytes, neededAt: 0, run });
    if (fault === null) return bytes.slice();
    counters.checksumFailures++;
    throw fault;
  });
}

function loadRuns(
  volume: Volume,
  runs: readonly Run[],
  scratch: Uint8Array | undefined,
): MaybePromise<void> {
  let room = scratch;
  for (const [at, run] of runs.entries()) {
    const into = room !== undefined && room.length >= run.length ? room : undefined;
    const bytes = volume.readBlock(run.segment, run.offset, run.length, into);
    if (bytes instanceof Promise) return loadLate(volume, runs, at, bytes);
    run.bytes = bytes;
    if (bytes.buffer === room?.buffer) room = room.subarray(run.length);
  }
}

/** Run `from` is on its way. What stands in memory that others use meanwhile is copied first. */
function loadLate(
  volume: Volume,
  runs: readonly Run[],
  from: number,
  first: Promise<Uint8Array>,
): Promise<void> {
  for (const run of runs.slice(0, from)) run.bytes = run.bytes.slice();
  const late = [first.then((read) => void ((runs[from] as Run).bytes = read))];
  let at = from + 1;
  for (; at < runs.length && late.length < PARALLEL_RUNS; at++) {
    const run = runs[at] as Run;
    const bytes = volume.readBlock(run.segment, run.offset, run.length);
    if (bytes instanceof Promise) late.push(bytes.then((read) => void (run.bytes = read)));
    else run.bytes = bytes;
  }
  return Promise.all(late).then(() => loadRuns(volume, runs.slice(at), undefined));
}

function slices(pieces: readonly Piece[], blocks: Map<Piece, StoredBlock>): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (const piece of pieces) {
    const block = blocks.get(piece);
    if (block === undefined) pushZeros(out, piece.length);
    else pushBytes(out, block, piece);
  }
  return out;
}

function pushZeros(out: Uint8Array[], length: number): void {
  for (let left = length; left > 0; left -= ZEROS.length) out.push(ZEROS.subarray(0, left));
}

/** Joins the piece to the one before when it directly follows it in memory. */
function pushBytes(out: Uint8Array[], block: StoredBlock, piece: Piece): void {
  const { bytes, offset } = block.run;
  const start = block.offset - offset + piece.skip;
  const fresh = bytes.subarray(start, start + piece.length);
  const last = out.at(-1);
  const joins = last?.buffer === fresh.buffer && endOf(last) === fresh.byteOffset;
  if (!joins) out.push(fresh);
  else out[out.length - 1] = joined(last, fresh);
}

function endOf(bytes: Uint8Array): number {
  return bytes.byteOffset + bytes.length;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  return new Uint8Array(a.buffer, a.byteOffset, a.length + b.length);
}
