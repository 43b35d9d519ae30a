/**
 * Reading file data: plan, load, verify, slice.
 *
 * 1. `planRead` collects the extents of the range and names each stored block once.
 * 2. `loadBlocks` merges blocks that stand near one another in the log into runs and reads each run
 *    at once: small appends written one after the other are read like one large write.
 * 3. Every block is checked against its CRC-32C before a byte of it is given out. A block that
 *    does not match fails the whole read: never wrong data.
 * 4. A run that cannot be read is read again block by block: what failed may have been a sector
 *    between two of them, which nobody asked for.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { MaybePromise } from "../vfs.ts";
import type { ItemView, Volume } from "./api.ts";
import { visitExtents } from "./extents.ts";
import { loadInode } from "./inodes.ts";
import type { ExtentItem, XattrValue } from "./items.ts";
import { chain } from "./maybe.ts";
import type { FsCounters } from "./statistics.ts";
import { requireRegular } from "./truncation.ts";

/** Blocks closer than this in the log are read together: the record header and items between them. */
const RUN_GAP_BYTES = 4096;
/** No block is read together with another. */
const NO_RUNS = -1;
/** A run of merged blocks is not made longer than this. */
const RUN_BYTES = 2 * 1024 * 1024;
/** Pieces of one plan, about: what one read keeps in memory besides its bytes. */
const PLAN_PIECES = 4096;
/** Runs read from the log at the same time. */
const PARALLEL_RUNS = 64;
const ZEROS = new Uint8Array(65_536);

interface StoredBlock {
  readonly segment: number;
  readonly offset: number;
  readonly storedBytes: number;
  readonly checksum: number;
  /** File offset it was first needed at, for messages. */
  readonly neededAt: number;
  run: Run;
}

interface Run {
  readonly segment: number;
  readonly offset: number;
  length: number;
  bytes: Uint8Array;
}

interface Piece {
  /** null: a hole. */
  readonly extent: ExtentItem | null;
  readonly skip: number;
  readonly length: number;
  readonly fileOffset: number;
}

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
  const again = (error: unknown): MaybePromise<Uint8Array[]> => {
    if (!(error instanceof SmfsError) || error.code !== "IO") throw error;
    return readBlocks(volume, plan, counters, NO_RUNS);
  };
  try {
    const read = readBlocks(volume, plan, counters, RUN_GAP_BYTES, scratch);
    return read instanceof Promise ? read.catch(again) : read;
  } catch (error) {
    return again(error);
  }
}

function readBlocks(
  volume: Volume,
  plan: ReadPlan,
  counters: FsCounters,
  gapBytes: number,
  scratch?: Uint8Array,
): MaybePromise<Uint8Array[]> {
  const blocks = new Map<Piece, StoredBlock>();
  const runs = planRuns(plan.pieces, blocks, gapBytes);
  return chain(loadRuns(volume, runs, scratch), () => {
    for (const block of new Set(blocks.values())) verify(plan.inode, block, counters);
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
  const { segment, offset, length, checksum } = value;
  return chain(volume.readBlock(segment, offset, length), (bytes) => {
    const run = { segment, offset, length, bytes };
    verify(inode, { segment, offset, storedBytes: length, checksum, neededAt: 0, run }, counters);
    return bytes.slice();
  });
}

type DataPiece = Piece & { readonly extent: ExtentItem };

/** Sorts the blocks by address, so that one block is one entry and those `gapBytes` apart merge. */
function planRuns(
  pieces: readonly Piece[],
  blocks: Map<Piece, StoredBlock>,
  gapBytes: number,
): Run[] {
  const sorted = pieces.filter((piece): piece is DataPiece => piece.extent !== null);
  sorted.sort((a, b) => a.extent.segment - b.extent.segment || a.extent.offset - b.extent.offset);
  const runs: Run[] = [];
  let last: StoredBlock | undefined;
  for (const piece of sorted) {
    const { segment, offset, storedBytes, checksum } = piece.extent;
    if (last === undefined || last.segment !== segment || last.offset !== offset) {
      const run = runFor(runs, { segment, offset, length: storedBytes }, gapBytes);
      last = { segment, offset, storedBytes, checksum, neededAt: piece.fileOffset, run };
    }
    blocks.set(piece, last);
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
  const fresh = { segment, offset, length, bytes: ZEROS };
  runs.push(fresh);
  return fresh;
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

function verify(inode: number, block: StoredBlock, counters: FsCounters): void {
  const { run, offset, storedBytes, segment } = block;
  const start = offset - run.offset;
  const bytes = run.bytes.subarray(start, start + storedBytes);
  if (bytes.length === storedBytes && crc32c(bytes) === block.checksum) return;
  counters.checksumFailures++;
  throw new SmfsError(
    "DAMAGED",
    `inode ${inode}, offset ${block.neededAt}: the ${storedBytes} bytes at ${segment}:${offset} do not match their checksum`,
  );
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
