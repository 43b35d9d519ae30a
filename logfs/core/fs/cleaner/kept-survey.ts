/**
 * What of a segment snapshots refer to: as in `survey.ts` records name candidates and trees decide,
 * here all trees whose tables name the segment, walked as one (`forest.ts`).
 *
 * 1. The items of shared blocks stand under the segment: they name owners.
 * 2. Candidates and owners are looked for; every leaf on the way is looked through. A block that is
 *    found has the ranges that some tree refers to.
 * 3. What the active tree has of such a block belongs to it too: it is moved with it, not alone.
 */
import {
  BLOCK_BYTES,
  decodeExtent,
  decodeOwners,
  decodeXattr,
  inodeOf,
  ITEM,
  keyOf,
  kindOf,
  LOW_END,
  type SharedOwner,
  sharedKey,
  sharedSegmentOf,
} from "../items.ts";
import { addressKey } from "../address-key.ts";
import type { Node, NodeReference } from "../node.ts";
import {
  joined,
  type Key,
  MAX_PIECES,
  piecesOf,
  segmentIn,
  type StoredBlock,
} from "../relocation.ts";
import { type BlockRange, isSameOwner, ownersOf } from "../sharing.ts";
import type { CleanableVolume } from "./api.ts";
import { ForestWalk, type NodeReader, type Root } from "./forest.ts";
import { type KeySpan, KeySpans } from "./key-ranges.ts";
import type { LivePiece, Stored } from "./survey.ts";

/** A stored block that some snapshot refers to. */
export interface KeptBlock {
  readonly block: StoredBlock;
  /** Ascending: what some tree refers to, the active one among them. */
  readonly ranges: readonly BlockRange[];
  /** Where the snapshots' trees have it. */
  readonly keys: readonly Key[];
  /** Of file data: owners that its record is to name. */
  readonly owners: readonly SharedOwner[];
  /** Of a long attribute value: the keys that refer to it. */
  readonly attributes: readonly Key[];
  readonly isShared: boolean;
  /** Items of the active tree that refer to it. */
  readonly activeItems: number;
  readonly writtenSeconds: number;
}

export interface KeptPart {
  readonly blocks: readonly KeptBlock[];
  /** First keys of nodes of the snapshots' trees that stand in the segment. */
  readonly nodes: readonly Key[];
  /** Bytes of those nodes. */
  readonly nodeBytes: number;
  /** Bytes of nodes elsewhere that say where the blocks stand, and so change. */
  readonly changedNodeBytes: number;
}

export const NOTHING_KEPT: KeptPart = { blocks: [], nodes: [], nodeBytes: 0, changedNodeBytes: 0 };

/** A block of which more ranges are alive is moved with what is dead between them. */
const MAX_RANGES = 32;

interface Found {
  readonly block: StoredBlock;
  ranges: BlockRange[];
  readonly keys: Map<string, Key>;
  readonly owners: Map<string, SharedOwner>;
  readonly attributes: Map<string, Key>;
  isShared: boolean;
  activeItems: number;
  /** It has too many pieces to be moved in one step. */
  isTooMuch: boolean;
}

export class KeptSurveyor {
  private readonly volume: Pick<CleanableVolume, "view">;
  private readonly reader: NodeReader;
  private readonly segment: number;
  private readonly roots: readonly Root[];
  /** Owners that records name, by the block's offset. */
  private readonly named = new Map<number, SharedOwner[]>();
  private readonly spans: KeySpan[] = [];
  private readonly ages = new Map<number, number>();
  private readonly shared = new Map<number, Map<string, SharedOwner>>();
  private readonly found = new Map<number, Found>();
  private readonly nodes = new Map<string, { key: Key; bytes: number }>();
  private readonly changed = new Map<string, number>();

  constructor(
    volume: Pick<CleanableVolume, "view">,
    reader: NodeReader,
    segment: number,
    roots: readonly Root[],
  ) {
    this.volume = volume;
    this.reader = reader;
    this.segment = segment;
    this.roots = roots;
  }

