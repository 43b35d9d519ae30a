/**
 * The snapshots that a volume keeps, with the segments that each one needs. A value: a checkpoint
 * makes the next one, and it takes the place of this when its superblock is in the log.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import { decodeTable, LiveBytes, LiveSegment } from "./live-bytes.ts";
import type { NodeReference } from "./node.ts";
import { readLog } from "./reading-log.ts";
import { SegmentSet } from "./segment-set.ts";
import { SegmentTable } from "./segment-table.ts";
import { MAX_SNAPSHOTS, type Snapshot } from "./snapshot.ts";

export interface Kept {
  readonly snapshot: Snapshot;
  readonly table: SegmentTable;
}

export class KeptSnapshots {
  static readonly NONE = new KeptSnapshots([], 0);
  /** Slot that was given last. */
  readonly lastSlot: number;
  /** Segments that some snapshot needs: not dropped. */
  readonly pinned: SegmentSet;
  /** As far as that is known: the table of a snapshot may be unreadable. */
  readonly surelyPinned: SegmentSet;
  /** Those that a snapshot may need whose table is unreadable: nobody can move what is in them. */
  readonly unknown: SegmentSet;
  private most: LiveBytes | null = null;
  private readonly slots = new Map<number, Kept>();

  /** `kept` is in ascending order of slots. */
  private constructor(kept: readonly Kept[], lastSlot: number) {
    this.lastSlot = lastSlot;
    for (const one of kept) this.slots.set(one.snapshot.slot, one);
    const sets = kept.map(({ table }) => table.segments);
    this.pinned = SegmentSet.union(sets);
    this.surelyPinned = SegmentSet.union(sets.filter(({ kind }) => kind === "exact"));
    this.unknown = SegmentSet.union(sets.filter(({ kind }) => kind === "guess"));
  }

  /** As a superblock lists them. What `known` has of them already is not read again. */
  static async load(
    log: Pick<LogReader, "read">,
    { snapshots, lastSlot }: { readonly snapshots: readonly Snapshot[]; readonly lastSlot: number },
    known: KeptSnapshots,
  ): Promise<KeptSnapshots> {
    if (snapshots.length === 0 && lastSlot === 0) return KeptSnapshots.NONE;
    const kept: Kept[] = [];
    for (const snapshot of snapshots) {
      const table = known.tableOf(snapshot) ?? (await loadSegments(log, snapshot));
      kept.push({ snapshot, table });
    }
    return new KeptSnapshots(kept, lastSlot);
  }

  /** In ascending order of slots. */
  get list(): Snapshot[] {
    return [...this.slots.values()].map(({ snapshot }) => snapshot);
  }

  get count(): number {
    return this.slots.size;
  }

  at(slot: number): Snapshot | undefined {
    return this.slots.get(slot)?.snapshot;
  }

  named(name: string): Snapshot | undefined {
    return this.list.find((snapshot) => snapshot.name === name);
  }

  /** The snapshot as it is now; undefined when it is not kept any more. */
  current(snapshot: Snapshot): Snapshot | undefined {
    const now = this.at(snapshot.slot);
    return now !== undefined && isSame(now, snapshot) ? now : undefined;
  }

  /** Those that refer to something in a segment. */
  naming(segment: number): Snapshot[] {
    const naming = [...this.slots.values()].filter(({ table }) => table.segments.has(segment));
    return naming.map(({ snapshot }) => snapshot);
  }

  /**
   * Bytes of a segment that one snapshot refers to, of the one that refers to most. All of them
   * together refer to little more: a tree only ever lets go of bytes in a segment that is sealed.
   */
  mostOf(segment: number): number {
    return this.mostLive.of(segment);
  }

  /** When the youngest data of a segment was written, seconds since 1970; 0 when nothing is known. */
  writtenSecondsOf(segment: number): number {
    return this.mostLive.writtenSecondsOf(segment);
  }

  private get mostLive(): LiveBytes {
    this.most ??= mostIn([...this.slots.values()]);
    return this.most;
  }

  /** Of all their tables, as they stand in the log. */
  get tableBytes(): number {
    return this.list.reduce((sum, { table }) => sum + table.length, 0);
  }

  /** undefined when it is not kept here, or was moved. */
  private tableOf(snapshot: Snapshot): SegmentTable | undefined {
    const kept = this.slots.get(snapshot.slot);
    if (kept === undefined || !isSame(kept.snapshot, snapshot)) return undefined;
    const [before, now] = [kept.snapshot.root, snapshot.root];
    const isThere = before.segment === now.segment && before.offset === now.offset;
    return isThere ? kept.table : undefined;
  }

  /** The slot of the next snapshot; undefined when all are taken. */
  get freeSlot(): number | undefined {
    for (let step = 0; step < MAX_SNAPSHOTS; step++) {
      const slot = ((this.lastSlot + step) % MAX_SNAPSHOTS) + 1;
      if (!this.slots.has(slot)) return slot;
    }
    return undefined;
  }

  /** `snapshot` has a free slot. */
  with(snapshot: Snapshot, live: LiveBytes): KeptSnapshots {
    const kept = [...this.slots.values(), { snapshot, table: SegmentTable.of(live) }];
    const ordered = kept.toSorted((a, b) => a.snapshot.slot - b.snapshot.slot);
    return new KeptSnapshots(ordered, snapshot.slot);
  }

  without(slot: number): KeptSnapshots {
    const kept = [...this.slots.values()].filter(({ snapshot }) => snapshot.slot !== slot);
    return new KeptSnapshots(kept, this.lastSlot);
  }

  /** The tables of some slots stand somewhere else. */
  withTables(moved: ReadonlyMap<number, NodeReference>): KeptSnapshots {
    if (moved.size === 0) return this;
    const kept = [...this.slots.values()].map(({ snapshot, table }) => {
      const block = moved.get(snapshot.slot) ?? snapshot.table;
      return { snapshot: { ...snapshot, table: block }, table };
    });
    return new KeptSnapshots(kept, this.lastSlot);
  }

  /** The trees of some slots, and so their tables, stand somewhere else. */
  relocated(moved: ReadonlyMap<number, Kept>): KeptSnapshots {
    const kept = [...this.slots.values()].map((one) => moved.get(one.snapshot.slot) ?? one);
    return new KeptSnapshots(kept, this.lastSlot);
  }
}

