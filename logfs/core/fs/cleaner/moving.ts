/**
 * Moving loaded pieces: the order in which they are written, and the operations that do it. Each
 * operation is an ordinary `update` record that says nothing but where bytes stand: no size, no time
 * and no count changes.
 *
 * Whatever happened since the survey, an operation moves what is still where the survey found it,
 * and nothing else: that is asked in the same step in which it is changed.
 */
import type { Transaction } from "../api.ts";
import { concatBytes } from "../../../../lib/bytes.ts";
import { takeOut } from "../cutting.ts";
import { type PlacedExtent, storeExtents, visitExtents } from "../extents.ts";
import { ADDRESS_AT, BLOCK_BYTES, ITEM, keyOf } from "../items.ts";
import { ownersOf } from "../sharing.ts";
import { moveShared } from "../sharing-move.ts";
import type { LoadedPiece } from "./loading.ts";
import { isSameBlock, type LivePiece, xattrBlock } from "./survey.ts";

/** Body of one record, at most: it passes the WAN and memory like any other. */
const RECORD_BYTES = 2 ** 20;
/** What a piece takes in the record besides its bytes: items, and the range that it frees. */
const PIECE_OVERHEAD_BYTES = 192;
const PIECES = 4096;

/**
 * Oldest first, ages that differ by less than twice being alike; then by file and offset, so that
 * what belongs together comes to stand together (age sort, LFS §3.6).
 */
export function inMovingOrder(pieces: readonly LivePiece[], nowSeconds: number): LivePiece[] {
  return pieces
    .map((piece) => ({ piece, octave: octaveOf(nowSeconds - piece.writtenSeconds) }))
    .toSorted(
      (a, b) =>
        b.octave - a.octave || a.piece.inode - b.piece.inode || startOf(a.piece) - startOf(b.piece),
    )
    .map(({ piece }) => piece);
}

function octaveOf(ageSeconds: number): number {
  return Math.floor(Math.log2(Math.max(1, ageSeconds)));
}

function startOf(piece: LivePiece): number {
  return piece.kind === "extent" ? piece.start : 0;
}

/** What one operation moves: pieces without other owners, or a part of a shared block. */
export type Move = readonly LoadedPiece[];

/** Cuts the pieces into moves, each of which fits a record. The order stays. */
export function movesOf(pieces: readonly LoadedPiece[], maxRecordBytes: number): Move[] {
  const mostBytes = Math.min(RECORD_BYTES, maxRecordBytes);
  const moves: LoadedPiece[][] = [];
  let bytes = 0;
  for (const one of pieces) {
    const size = one.bytes.length + PIECE_OVERHEAD_BYTES;
    const move = moves.at(-1);
    const isAlone = one.piece.kind === "shared" || move?.[0]?.piece.kind === "shared";
    if (move === undefined || isAlone || bytes + size > mostBytes || move.length === PIECES) {
      moves.push([one]);
      bytes = size;
    } else {
      move.push(one);
      bytes += size;
    }
  }
  return moves;
}

export interface Moved {
  /** Written again. */
  readonly bytes: number;
  /** Where a shared block with many pieces goes on; null: all is done. */
  readonly next: number | null;
}

/** One operation. `from`: 0, then `next` of the operation before. */
export function runMove(transaction: Transaction, move: Move, from: number): Moved {
  const ages = move.map(({ piece }) => piece.writtenSeconds);
  transaction.dateBody(Math.max(...ages));
  const [first] = move;
  if (first?.piece.kind === "shared") {
    const { block } = first.piece;
    const to = moveShared(transaction, block, first.bytes, from);
    return { bytes: to - from, next: to < block.storedBytes ? to : null };
  }
  const writer = new RunWriter(transaction);
  for (const { piece, bytes } of move) {
    if (piece.kind === "extent") moveExtents(transaction, writer, piece, bytes);
    else if (piece.kind === "xattr") moveXattr(transaction, piece, bytes);
  }
  writer.flush();
  return { bytes: move.reduce((sum, { bytes }) => sum + bytes.length, 0), next: null };
}

type ExtentPiece = LivePiece & { readonly kind: "extent" };

function moveExtents(
  transaction: Transaction,
  writer: RunWriter,
  piece: ExtentPiece,
  bytes: Uint8Array,
): void {
  const { inode, start, length, block, skip } = piece;
  // Shared since the survey: the next one finds all owners.
  if (ownersOf(transaction, block.segment, block.offset).length > 0) return;
  const end = start + length;
  const found: PlacedExtent[] = [];
  visitExtents(transaction, inode, start, end, (extent) => {
    const isThere = isSameBlock(extent, block) && extent.start - extent.skip === start - skip;
    if (isThere) found.push(extent);
    return true;
  });
  for (const extent of found) {
    const from = Math.max(start, extent.start);
    const to = Math.min(end, extent.start + extent.length);
    takeOut(transaction, inode, extent, from, to);
    transaction.free(block.segment, block.offset + from - start + skip, to - from);
    writer.add(inode, from, bytes.subarray(from - start, to - start));
  }
}

type XattrPiece = LivePiece & { readonly kind: "xattr" };

function moveXattr(transaction: Transaction, piece: XattrPiece, bytes: Uint8Array): void {
  const { inode, low, block } = piece;
  const high = keyOf(inode, ITEM.xattr);
  const item = transaction.get(high, low);
  const now = item === undefined ? null : xattrBlock(item);
  if (item === undefined || now === null || !isSameBlock(now, block)) return;
  const { segment, offset, storedBytes } = block;
  transaction.free(segment, offset, storedBytes);
  transaction.putLocated(high, low, item, ADDRESS_AT, transaction.addBody(bytes));
}

/** Joins neighbouring pieces of one file into blocks of up to 64 KiB: many small appends heal. */
class RunWriter {
  private readonly transaction: Transaction;
  private inode = 0;
  private start = 0;
  private bytes = 0;
  private parts: Uint8Array[] = [];

  constructor(transaction: Transaction) {
    this.transaction = transaction;
  }

  add(inode: number, start: number, part: Uint8Array): void {
    const goesOn = inode === this.inode && start === this.start + this.bytes;
    // A run ends where a block would: what is stored as blocks is cut there anyhow.
    if (!goesOn || start % BLOCK_BYTES === 0) {
      this.flush();
      this.inode = inode;
      this.start = start;
    }
    this.parts.push(part);
    this.bytes += part.length;
  }

  flush(): void {
    const { inode, start, bytes, parts } = this;
    if (bytes === 0) return;
    const [only] = parts;
    const data = parts.length === 1 && only !== undefined ? only : concatBytes(parts);
    storeExtents(this.transaction, inode, start, data);
    // It was counted before.
    this.transaction.adjust({ dataBytes: -bytes });
    this.parts = [];
    this.bytes = 0;
  }
}
