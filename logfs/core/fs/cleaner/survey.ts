/**
 * What of a segment is still alive: its records name what was stored there, the active tree says
 * which of it is still referred to from where it was then.
 *
 * - A stored block that was never shared belongs to the file and offset that its record names.
 * - Shared blocks have items under their segment, whoever owns them now (`sharing.ts`).
 * - A tree node is the tree's own when the walk to its first key passes it (`Tree.touch`).
 * - The tables of snapshots are named by the snapshots.
 * - What snapshots refer to is asked of their trees, with the same candidates (`kept-survey.ts`).
 *
 * What a damaged record stored is not found, and so stays: its segment keeps live bytes, and is kept.
 */
import { SmfsError } from "../../../../lib/errors.ts";
import type { Address, LogReader, LogSegment } from "../../log/api.ts";
import { KIND } from "../../log/format.ts";
import { type ItemView, MAX_VALUE_BYTES } from "../api.ts";
import { type PlacedExtent, visitExtents } from "../extents.ts";
import { decodeMoved } from "../moved.ts";
import type { StoredBlock } from "../relocation.ts";
import {
  BLOCK_BYTES,
  decodeExtent,
  decodeXattr,
  inodeOf,
  ITEM,
  kindOf,
  LOW_END,
  sharedKey,
  sharedSegmentOf,
} from "../items.ts";
import { LeafItem, NodeHeader } from "../node.ts";
import { readNodeHead } from "../node-codec.ts";
import { ownersOf, visitOwner } from "../sharing.ts";
import { type Change, decodeUpdate } from "../update.ts";
import type { CleanableVolume } from "./api.ts";
import type { NodeReader } from "./forest.ts";
import { type KeptPart, KeptSurveyor, NOTHING_KEPT } from "./kept-survey.ts";
import { recordsOf, type SegmentRecord, SegmentWindow } from "./records.ts";

/** Something in a segment that is alive and must be moved. */
export type LivePiece =
  /** Bytes [start, start + length) of a file, `skip` bytes into a block that it does not share. */
  | (Placed & { readonly kind: "extent" } & Pick<PlacedExtent, "start" | "length" | "skip">)
  /** A block that other files own too. */
  | (Placed & { readonly kind: "shared" })
  /** A long value of an extended attribute; the block is the value. */
  | (Placed & { readonly kind: "xattr"; readonly low: number });

interface Placed {
  /** For the order: of a shared block one of its owners. */
  readonly inode: number;
  readonly block: StoredBlock;
  /** When it was first written, seconds since 1970, as far as is known. */
  readonly writtenSeconds: number;
}

export interface Survey {
  /** Of blocks that no snapshot refers to. */
  readonly pieces: readonly LivePiece[];
  readonly kept: KeptPart;
  /** Nodes that the next checkpoint moves. */
  readonly nodes: number;
  readonly nodeBytes: number;
  /** A record could not be read: something alive may not have been found. */
  readonly isDamaged: boolean;
}

/** Items asked for in one look into the tree: each may need a leaf of its own in memory. */
const LOOKUPS = 512;

/**
 * Surveys a sealed segment. `reader`: of snapshots' nodes. Rejects with what reading the log or the
 * trees rejects, but damage to records.
 */
export async function surveySegment(
  log: Pick<LogReader, "read">,
  volume: CleanableVolume,
  segment: LogSegment,
  reader: NodeReader,
): Promise<Survey> {
  const snapshots = volume.kept.naming(segment.segment);
  const roots = snapshots.map(({ root, height }) => ({ reference: root, level: height - 1 }));
  const isKept = roots.length > 0;
  const kept = isKept ? new KeptSurveyor(volume, reader, segment.segment, roots) : null;
  return new Surveyor(log, volume, segment, kept).run();
}

class Surveyor {
  private readonly pieces: LivePiece[] = [];
  private readonly shared = new Set<number>();
  private nodes = 0;
  private nodeBytes = 0;
  private isDamaged = false;
  private readonly volume: CleanableVolume;
  private readonly segment: LogSegment;
  /** null: no snapshot refers to the segment. */
  private readonly kept: KeptSurveyor | null;
  private readonly window: SegmentWindow;
  /** Nothing in the segment is younger, whatever its records say: moved data keeps its age. */
  private readonly youngestSeconds: number;