  /** Blocks that a record of the segment stored. */
  noteStored(stored: readonly Stored[], writtenSeconds: number): void {
    for (const { kind, high, low, block } of stored) {
      if (kind === "extent") this.noteNamed(block.offset, { inode: inodeOf(high), start: low });
      this.ages.set(block.offset, writtenSeconds);
      const to = kind === "xattr" ? low + 1 : low + block.storedBytes;
      this.spans.push({ high, from: Math.max(0, low), to });
    }
  }

  private noteNamed(offset: number, owner: SharedOwner): void {
    const named = this.named.get(offset);
    if (named === undefined) this.named.set(offset, [owner]);
    else named.push(owner);
  }

  /** A node that stands in the segment. */
  noteNode({ high, low }: Key): void {
    this.spans.push({ high, from: low, to: low + 1 });
  }

  /** Rejects with what reading the log rejects. */
  async run(): Promise<void> {
    await this.walk([{ high: sharedKey(this.segment), from: 0, to: LOW_END }]);
    for (const owners of this.shared.values()) {
      for (const { inode, start } of owners.values()) {
        const [from, to] = [Math.max(0, start), start + BLOCK_BYTES];
        this.spans.push({ high: keyOf(inode, ITEM.extent), from, to });
      }
    }
    await this.walk(this.spans);
    for (const [offset, found] of this.found) found.isShared = this.shared.has(offset);
  }

  /** Takes the active tree's pieces of blocks that are kept; gives the others. */
  async claim(pieces: readonly LivePiece[]): Promise<LivePiece[]> {
    const others: LivePiece[] = [];
    for (const piece of pieces) {
      const found = this.found.get(piece.block.offset);
      if (found === undefined) others.push(piece);
      else await this.add(found, piece);
    }
    return others;
  }

  result(): KeptPart {
    const blocks = [...this.found.values()].filter(({ isTooMuch }) => !isTooMuch);
    let nodeBytes = 0;
    for (const { bytes } of this.nodes.values()) nodeBytes += bytes;
    let changedNodeBytes = 0;
    for (const bytes of this.changed.values()) changedNodeBytes += bytes;
    return {
      blocks: blocks.map((found) => this.blockOf(found)),
      nodes: [...this.nodes.values()].map(({ key }) => key),
      nodeBytes,
      changedNodeBytes,
    };
  }

  private async walk(spans: readonly KeySpan[]): Promise<void> {
    const sought = new KeySpans(spans);
    if (sought.isEmpty) return;
    const walk = new ForestWalk<true>(this.reader, sought, (node, reference) => {
      this.look(node, reference);
      return true;
    });
    for (const root of this.roots) await walk.walk(root);
  }

  private look(node: Node, reference: NodeReference): void {
    const address = addressKey(reference);
    if (reference.segment === this.segment) {
      const key = { high: node.highs[0] ?? 0, low: node.lows[0] ?? 0 };
      this.nodes.set(address, { key, bytes: node.bytes });
    }
    if (node.level > 0) return;
    let refers = false;
    for (const [i, high] of node.highs.entries()) {
      if (this.lookAt(high, node.lows[i] as number, node.valueAt(i))) refers = true;
    }
    if (refers && reference.segment !== this.segment) this.changed.set(address, node.bytes);
  }

  /** Whether an item refers to the segment. */
  private lookAt(high: number, low: number, value: Uint8Array): boolean {
    if (sharedSegmentOf(high) === this.segment) {
      const owners = this.shared.get(low) ?? new Map<string, SharedOwner>();
      for (const owner of decodeOwners(value)) owners.set(`${owner.inode}/${owner.start}`, owner);
      this.shared.set(low, owners);
      return true;
    }
    if (kindOf(high) === ITEM.extent) return this.lookAtExtent(high, low, value);
    return kindOf(high) === ITEM.xattr && this.lookAtXattr(high, low, value);
  }