/** The same snapshot, perhaps with its table or its tree in another place. */
export function isSame(a: Snapshot, b: Snapshot): boolean {
  return a.slot === b.slot && a.sequence === b.sequence && a.createdMicros === b.createdMicros;
}

/** The table of live bytes of a snapshot's tree. Rejects with what the log rejects, DAMAGED. */
export async function loadTable(
  log: Pick<LogReader, "read">,
  { table }: Snapshot,
): Promise<LiveBytes> {
  const block = await loadTableBlock(log, table);
  return decodeTable(viewOf(block), 0, block.length / LiveSegment.size);
}

/** The same as bytes. */
export async function loadTableBlock(
  log: Pick<LogReader, "read">,
  table: NodeReference,
): Promise<Uint8Array> {
  const block = await readLog(log, table, table.length);
  if (crc32c(block) === table.checksum) return block;
  const where = `segment ${table.segment} offset ${table.offset}`;
  throw new SmfsError("DAMAGED", `a snapshot's table at ${where}: checksum differs`);
}

function mostIn(kept: readonly Kept[]): LiveBytes {
  const most = new LiveBytes();
  for (const { table } of kept) {
    for (const { segment, bytes, writtenSeconds } of table) {
      most.add(segment, Math.max(0, bytes - most.of(segment)), writtenSeconds);
    }
  }
  return most;
}

/** When its table cannot be read, a snapshot may need everything that was there when it was taken. */
async function loadSegments(
  log: Pick<LogReader, "read">,
  snapshot: Snapshot,
): Promise<SegmentTable> {
  try {
    return SegmentTable.of(await loadTable(log, snapshot));
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code === undefined) throw error;
    return SegmentTable.unknown(Math.max(snapshot.root.segment, snapshot.table.segment));
  }
}
