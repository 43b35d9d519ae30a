/**
 * Where moved blocks stand now, and what that means for a tree (ARCHITECTURE, "Cleaning").
 *
 * A block that snapshots refer to is moved once for all trees: every run of its bytes that some tree
 * refers to becomes a stored block of its own. An extent lies in exactly one run, so moving changes
 * values and no keys, and makes no value longer: a tree afterwards is the same tree with other
 * addresses. Only the items of shared blocks, whose keys are addresses, go from one key to another.
 *
 * In each tree it stays true what `sharing.ts` says of owners: a run has the owners that have pieces in
 * it, and an item where the block had one.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { ItemView } from "./api.ts";
import { viewOf } from "../../../lib/codec.ts";
import { type PlacedExtent } from "./extents.ts";
import {
  ADDRESS_AT,
  decodeXattr,
  encodeExtent,
  encodeOwners,
  type ExtentItem,
  ITEM,
  keyOf,
  type SharedOwner,
  sharedKey,
} from "./items.ts";
import type { LiveBytes } from "./live-bytes.ts";
import { type BlockRange, isPiece, isSameOwner, ownersOf, visitOwner } from "./sharing.ts";

export type StoredBlock = Pick<ExtentItem, "segment" | "offset" | "storedBytes" | "checksum">;

/** Bytes [from, to) of a block, and the block that they are now. */
export interface MovedRun extends BlockRange {
  readonly place: StoredBlock & Pick<ExtentItem, "sums">;
}

export interface MovedBlock {
  /** As it stood. */
  readonly block: StoredBlock;
  /** Ascending; every piece of every tree lies in one of them. */
  readonly runs: readonly MovedRun[];
  /** Of file data: owners that the records name. */
  readonly owners: readonly SharedOwner[];
  /** Of a long attribute value: the keys of the items that records name. */
  readonly attributes: readonly Key[];
  /** Some snapshot's tree has an item about its owners. */
  readonly isShared: boolean;
  /** The active tree referred to it. */
  readonly isActive: boolean;
  /** When its data was first written, seconds since 1970, as far as is known. */
  readonly writtenSeconds: number;
}

export interface Key {
  readonly high: number;
  readonly low: number;
}

interface Put extends Key {
  readonly value: Uint8Array;
}

/** Pieces of one block that one tree may have, more than which nobody goes through in one step. */
export const MAX_PIECES = 4096;

/** Moved blocks by the address where they stood. */
export class AddressMap {
  private readonly segments = new Map<number, Map<number, MovedBlock>>();

  constructor(blocks: Iterable<MovedBlock>) {
    for (const moved of blocks) {
      const { segment, offset } = moved.block;
      const known = this.segments.get(segment) ?? new Map<number, MovedBlock>();
      this.segments.set(segment, known.set(offset, moved));
    }
  }

  *[Symbol.iterator](): Generator<MovedBlock> {
    for (const blocks of this.segments.values()) yield* blocks.values();
  }

  at(segment: number, offset: number): MovedBlock | undefined {
    return this.segments.get(segment)?.get(offset);
  }
}

/** The run that a piece lies in. Throws `SmfsError` BUSY when the piece is newer than the survey. */
function runOf({ runs, block }: MovedBlock, from: number, to: number): MovedRun {
  const run = runs.find((one) => one.from <= from && to <= one.to);
  if (run !== undefined) return run;
  const where = `segment ${block.segment} offset ${block.offset}`;
  throw new SmfsError("BUSY", `bytes ${from} to ${to} of the block at ${where} were not moved`);
}

/** An extent without sums stays so: none may become longer, or a node would not hold its items. */
export function movedExtent(extent: ExtentItem, moved: MovedBlock): ExtentItem {
  const { skip, length } = extent;
  const run = runOf(moved, skip, skip + length);
  const { sums, ...place } = run.place;
  const moving = { ...place, skip: skip - run.from, length };
  return extent.sums === undefined || sums === undefined ? moving : { ...moving, sums };
}

/** The item of a long attribute value, pointing to where that stands now. */
export function movedXattr(item: Uint8Array, moved: MovedBlock): Uint8Array {
  const { place } = runOf(moved, 0, moved.block.storedBytes);
  const value = item.slice();
  const view = viewOf(value);
  view.setUint32(ADDRESS_AT, place.segment, true);
  view.setUint32(ADDRESS_AT + 4, place.offset, true);
  return value;
}

/** The segment that the item of an extent, or of a long attribute value, points into; 0: none. */
export function segmentIn(item: Uint8Array): number {
  return item.length < ADDRESS_AT + 4 ? 0 : viewOf(item).getUint32(ADDRESS_AT, true);
}

/** What a tree's table of live bytes gains and loses. */
export class LiveChange {
  private readonly segments = new Map<number, { bytes: number; seconds: number }>();

  /** `seconds`: when the data was first written, since 1970. */
  add(segment: number, bytes: number, seconds: number): void {
    const entry = this.segments.get(segment);
    if (entry === undefined) this.segments.set(segment, { bytes, seconds });
    else {
      entry.bytes += bytes;
      entry.seconds = Math.max(entry.seconds, seconds);
    }
  }

  /** Pieces of one block move; what several of them cover counts once. */
  move(moved: MovedBlock, pieces: readonly BlockRange[]): void {
    const { block, writtenSeconds } = moved;
    for (const { from, to } of joined(pieces)) {
      for (const run of moved.runs) {
        const bytes = Math.min(to, run.to) - Math.max(from, run.from);
        if (bytes <= 0) continue;
        this.add(block.segment, -bytes, 0);
        this.add(run.place.segment, bytes, writtenSeconds);
      }
    }
  }

