/**
 * Extents: which stored block holds which bytes of a file.
 *
 * - Extents of one inode never overlap. Bytes between them, and behind the last, are zero.
 * - A stored block is written once, and stays where it is while any extent points into it
 *   (`cutting.ts`). More than one file may: `sharing.ts`.
 */
import { assert } from "../../../lib/assert.ts";
import type { ItemView, Transaction } from "./api.ts";
import {
  ADDRESS_AT,
  BLOCK_BYTES,
  decodeExtent,
  encodeExtent,
  type ExtentItem,
  ITEM,
  keyOf,
  sumBlock,
} from "./items.ts";

export interface PlacedExtent extends ExtentItem {
  /** File offset of the first byte. */
  readonly start: number;
}

/** Extents with a byte in [from, to), ascending, until `visit` returns false. */
export function visitExtents(
  view: ItemView,
  inode: number,
  from: number,
  to: number,
  visit: (extent: PlacedExtent) => boolean,
): void {
  if (from >= to) return;
  const before = view.floor(keyOf(inode, ITEM.extent), from);
  if (before !== undefined) {
    const extent = placed(before.low, before.value);
    if (extent.start + extent.length > from && !visit(extent)) return;
  }
  visitStarts(view, inode, from + 1, to, visit);
}

/** Extents whose first byte is in [from, to), ascending, until `visit` returns false. */
export function visitStarts(
  view: ItemView,
  inode: number,
  from: number,
  to: number,
  visit: (extent: PlacedExtent) => boolean,
): void {
  const high = keyOf(inode, ITEM.extent);
  view.scan(high, from, to, (low, value) => visit(placed(low, value)));
}

function placed(start: number, value: Uint8Array): PlacedExtent {
  return Object.assign(decodeExtent(value), { start });
}

/**
 * Stores `data` as extents from `offset` on, where there must be a hole. Blocks end at multiples of
 * 64 KiB of the file, so that a later aligned overwrite replaces whole blocks.
 */
export function storeExtents(
  transaction: Transaction,
  inode: number,
  offset: number,
  data: Uint8Array,
): void {
  assert(data.length > 0, "an extent has at least one byte");
  const high = keyOf(inode, ITEM.extent);
  for (let at = 0; at < data.length; ) {
    const room = BLOCK_BYTES - ((offset + at) % BLOCK_BYTES);
    const block = data.subarray(at, at + room);
    const storedBytes = block.length;
    const sums = sumBlock(block);
    const item = { segment: 0, offset: 0, storedBytes, ...sums, skip: 0, length: storedBytes };
    const body = transaction.addBody(block, sums.checksum);
    transaction.putLocated(high, offset + at, encodeExtent(item), ADDRESS_AT, body);
    at += storedBytes;
  }
  transaction.adjust({ dataBytes: data.length });
}
