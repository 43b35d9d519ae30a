/**
 * The metadata part of a `moved` record: whose the blocks in its body are. The cleaner moves what
 * snapshots refer to in such records (ARCHITECTURE, "Cleaning"); the checkpoint behind them makes the
 * trees point there, so nobody applies them. They name candidates for the next survey, as updates do,
 * and say where the bytes stood.
 */
import { i64, type Infer, reserved, struct, u32, u64, viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";

export const MovedEntry = struct("MovedEntry", {
  high: u64("first half of the key of items that refer to the block"),
  low: i64(
    "of file data the offset at which the block's byte 0 stands or would stand in the file; of an extended attribute the second half of its key",
  ),
  bodyOffset: u32("where the block begins in the record's body"),
  storedBytes: u32("length of the block"),
  checksum: u32("CRC-32C of the block"),
  fromSegment: u32("where its bytes stood before"),
  fromOffset: u32("byte offset in that segment"),
  room: reserved(4),
});
export type MovedEntry = Infer<typeof MovedEntry>;

export function movedBytes(entries: readonly MovedEntry[]): number {
  return entries.length * MovedEntry.size;
}

/** `target` is exactly `movedBytes` long. */
export function encodeMoved(target: Uint8Array, entries: readonly MovedEntry[]): void {
  const view = viewOf(target);
  for (const [i, entry] of entries.entries()) MovedEntry.encode(view, i * MovedEntry.size, entry);
}

/** Throws `SmfsError` DAMAGED or SHORT. */
export function decodeMoved(metadata: Uint8Array): MovedEntry[] {
  if (metadata.length % MovedEntry.size !== 0) {
    throw new SmfsError("DAMAGED", `a moved record's metadata of ${metadata.length} bytes`);
  }
  const view = viewOf(metadata);
  const count = metadata.length / MovedEntry.size;
  return Array.from({ length: count }, (_, i) => MovedEntry.decode(view, i * MovedEntry.size));
}
