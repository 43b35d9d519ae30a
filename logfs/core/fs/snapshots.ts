/**
 * `Snapshots`: taking, removing and returning to snapshots of the volume that may write the log.
 * Each is one checkpoint (`checkpoint.ts`), so it has happened or has not, here and at every mirror.
 * Taking one costs the dirty nodes and the table of live bytes, nothing that grows with the files.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import type { CheckpointChange } from "./checkpoint.ts";
import { isSame, loadTable, loadTableBlock } from "./kept.ts";
import type { LiveBytes } from "./live-bytes.ts";
import { isSnapshotName, MAX_SNAPSHOTS, type Snapshot } from "./snapshot.ts";
import type { VolumeState } from "./state.ts";

/** The cleaner moves a snapshot seconds apart. */
const MAX_TRIES = 4;

export class Snapshots {
  private readonly log: Pick<LogReader, "read">;
  private readonly state: VolumeState;
  private readonly checkpoint: (change: CheckpointChange) => void;

  /** `checkpoint` writes one with a change; throws what the log throws, then nothing has changed. */
  constructor(
    log: Pick<LogReader, "read">,
    state: VolumeState,
    checkpoint: (change: CheckpointChange) => void,
  ) {
    this.log = log;
    this.state = state;
    this.checkpoint = checkpoint;
  }

  /** Throws `SmfsError` USAGE (not a name), EXISTS, NO_SPACE (too many), and what the log throws. */
  take(name: string): Snapshot {
    if (!isSnapshotName(name)) {
      throw new SmfsError("USAGE", `"${name}" cannot be a snapshot's name: ${NAME_RULE}`);
    }
    const { kept } = this.state;
    if (kept.named(name) !== undefined) {
      throw new SmfsError("EXISTS", `there is a snapshot ${name} already`);
    }
    const slot = kept.freeSlot;
    if (slot === undefined) {
      throw new SmfsError("NO_SPACE", `there are ${MAX_SNAPSHOTS} snapshots, which is the most`);
    }
    this.checkpoint({ kind: "take", slot, name });
    return this.require(name);
  }

  /** Throws `SmfsError` NOT_FOUND, and what the log throws. */
  remove(name: string): void {
    this.checkpoint({ kind: "remove", slot: this.require(name).slot });
  }

  /**
   * The active tree becomes what the snapshot's is; later snapshots stay. Nobody may go on with
   * handles or inodes of the tree before. Rejects with NOT_FOUND, DAMAGED, IO.
   */
  async rollBack(name: string): Promise<void> {
    const wanted = this.require(name);
    for (let triesLeft = MAX_TRIES - 1; ; triesLeft--) {
      const snapshot = this.require(name);
      if (!isSame(snapshot, wanted)) break;
      const table = await this.tableOf(snapshot);
      // Loading took time: the cleaner may have moved it.
      if (table !== null && this.state.kept.at(snapshot.slot)?.root === snapshot.root) {
        this.checkpoint({ kind: "rollBack", snapshot, table });
        return;
      }
      if (triesLeft === 0) break;
    }
    throw new SmfsError("BUSY", `snapshot ${name} changed meanwhile`);
  }

  /** null: it is not there any more, since the snapshot is not where it was. */
  private async tableOf(snapshot: Snapshot): Promise<LiveBytes | null> {
    try {
      return await loadTable(this.log, snapshot);
    } catch (error) {
      if (this.state.kept.at(snapshot.slot)?.table === snapshot.table) throw error;
      return null;
    }
  }

  /**
   * The next checkpoint writes the tables that stand in `segment` somewhere else, so that the
   * segment can be dropped. Rejects with DAMAGED, IO: then some of them stay.
   */
  async evacuate(segment: number): Promise<void> {
    for (const { slot, table } of this.state.kept.list) {
      if (table.segment !== segment) continue;
      const block = await loadTableBlock(this.log, table);
      if (this.state.kept.at(slot)?.table === table) this.state.movingTables.set(slot, block);
    }
  }

  /** Throws `SmfsError` NOT_FOUND. */
  require(name: string): Snapshot {
    const snapshot = this.state.kept.named(name);
    if (snapshot !== undefined) return snapshot;
    throw new SmfsError("NOT_FOUND", `there is no snapshot ${name}`);
  }
}

const NAME_RULE = "1 to 255 letters, digits and _ . : -, a letter or digit first";
