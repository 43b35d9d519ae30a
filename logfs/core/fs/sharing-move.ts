/**
 * Moving a shared block, for the cleaner: what is alive of it goes into the record's body, and every
 * owner's extents, and the lists of owners, point there afterwards.
 *
 * 1. Collect the pieces of all owners in the part that one record moves.
 * 2. Merge them into runs of bytes that something covers: each run becomes a stored block of its
 *    own, so bytes that nobody covers are left behind. A piece is in exactly one run.
 * 3. Cut the pieces out of the old block, put them into the new ones; free the old bytes.
 * 4. Each new block with several owners gets an item under its address. Owners without a piece
 *    left in the old block leave its item, which goes with the last.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { ItemView, Transaction } from "./api.ts";
import { takeOut } from "./cutting.ts";
import type { PlacedExtent } from "./extents.ts";
import {
  ADDRESS_AT,
  encodeExtent,
  encodeOwners,
  ITEM,
  keyOf,
  type SharedOwner,
  sharedKey,
  sumBlock,
} from "./items.ts";
import {
  type BlockPlace,
  type BlockRange,
  isPiece,
  isSameOwner,
  ownersOf,
  storeOwners,
  visitOwner,
} from "./sharing.ts";

/** Extents of one owner looked at for one record: 64 owners make a record of 4,096 items. */
const VISITS_MAX = 64;

/** A piece of the part that is moved, and the bytes [from, to) of the block that it covers there. */
interface Piece extends BlockRange {
  readonly owner: SharedOwner;
  readonly extent: PlacedExtent;
}

interface Run extends BlockRange {
  readonly pieces: readonly Piece[];
}

/**
 * Moves what is alive of the block from byte `from` on, or a bounded part of it; gives where that
 * part ends. Call with 0, then with what it gave, until that is `block.storedBytes`. `stored`: the
 * block's bytes, verified. Throws `SmfsError` DAMAGED when owners have more than that. A block that is not shared (any more) is left as it is.
 */
export function moveShared(
  transaction: Transaction,
  block: BlockPlace,
  stored: Uint8Array,
  from: number,
): number {
  const owners = ownersOf(transaction, block.segment, block.offset);
  if (owners.length === 0) return block.storedBytes;
  const { pieces, to } = collect(transaction, block, owners, from);
  for (const run of runsOf(pieces)) moveRun(transaction, block, stored, run);
  const isStaying = (owner: SharedOwner) => hasPiece(transaction, block, owner, to);
  storeOwners(transaction, block, to === block.storedBytes ? [] : owners.filter(isStaying));
  return to;
}

function collect(
  view: ItemView,
  block: BlockPlace,
  owners: readonly SharedOwner[],
  from: number,
): { readonly pieces: readonly Piece[]; readonly to: number } {
  const pieces: Piece[] = [];
  let to = block.storedBytes;
  for (const owner of owners) {
    let visits = 0;
    visitOwner(view, owner, { from, to }, (extent) => {
      // The first extent may begin before `from`, every further one begins behind it.
      if (visits === VISITS_MAX) to = extent.start - owner.start;
      else if (isPiece(extent, block, owner)) pieces.push({ owner, extent, ...rangeOf(extent) });
      return visits++ < VISITS_MAX;
    });
  }
  return { pieces: clipped(pieces, { from, to }), to };
}

function rangeOf({ skip, length }: PlacedExtent): BlockRange {
  return { from: skip, to: skip + length };
}

function clipped(pieces: readonly Piece[], { from, to }: BlockRange): Piece[] {
  return pieces
    .map((piece) => ({ ...piece, from: Math.max(piece.from, from), to: Math.min(piece.to, to) }))
    .filter((piece) => piece.from < piece.to);
}

/** Pieces that overlap or touch, together. */
function runsOf(pieces: readonly Piece[]): Run[] {
  const runs: { from: number; to: number; pieces: Piece[] }[] = [];
  for (const piece of pieces.toSorted((a, b) => a.from - b.from)) {
    const last = runs.at(-1);
    if (last === undefined || piece.from > last.to) {
      runs.push({ from: piece.from, to: piece.to, pieces: [piece] });
    } else {
      last.to = Math.max(last.to, piece.to);
      last.pieces.push(piece);
    }
  }
  return runs;
}

function moveRun(transaction: Transaction, block: BlockPlace, stored: Uint8Array, run: Run): void {
  const bytes = stored.subarray(run.from, run.to);
  if (bytes.length < run.to - run.from) {
    const place = `${block.segment}:${block.offset}`;
    throw new SmfsError("DAMAGED", `owners of ${run.to} bytes in the ${stored.length} at ${place}`);
  }
  const moved = { storedBytes: bytes.length, ...sumBlock(bytes) };
  const body = transaction.addBody(bytes, moved.checksum);
  const owners: SharedOwner[] = [];
  for (const { owner, extent, from, to } of run.pieces) {
    const [start, end] = [owner.start + from, owner.start + to];
    takeOut(transaction, owner.inode, extent, start, end);
    const item = { segment: 0, offset: 0, ...moved, skip: from - run.from, length: to - from };
    const high = keyOf(owner.inode, ITEM.extent);
    transaction.putLocated(high, start, encodeExtent(item), ADDRESS_AT, body);
    const after = { inode: owner.inode, start: owner.start + run.from };
    if (!owners.some((other) => isSameOwner(other, after))) owners.push(after);
  }
  transaction.free(block.segment, block.offset + run.from, run.to - run.from);
  if (owners.length > 1) transaction.putAtAddress(sharedKey, encodeOwners(owners), body);
}

function hasPiece(view: ItemView, block: BlockPlace, owner: SharedOwner, from: number): boolean {
  let found = false;
  visitOwner(view, owner, { from, to: block.storedBytes }, (extent) => {
    found = isPiece(extent, block, owner);
    return !found;
  });
  return found;
}
