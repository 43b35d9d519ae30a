/** Making a volume in an empty log, and opening the one that a log holds. */
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader, LogWriter } from "../log/api.ts";
import { KIND, RecordHeader } from "../log/format.ts";
import { readRecordHeader } from "../log/record.ts";
import type { Transaction } from "./api.ts";
import { NodeCache } from "./cache.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { requireSegments } from "./needed-segments.ts";
import { readLog } from "./reading-log.ts";
import { Replica } from "./replica.ts";
import { NO_BODY, VolumeState } from "./state.ts";
import { TreeTransaction } from "./transaction.ts";
import { DEFAULT_LIMITS, TreeVolume, type VolumeEnvironment } from "./volume.ts";

export interface FormatOptions {
  /** 16 random bytes. */
  readonly volumeId: Uint8Array;
  /** Largest encoded size of a tree node; only tests have a reason to choose. */
  readonly nodeBytes?: number;
}

/**
 * Writes the first checkpoint of a new volume, with what `initialise` puts into it (the root
 * directory) already in its tree: no crash leaves a volume without. Throws what the log throws.
 */
export function formatVolume(
  log: LogWriter,
  environment: VolumeEnvironment,
  options: FormatOptions,
  initialise: (transaction: Transaction) => void,
): TreeVolume {
  const { volumeId, nodeBytes } = options;
  const identity = { volumeId, createdMicros: environment.clock.wallMicros() };
  const state = VolumeState.empty(identity, newCache(environment), nodeBytes);
  const transaction = new TreeTransaction(state.tree, state.counters.nextInode);
  initialise(transaction);
  if (transaction.bodyBytes > 0) throw new SmfsError("USAGE", "a new volume holds no file data");
  const update = transaction.prepare();
  if (update !== null) state.apply(update, NO_BODY);
  writeCheckpoint(log, state, identity.createdMicros);
  return new TreeVolume(log, state, environment, { records: 0, bytes: 0 });
}

/**
 * The volume of a log as of its newest record: the checkpoint at `checkpoint` (the newest one that
 * recovery found) and every record behind it. Rejects with DAMAGED, NEWER_VERSION, IO.
 */
export async function openVolume(
  log: LogWriter,
  checkpoint: Address,
  environment: VolumeEnvironment,
): Promise<TreeVolume> {
  const first = await checkpointSequence(log, checkpoint);
  const replica = new Replica(log, newCache(environment), first, checkpoint, {
    onCheckpoint: (reached) => environment.onCheckpoint?.(reached),
  });
  await replica.catchUp(() => true);
  const { state, updates: records, updateBytes: bytes } = replica;
  if (state === null) throw new SmfsError("DAMAGED", "the log ends before its checkpoint");
  requireSegments(log, state);
  return new TreeVolume(log, state, environment, { records, bytes });
}

/** Sequence of the checkpoint record at an address. Rejects with DAMAGED when there is none. */
export async function checkpointSequence(log: LogReader, address: Address): Promise<number> {
  const header = readRecordHeader(await readLog(log, address, RecordHeader.size), 0);
  if (header.kind === KIND.checkpoint) return header.sequence;
  const where = `segment ${address.segment} offset ${address.offset}`;
  throw new SmfsError("DAMAGED", `${where} has a record of kind ${header.kind}, not a checkpoint`);
}

function newCache(environment: VolumeEnvironment): NodeCache {
  return new NodeCache(environment.limits?.cacheBytes ?? DEFAULT_LIMITS.cacheBytes);
}