  private lookAtExtent(high: number, low: number, value: Uint8Array): boolean {
    if (segmentIn(value) !== this.segment) return false;
    const extent = decodeExtent(value);
    const { skip, length } = extent;
    const found = this.foundAt(extent);
    found.ranges.push({ from: skip, to: skip + length });
    noteOwner(found, { inode: inodeOf(high), start: low - skip });
    found.keys.set(`${high}/${low}`, { high, low });
    tidy(found);
    return true;
  }

  private lookAtXattr(high: number, low: number, item: Uint8Array): boolean {
    if (segmentIn(item) !== this.segment) return false;
    const { value } = decodeXattr(item);
    if (value.kind === "inline" || value.segment !== this.segment) return false;
    const { segment, offset, checksum, length: storedBytes } = value;
    const found = this.foundAt({ segment, offset, checksum, storedBytes });
    noteAttribute(found, { high, low });
    found.keys.set(`${high}/${low}`, { high, low });
    return true;
  }

  private foundAt({ segment, offset, storedBytes, checksum }: StoredBlock): Found {
    let found = this.found.get(offset);
    if (found === undefined) {
      found = {
        block: { segment, offset, storedBytes, checksum },
        ranges: [],
        keys: new Map(),
        owners: new Map(),
        attributes: new Map(),
        isShared: false,
        activeItems: 0,
        isTooMuch: false,
      };
      this.found.set(offset, found);
    }
    return found;
  }

  private async add(found: Found, piece: LivePiece): Promise<void> {
    const { block, inode } = piece;
    found.activeItems++;
    if (piece.kind === "xattr") {
      noteAttribute(found, { high: keyOf(inode, ITEM.xattr), low: piece.low });
    } else if (piece.kind === "extent") {
      found.ranges.push({ from: piece.skip, to: piece.skip + piece.length });
      noteOwner(found, { inode, start: piece.start - piece.skip });
    } else {
      const pieces = await this.volume.view((view) =>
        piecesOf(view, block, ownersOf(view, block.segment, block.offset)),
      );
      if (pieces === null) found.isTooMuch = true;
      else found.activeItems += pieces.length;
      for (const { from, to } of pieces ?? []) found.ranges.push({ from, to });
    }
    tidy(found);
  }

  private blockOf(found: Found): KeptBlock {
    const { block, isShared, activeItems } = found;
    const ranges = found.attributes.size > 0 ? [wholeOf(block)] : rangesOf(found);
    return {
      block,
      ranges,
      keys: [...found.keys.values()],
      owners: this.namedOwners(found),
      attributes: [...found.attributes.values()],
      isShared,
      activeItems,
      writtenSeconds: this.ages.get(block.offset) ?? 0,
    };
  }

  /** Those that the record named and that a tree confirmed: of a tree without an item, the owner. */
  private namedOwners({ owners, block }: Found): SharedOwner[] {
    const all = [...owners.values()];
    const named = this.named.get(block.offset) ?? [];
    const confirmed = all.filter((owner) => named.some((one) => isSameOwner(one, owner)));
    return confirmed.length > 0 ? confirmed : all.slice(0, 1);
  }
}

function wholeOf({ storedBytes }: StoredBlock): BlockRange {
  return { from: 0, to: storedBytes };
}

function rangesOf(found: Found): BlockRange[] {
  const ranges = joined(found.ranges);
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (ranges.length <= MAX_RANGES || first === undefined || last === undefined) return ranges;
  return [{ from: first.from, to: last.to }];
}

function noteOwner({ owners }: Found, owner: SharedOwner): void {
  owners.set(`${owner.inode}/${owner.start}`, owner);
}

function noteAttribute({ attributes }: Found, key: Key): void {
  attributes.set(`${key.high}/${key.low}`, key);
}

/** Many trees have the same pieces: they are joined as they come. */
function tidy(found: Found): void {
  if (found.ranges.length > 2 * MAX_PIECES) found.ranges = joined(found.ranges);
  const items = Math.max(found.keys.size, found.activeItems);
  if (items > MAX_PIECES) found.isTooMuch = true;
}
