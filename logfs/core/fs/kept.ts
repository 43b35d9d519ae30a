/**
 * The snapshots that a volume keeps, with the segments that each one needs. A value: a checkpoint
 * makes the next one, and it takes the place of this when its superblock is in the log.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import { decodeTable, type LiveBytes, LiveSegment } from "./live-bytes.ts";
import type { NodeReference } from "./node.ts";
import { readLog } from "./reading-log.ts";
import { SegmentSet } from "./segment-set.ts";
import { MAX_SNAPSHOTS, type Snapshot } from "./snapshot.ts";

interface Kept {
  readonly snapshot: Snapshot;
  /** Those that its table names. */
  readonly segments: SegmentSet;
}

export class KeptSnapshots {
  static readonly NONE = new KeptSnapshots([], 0);
  /** Slot that was given last. */
  readonly lastSlot: number;
  /** Segments that some snapshot needs: neither cleaned nor dropped. */
  readonly pinned: SegmentSet;
  /** As far as that is known: the table of a snapshot may be unreadable. */
  readonly surelyPinned: SegmentSet;
  private readonly slots = new Map<number, Kept>();

  /** `kept` is in ascending order of slots. */
  private constructor(kept: readonly Kept[], lastSlot: number) {
    this.lastSlot = lastSlot;
    for (const one of kept) this.slots.set(one.snapshot.slot, one);
    const sets = kept.map(({ segments }) => segments);
    this.pinned = SegmentSet.union(sets);
    this.surelyPinned = SegmentSet.union(sets.filter(({ kind }) => kind === "exact"));
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
      const segments = known.segmentsOf(snapshot) ?? (await loadSegments(log, snapshot));
      kept.push({ snapshot, segments });
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

  /** undefined when it is not kept here. */
  segmentsOf(snapshot: Snapshot): SegmentSet | undefined {
    const kept = this.slots.get(snapshot.slot);
    return kept !== undefined && isSame(kept.snapshot, snapshot) ? kept.segments : undefined;
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
  with(snapshot: Snapshot, table: LiveBytes): KeptSnapshots {
    const segments = segmentsIn(table);
    const kept = [...this.slots.values(), { snapshot, segments }];
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
    const kept = [...this.slots.values()].map(({ snapshot, segments }) => {
      const table = moved.get(snapshot.slot) ?? snapshot.table;
      return { snapshot: { ...snapshot, table }, segments };
    });
    return new KeptSnapshots(kept, this.lastSlot);
  }
}

/** The same snapshot, perhaps with its table in another place. */
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

function segmentsIn(table: LiveBytes): SegmentSet {
  return SegmentSet.of(table.entries.map(({ segment }) => segment));
}

/** When its table cannot be read, a snapshot may need everything that was there when it was taken. */
async function loadSegments(log: Pick<LogReader, "read">, snapshot: Snapshot): Promise<SegmentSet> {
  try {
    return segmentsIn(await loadTable(log, snapshot));
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code === undefined) throw error;
    return SegmentSet.upTo(Math.max(snapshot.root.segment, snapshot.table.segment));
  }
}
