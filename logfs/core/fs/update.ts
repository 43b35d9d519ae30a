/**
 * The metadata part of an `update` record: what one operation changes, in terms that replay can
 * apply without asking anything. `UpdateHeader`, then the items in ascending key order (`UpdateItem`,
 * its value behind it), then the `FreedRange`s.
 *
 * Item values that point into the record's own body are complete: the address was written into them
 * while the record was appended.
 */
import {
  i64,
  type Infer,
  reserved,
  struct,
  u16,
  u32,
  u64,
  u8,
  viewOf,
} from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";

const PUT = 1;
const DELETE = 2;

export const UpdateHeader = struct("UpdateHeader", {
  items: u32("number of items"),
  frees: u32("number of freed ranges"),
  inodes: i64("change of the number of inodes"),
  dataBytes: i64("change of the bytes of data"),
  nextInode: u64("the next inode number, after this operation"),
});

export const UpdateItem = struct("UpdateItem", {
  high: u64("first half of the key"),
  low: u64("second half"),
  operation: u8("1 put, 2 delete"),
  flags: reserved(1),
  valueBytes: u16("length of the value, which follows; 0 for a delete"),
});

export const FreedRange = struct("FreedRange", {
  segment: u32("where the bytes stand that nothing refers to any more"),
  offset: u32("byte offset in the segment"),
  length: u32("bytes"),
});
export type FreedRange = Infer<typeof FreedRange>;

export interface Change {
  readonly high: number;
  readonly low: number;
  /** null: the item is deleted. */
  readonly value: Uint8Array | null;
}

export interface Update {
  /** In ascending order of distinct keys. */
  readonly changes: readonly Change[];
  readonly frees: readonly FreedRange[];
  readonly inodes: number;
  readonly dataBytes: number;
  readonly nextInode: number;
}

/** Length of the encoded update. */
export function updateBytes(update: Update): number {
  let bytes = UpdateHeader.size + update.frees.length * FreedRange.size;
  for (const change of update.changes) bytes += UpdateItem.size + (change.value?.length ?? 0);
  return bytes;
}

/** `target` is exactly `updateBytes` long. */
export function encodeUpdate(target: Uint8Array, update: Update): void {
  const view = viewOf(target);
  const { changes, frees, inodes, dataBytes, nextInode } = update;
  const counts = { items: changes.length, frees: frees.length };
  UpdateHeader.encode(view, 0, { ...counts, inodes, dataBytes, nextInode });
  let at = UpdateHeader.size;
  for (const { high, low, value } of changes) {
    const operation = value === null ? DELETE : PUT;
    UpdateItem.encode(view, at, { high, low, operation, valueBytes: value?.length ?? 0 });
    at += UpdateItem.size;
    if (value === null) continue;
    target.set(value, at);
    at += value.length;
  }
  for (const range of frees) {
    FreedRange.encode(view, at, range);
    at += FreedRange.size;
  }
}

/**
 * Takes a metadata part apart; values are views into it. Throws `SmfsError` DAMAGED or SHORT for
 * anything that `encodeUpdate` does not write, and for values longer than `maxValueBytes`.
 */
export function decodeUpdate(metadata: Uint8Array, maxValueBytes: number): Update {
  const view = viewOf(metadata);
  const header = UpdateHeader.decode(view, 0);
  const smallest = header.items * UpdateItem.size + header.frees * FreedRange.size;
  if (metadata.length - UpdateHeader.size < smallest) damaged("more items than its length holds");
  const changes: Change[] = [];
  let at = UpdateHeader.size;
  for (let i = 0; i < header.items; i++) {
    const change = decodeChange(metadata, view, at, maxValueBytes);
    if (i > 0 && !ascending(changes[i - 1] as Change, change)) damaged("keys out of order");
    changes.push(change);
    at += UpdateItem.size + (change.value?.length ?? 0);
  }
  const frees: FreedRange[] = [];
  for (let i = 0; i < header.frees; i++, at += FreedRange.size) {
    frees.push(FreedRange.decode(view, at));
  }
  if (at !== metadata.length) damaged("bytes behind its end");
  const { inodes, dataBytes, nextInode } = header;
  return { changes, frees, inodes, dataBytes, nextInode };
}

function decodeChange(
  metadata: Uint8Array,
  view: DataView,
  at: number,
  maxValueBytes: number,
): Change {
  const { high, low, operation, valueBytes } = UpdateItem.decode(view, at);
  const start = at + UpdateItem.size;
  if (operation === DELETE && valueBytes === 0) return { high, low, value: null };
  if (operation !== PUT) damaged(`operation ${operation}`);
  if (valueBytes > maxValueBytes) damaged(`a value of ${valueBytes} bytes`);
  if (metadata.length - start < valueBytes) damaged("ends inside a value");
  return { high, low, value: metadata.subarray(start, start + valueBytes) };
}

function ascending(a: Change, b: Change): boolean {
  return a.high < b.high || (a.high === b.high && a.low < b.low);
}

function damaged(what: string): never {
  throw new SmfsError("DAMAGED", `update record: ${what}`);
}
