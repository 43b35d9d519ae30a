/**
 * What snapshots cost. A tree only lets go of bytes in segments that are sealed, so for such a
 * segment the tables of later trees are subsets of the earlier ones', and what no other table
 * covers is a snapshot's alone. For a segment that was being written to when snapshots were taken,
 * the number is the least that it may be; for one with blocks that were moved for several snapshots,
 * which have less of an order, it is an estimate.
 */
import { messageOf } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import { loadTable } from "./kept.ts";
import { LiveBytes } from "./live-bytes.ts";
import type { Snapshot } from "./snapshot.ts";
import type { VolumeState } from "./state.ts";

export interface SnapshotInfo {
  readonly name: string;
  readonly createdMicros: number;
  /** Its state is that after this record. */
  readonly sequence: number;
  readonly inodes: number;
  /** Bytes of data that its files hold. */
  readonly dataBytes: number;
  /** Bytes of the log that it refers to. */
  readonly referencedBytes: number;
  /** Of these, what nothing else refers to, about; null when its table is damaged. */
  readonly uniqueBytes: number | null;
  /** Why not all is known; null: nothing is wrong. */
  readonly damage: string | null;
}

/** The cleaner moves tables seconds apart. */
const MAX_TRIES = 4;

/** In the order in which they were taken. Rejects with what the log rejects that is no damage. */
export async function describeSnapshots(
  log: Pick<LogReader, "read">,
  state: Pick<VolumeState, "kept" | "live">,
): Promise<SnapshotInfo[]> {
  for (let triesLeft = MAX_TRIES - 1; ; triesLeft--) {
    const { kept } = state;
    const infos = await describe(log, state);
    if (state.kept === kept || triesLeft === 0) return infos;
  }
}

async function describe(
  log: Pick<LogReader, "read">,
  { kept, live }: Pick<VolumeState, "kept" | "live">,
): Promise<SnapshotInfo[]> {
  const { list } = kept;
  const most = new Largest();
  most.note(0, activeTable(list, live));
  const tables = new Map<number, LiveBytes | Error>();
  for (const snapshot of list) {
    const table = await tableOf(log, snapshot);
    tables.set(snapshot.slot, table);
    if (table instanceof LiveBytes) most.note(snapshot.slot, table);
  }
  const infos = list.map((snapshot) => infoOf(snapshot, tables.get(snapshot.slot), most));
  return infos.toSorted((a, b) => a.sequence - b.sequence);
}

/** Without the tables' own blocks. */
function activeTable(list: readonly Snapshot[], live: LiveBytes): LiveBytes {
  const active = live.copy();
  for (const { table } of list) active.add(table.segment, -table.length);
  return active;
}

async function tableOf(
  log: Pick<LogReader, "read">,
  snapshot: Snapshot,
): Promise<LiveBytes | Error> {
  try {
    return await loadTable(log, snapshot);
  } catch (error) {
    if (error instanceof Error && "code" in error) return error;
    throw error;
  }
}

function infoOf(snapshot: Snapshot, table: LiveBytes | Error | undefined, most: Largest) {
  const { name, createdMicros, sequence, inodes, dataBytes, referencedBytes, slot } = snapshot;
  const uniqueBytes = table instanceof LiveBytes ? most.uniqueTo(slot, table) : null;
  const damage = table instanceof Error ? messageOf(table) : null;
  const counts = { inodes, dataBytes, referencedBytes, uniqueBytes };
  return { name, createdMicros, sequence, ...counts, damage };
}

interface Top {
  bytes: number;
  owner: number;
  /** The most of any other table. */
  second: number;
}

/** The two largest numbers of each segment, over all tables. */
class Largest {
  private readonly tops = new Map<number, Top>();

  note(owner: number, table: LiveBytes): void {
    for (const { segment, bytes } of table.entries) {
      const top = this.tops.get(segment);
      if (top === undefined) this.tops.set(segment, { bytes, owner, second: 0 });
      else if (bytes > top.bytes) {
        this.tops.set(segment, { bytes, owner, second: top.bytes });
      } else top.second = Math.max(top.second, bytes);
    }
  }

  uniqueTo(owner: number, table: LiveBytes): number {
    let unique = 0;
    for (const { segment } of table.entries) {
      const top = this.tops.get(segment);
      if (top?.owner === owner) unique += top.bytes - top.second;
    }
    return unique;
  }
}