  constructor(
    log: Pick<LogReader, "read">,
    volume: CleanableVolume,
    segment: LogSegment,
    kept: KeptSurveyor | null,
  ) {
    this.volume = volume;
    this.segment = segment;
    this.kept = kept;
    this.window = new SegmentWindow(log, segment);
    this.youngestSeconds = volume.live.writtenSecondsOf(segment.segment);
  }

  async run(): Promise<Survey> {
    await this.findShared();
    await this.volume.moveTables(this.segment.segment);
    const records = recordsOf(this.window, this.segment);
    for (;;) {
      const { done, value } = await records.next();
      if (done === true) {
        if (!value) this.isDamaged = true;
        break;
      }
      if (value.kind === KIND.update || value.kind === KIND.moved) await this.stored(value);
      else if (value.kind === KIND.nodes || value.kind === KIND.keptNodes) await this.blocks(value);
    }
    return this.result();
  }

  private async result(): Promise<Survey> {
    const { kept, nodes, nodeBytes, isDamaged } = this;
    if (kept === null) {
      return { pieces: this.pieces, kept: NOTHING_KEPT, nodes, nodeBytes, isDamaged };
    }
    await kept.run();
    const pieces = await kept.claim(this.pieces);
    return { pieces, kept: kept.result(), nodes, nodeBytes, isDamaged };
  }

  private async findShared(): Promise<void> {
    const { segment } = this.segment;
    for (let from = 0; ; ) {
      const start = from;
      const found = await this.volume.view((view) => sharedBlocks(view, segment, start));
      for (const { inode, block } of found) {
        this.shared.add(block.offset);
        const writtenSeconds = this.youngestSeconds;
        this.pieces.push({ kind: "shared", inode, block, writtenSeconds });
      }
      const last = found.at(-1);
      if (last === undefined) return;
      from = last.block.offset + 1;
    }
  }

  private async stored(record: SegmentRecord): Promise<void> {
    const all = this.storedBy(record);
    if (all === null) {
      this.isDamaged = true;
      return;
    }
    const writtenSeconds = this.ageOf(record);
    this.kept?.noteStored(all, writtenSeconds);
    const stored = all.filter(({ block }) => !this.shared.has(block.offset));
    for (let from = 0; from < stored.length; from += LOOKUPS) {
      const some = stored.slice(from, from + LOOKUPS);
      const found = await this.volume.view((view) =>
        some.flatMap((one) => livePieces(view, one, writtenSeconds)),
      );
      this.pieces.push(...found);
    }
  }

  /** Blocks whose bytes are the record's own; null when it cannot be said. */
  private storedBy(record: SegmentRecord): Stored[] | null {
    const { metadata, bodyOffset, bodyBytes } = record;
    if (metadata === null) return null;
    try {
      const stored = new Map<string, Stored>();
      for (const one of this.namedBy(record, metadata.slice())) {
        if (one.block.segment !== this.segment.segment) continue;
        const { offset } = one.block;
        const isOwn = offset >= bodyOffset && offset < bodyOffset + bodyBytes;
        // A block that was moved in several pieces has several extents of one owner.
        if (isOwn) stored.set(`${offset} ${one.high} ${one.low}`, one);
      }
      return [...stored.values()];
    } catch (error) {
      if (error instanceof SmfsError) return null;
      throw error;
    }
  }

  private namedBy({ kind, bodyOffset }: SegmentRecord, metadata: Uint8Array): Stored[] {
    if (kind === KIND.moved) return movedBlocks(metadata, this.segment.segment, bodyOffset);
    const { changes } = decodeUpdate(metadata, MAX_VALUE_BYTES);
    return changes.flatMap((change) => storedBlock(change) ?? []);
  }

  private ageOf({ timeMicros }: SegmentRecord): number {
    const appended = Math.floor(timeMicros / 1_000_000);
    return this.youngestSeconds === 0 ? appended : Math.min(appended, this.youngestSeconds);
  }