  merge(other: LiveChange): void {
    for (const [segment, { bytes, seconds }] of other.segments) this.add(segment, bytes, seconds);
  }

  applyTo(live: LiveBytes): void {
    for (const [segment, { bytes, seconds }] of this.segments) live.add(segment, bytes, seconds);
  }
}

/** Ranges in ascending order, those that touch or overlap made one. */
export function joined(ranges: readonly BlockRange[]): BlockRange[] {
  const made: { from: number; to: number }[] = [];
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = made.at(-1);
    if (last === undefined || from > last.to) made.push({ from, to });
    else last.to = Math.max(last.to, to);
  }
  return made;
}

/** What moving blocks changes in a tree: apart from shared blocks' items, values of items that stay. */
export interface TreeChanges {
  readonly puts: readonly Put[];
  readonly deletes: readonly Key[];
  readonly live: LiveChange;
}

/** Of the active tree, as it is now: what it has let go of since the survey is not there any more. */
export function changesOf(view: ItemView, map: AddressMap): TreeChanges {
  const changes = { puts: [] as Put[], deletes: [] as Key[], live: new LiveChange() };
  for (const moved of map) {
    if (!moved.isActive) continue;
    if (moved.attributes.length > 0) changeXattrs(view, moved, changes);
    else changeExtents(view, moved, changes);
  }
  return changes;
}

type Changes = { puts: Put[]; deletes: Key[]; live: LiveChange };

function changeXattrs(view: ItemView, moved: MovedBlock, { puts, live }: Changes): void {
  for (const { high, low } of moved.attributes) {
    const item = view.get(high, low);
    if (item === undefined || !pointsTo(item, moved)) continue;
    puts.push({ high, low, value: movedXattr(item, moved) });
    live.move(moved, [{ from: 0, to: moved.block.storedBytes }]);
  }
}

function pointsTo(item: Uint8Array, { block }: MovedBlock): boolean {
  const { value } = decodeXattr(item);
  if (value.kind === "inline") return false;
  return value.segment === block.segment && value.offset === block.offset;
}

function changeExtents(view: ItemView, moved: MovedBlock, changes: Changes): void {
  const { block } = moved;
  const listed = ownersOf(view, block.segment, block.offset);
  const pieces = piecesOf(view, block, listed.length > 0 ? listed : moved.owners);
  if (pieces === null) throw new SmfsError("BUSY", "a block with too many pieces");
  for (const { owner, extent } of pieces) {
    const high = keyOf(owner.inode, ITEM.extent);
    changes.puts.push({ high, low: extent.start, value: encodeExtent(movedExtent(extent, moved)) });
  }
  changes.live.move(moved, pieces);
  if (listed.length === 0) return;
  changes.deletes.push({ high: sharedKey(block.segment), low: block.offset });
  changes.puts.push(...ownerItems(moved, listed, pieces));
}

/** What owners have of a block; null: more pieces than one step goes through. */
export function piecesOf(
  view: ItemView,
  block: StoredBlock,
  owners: readonly SharedOwner[],
): OwnedPiece[] | null {
  const pieces: OwnedPiece[] = [];
  for (const owner of owners) {
    visitOwner(view, owner, { from: 0, to: block.storedBytes }, (extent) => {
      if (isPiece(extent, block, owner)) pieces.push({ ...rangeOf(extent), owner, extent });
      return pieces.length <= MAX_PIECES;
    });
  }
  return pieces.length > MAX_PIECES ? null : pieces;
}

/** A piece of a block, and whose it is. */
export interface OwnedPiece extends BlockRange {
  readonly owner: SharedOwner;
  readonly extent: PlacedExtent;
}

function rangeOf({ skip, length }: ExtentItem): BlockRange {
  return { from: skip, to: skip + length };
}

/** A piece of a snapshot's tree, and the block that it was a piece of. */
export interface KeptPiece extends Pick<OwnedPiece, "from" | "to" | "owner"> {
  readonly moved: MovedBlock;
}

/** What is left to change in a snapshot's tree whose extents point to the new places already. */
export function sharedChanges(
  view: ItemView,
  map: AddressMap,
  pieces: ReadonlyMap<MovedBlock, readonly KeptPiece[]>,
): TreeChanges {
  const puts: Put[] = [];
  const deletes: Key[] = [];
  for (const moved of map) {
    if (!moved.isShared) continue;
    const { segment, offset } = moved.block;
    const owners = ownersOf(view, segment, offset);
    if (owners.length === 0) continue;
    deletes.push({ high: sharedKey(segment), low: offset });
    puts.push(...ownerItems(moved, owners, pieces.get(moved) ?? []));
  }
  return { puts, deletes, live: new LiveChange() };
}

/** The items of the runs of a block that had one; `owners` in the order in which that listed them. */
function ownerItems(
  moved: MovedBlock,
  owners: readonly SharedOwner[],
  pieces: readonly Pick<OwnedPiece, "from" | "to" | "owner">[],
): Put[] {
  return moved.runs.flatMap((run) => {
    const inRun = pieces.filter(({ from, to }) => run.from <= from && to <= run.to);
    const own = owners.filter((owner) => inRun.some((piece) => isSameOwner(piece.owner, owner)));
    if (own.length === 0) return [];
    const shifted = own.map(({ inode, start }) => ({ inode, start: start + run.from }));
    const { segment, offset } = run.place;
    return [{ high: sharedKey(segment), low: offset, value: encodeOwners(shifted) }];
  });
}
