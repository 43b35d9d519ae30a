/**
 * A fork: a volume of its own that begins with the tree of another one's snapshot (ARCHITECTURE,
 * "Snapshots"). Its log holds the snapshot's segments already; all that is written is a superblock
 * with the snapshot's root. Nothing else is shared: not the snapshots, not the quota.
 */
import type { Clock } from "../../../lib/ports.ts";
import type { Address, LogReader, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { readRecord, recordParts } from "../log/record.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { NodeCache } from "./cache.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { KeptSnapshots, loadTable } from "./kept.ts";
import type { LiveBytes } from "./live-bytes.ts";
import type { Snapshot } from "./snapshot.ts";
import { VolumeState } from "./state.ts";
import { type Checkpoint, decodeCheckpoint, NO_QUOTA } from "./superblock.ts";

export interface ForkOrigin {
  readonly snapshot: Snapshot;
  /** Of the snapshot's tree: the segments that the fork needs. */
  readonly table: LiveBytes;
  readonly nodeBytes: number;
}

/** Rejects with `SmfsError` NOT_FOUND (no such snapshot), DAMAGED, IO. */
export async function findOrigin(
  log: LogReader,
  checkpoint: Address,
  name: string,
): Promise<ForkOrigin> {
  const { snapshots, nodeBytes } = await readCheckpoint(log, checkpoint);
  const snapshot = snapshots.find((one) => one.name === name);
  if (snapshot === undefined) throw new SmfsError("NOT_FOUND", `there is no snapshot ${name}`);
  return { snapshot, table: await loadTable(log, snapshot), nodeBytes };
}

function readCheckpoint(log: LogReader, at: Address): Promise<Checkpoint> {
  return new Promise((resolve, reject) => {
    log.readRecordsAt(at, 1, (error, [record]) => {
      if (error !== null) return reject(error);
      const header = record === undefined ? null : readRecord(record.bytes);
      if (record === undefined || header?.kind !== KIND.checkpoint) {
        const where = `segment ${at.segment} offset ${at.offset}`;
        return reject(new SmfsError("DAMAGED", `${where} has no checkpoint`));
      }
      resolve(decodeCheckpoint(recordParts(record.bytes, header).metadata));
    });
  });
}

/** Writes the fork's first checkpoint. `volumeId`: 16 random bytes. Throws what the log throws. */
export function formatFork(
  log: LogWriter,
  { snapshot, table, nodeBytes }: ForkOrigin,
  clock: Pick<Clock, "wallMicros">,
  volumeId: Uint8Array,
): void {
  const { height, root, nextInode, inodes, dataBytes } = snapshot;
  const createdMicros = clock.wallMicros();
  const tree = { height, root, nodeBytes, nextInode, inodes, dataBytes, live: table };
  const rest = {
    volumeId,
    createdMicros,
    quota: NO_QUOTA,
    snapshots: [],
    lastSlot: 0,
    rollbacks: 0,
    previous: null,
  };
  const state = VolumeState.at({ ...tree, ...rest }, KeptSnapshots.NONE, new NodeCache(0));
  writeCheckpoint(log, state, createdMicros);
}