  /** The blocks of a `nodes` record stand one behind the other; or they are tables. */
  private async blocks({ bodyOffset, bodyBytes }: SegmentRecord): Promise<void> {
    const { segment } = this.segment;
    for (let at = 0; at < bodyBytes; ) {
      const headBytes = Math.min(NodeHeader.size + LeafItem.size, bodyBytes - at);
      const head = readNodeHead(await this.window.at(bodyOffset + at, headBytes));
      if (head === null) return;
      this.kept?.noteNode(head);
      if (await this.volume.touch({ segment, offset: bodyOffset + at }, head)) {
        this.nodes++;
        this.nodeBytes += head.bytes;
      }
      at += head.bytes;
    }
  }
}

/** A block and where its record says that it belongs. */
export interface Stored {
  readonly kind: "extent" | "xattr";
  readonly high: number;
  /** Of an attribute its key's; of file data the offset at which the block's byte 0 stands or would. */
  readonly low: number;
  readonly block: StoredBlock;
}

/** As a `moved` record names them. */
function movedBlocks(metadata: Uint8Array, segment: number, bodyOffset: number): Stored[] {
  return decodeMoved(metadata).map((entry) => {
    const { high, low, storedBytes, checksum } = entry;
    const block = { segment, offset: bodyOffset + entry.bodyOffset, storedBytes, checksum };
    return { kind: kindOf(high) === ITEM.xattr ? "xattr" : "extent", high, low, block };
  });
}

/** null for items that do not refer to stored bytes. */
function storedBlock({ high, low, value }: Change): Stored | null {
  if (value === null || sharedSegmentOf(high) !== undefined) return null;
  if (kindOf(high) === ITEM.extent) {
    const { segment, offset, storedBytes, checksum, skip } = decodeExtent(value);
    const block = { segment, offset, storedBytes, checksum };
    return { kind: "extent", high, low: low - skip, block };
  }
  if (kindOf(high) !== ITEM.xattr) return null;
  const block = xattrBlock(value);
  return block === null ? null : { kind: "xattr", high, low, block };
}

/** Where the value of an extended attribute stands; null when that is in the item. */
export function xattrBlock(item: Uint8Array): StoredBlock | null {
  const { value } = decodeXattr(item);
  if (value.kind === "inline") return null;
  const { segment, offset, length: storedBytes, checksum } = value;
  return { segment, offset, storedBytes, checksum };
}

export function isSameBlock(a: StoredBlock, b: StoredBlock): boolean {
  return a.segment === b.segment && a.offset === b.offset;
}

function livePieces(view: ItemView, stored: Stored, writtenSeconds: number): LivePiece[] {
  const { high, low, block } = stored;
  const inode = inodeOf(high);
  if (stored.kind === "xattr") {
    const item = view.get(high, low);
    const now = item === undefined ? null : xattrBlock(item);
    const isLive = now !== null && isSameBlock(now, block);
    return isLive ? [{ kind: "xattr", inode, low, block, writtenSeconds }] : [];
  }
  const pieces: LivePiece[] = [];
  visitExtents(view, inode, Math.max(0, low), low + block.storedBytes, (extent) => {
    const { start, length, skip } = extent;
    if (isSameBlock(extent, block) && start - skip === low) {
      pieces.push({ kind: "extent", inode, start, length, skip, block, writtenSeconds });
    }
    return true;
  });
  return pieces;
}

interface OwnedBlock {
  /** Its first owner. */
  readonly inode: number;
  readonly block: StoredBlock;
}

/** Up to `LOOKUPS` shared blocks of a segment, from an offset on. */
function sharedBlocks(view: ItemView, segment: number, from: number): OwnedBlock[] {
  const offsets: number[] = [];
  view.scan(sharedKey(segment), from, LOW_END, (low) => offsets.push(low) < LOOKUPS);
  return offsets.flatMap((offset) => ownedBlock(view, { segment, offset }) ?? []);
}

function ownedBlock(view: ItemView, { segment, offset }: Address): OwnedBlock | undefined {
  const [owner] = ownersOf(view, segment, offset);
  if (owner === undefined) return undefined;
  const found: OwnedBlock[] = [];
  visitOwner(view, owner, { from: 0, to: BLOCK_BYTES }, (extent) => {
    if (extent.segment !== segment || extent.offset !== offset) return true;
    found.push({ inode: owner.inode, block: extent });
    return false;
  });
  return found[0];
}
