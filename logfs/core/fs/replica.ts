/**
 * Applies records of the log to a state, in order: opening does it behind the newest checkpoint, a
 * mirror's follower for as long as records come. A checkpoint record replaces the state by what it
 * says, dirty nodes and all, so memory stays as bounded as the writer's.
 *
 * Only metadata parts are needed. A record whose body is damaged is applied all the same: what is
 * lost is the data in it, which reading that file will tell, and not the volume.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import type { Address, LogReader, RawRecord } from "../log/api.ts";
import { KIND, RecordHeader } from "../log/format.ts";
import { readRecordHeader, recordBytes, recordParts } from "../log/record.ts";
import { SEGMENT_HEADER_BYTES } from "../log/segment.ts";
import type { NodeCache } from "./cache.ts";
import { KeptSnapshots } from "./kept.ts";
import { readLog } from "./reading-log.ts";
import type { ReachedCheckpoint } from "./reaper.ts";
import { Runner } from "./runner.ts";
import { type StoredBody, VolumeState } from "./state.ts";
import { decodeCheckpoint } from "./superblock.ts";
import { decodeUpdate } from "./update.ts";

/** One read of the log while catching up, bytes. */
const READ_BYTES = 2 ** 20;

export interface ReplicaEvents {
  /** Of each checkpoint before its state is seen, and of updates behind it that emptied a segment. */
  readonly onCheckpoint?: (reached: ReachedCheckpoint) => void;
  /** The state has become that of a snapshot. */
  readonly onRollback?: () => void;
}

export class Replica {
  /** null before the first checkpoint. */
  state: VolumeState | null = null;
  /** The state is that after this record. */
  appliedSequence: number;
  readonly runner: Runner;
  /** Update records applied since the checkpoint, and their bytes. */
  updates = 0;
  updateBytes = 0;
  /** Records applied without the body part they should have. */
  damagedBodies = 0;
  /** Where the next record stands, when that is known. */
  private next: Address | null;
  private readonly log: LogReader;
  private readonly cache: NodeCache;
  private readonly events: ReplicaEvents;

  /**
   * `from`: the first record to apply, a checkpoint or one before the first; `address`: where it
   * stands, when that is known.
   */
  constructor(
    log: LogReader,
    cache: NodeCache,
    from: number,
    address: Address | null,
    events: ReplicaEvents = {},
  ) {
    this.log = log;
    this.cache = cache;
    this.runner = new Runner(log, this.cache);
    this.appliedSequence = from - 1;
    this.next = address;
    this.events = events;
  }

  /**
   * Applies what the log has, until its end or until `wanted`, asked before each record, says no.
   * Rejects with the first failure.
   */
  async catchUp(wanted: (next: RawRecord) => boolean): Promise<void> {
    while (this.appliedSequence < this.log.head.sequence) {
      for (const record of await this.nextRecords()) {
        if (!wanted(record)) return;
        await this.apply(record);
      }
    }
  }

  private async nextRecords(): Promise<RawRecord[]> {
    const wanted = this.appliedSequence + 1;
    try {
      return await readRecords(this.log, wanted);
    } catch (error) {
      const damaged = error instanceof SmfsError && error.code === "DAMAGED";
      const record = damaged && this.next !== null ? await this.withoutBody(this.next) : null;
      if (record?.sequence !== wanted) throw error;
      this.damagedBodies++;
      return [record];
    }
  }

  /** Header and metadata part of the record at an address; null when they are damaged too. */
  private async withoutBody(address: Address): Promise<RawRecord | null> {
    const header = readRecordHeader(await readLog(this.log, address, RecordHeader.size), 0);
    const length = RecordHeader.size + header.metadataBytes;
    const bytes = await readLog(this.log, address, length);
    const { metadata } = recordParts(bytes, header);
    const whole = metadata.length === 0 || crc32c(metadata) === header.metadataChecksum;
    return whole ? { sequence: header.sequence, bytes } : null;
  }

  /** A record that the log has verified. Views see the state before it, or after it. */
  private async apply(record: RawRecord): Promise<void> {
    const header = readRecordHeader(record.bytes, 0);
    const length = recordBytes(header.metadataBytes, header.bodyBytes);
    const { metadata } = recordParts(record.bytes, header);
    if (header.kind === KIND.checkpoint) await this.switchTo(metadata, header);
    else if (header.kind === KIND.update) {
      const writtenSeconds = Math.floor(header.timeMicros / 1_000_000);
      await this.update(metadata, {
        segment: header.segment,
        bytes: header.bodyBytes,
        writtenSeconds,
      });
      this.updates++;
      this.updateBytes += length;
    }
    this.appliedSequence = record.sequence;
    const { segment, offset } = header;
    const sealed = header.kind === KIND.seal;
    this.next = sealed
      ? { segment: segment + 1, offset: SEGMENT_HEADER_BYTES }
      : { segment, offset: offset + length };
  }

  private async switchTo(metadata: Uint8Array, header: RecordHeader): Promise<void> {
    const checkpoint = decodeCheckpoint(metadata);
    const known = this.state?.kept ?? KeptSnapshots.NONE;
    const kept = await KeptSnapshots.load(this.log, checkpoint, known);
    const state = VolumeState.at(checkpoint, kept, this.cache);
    const { sequence, segment, offset } = header;
    state.checkpoint = { segment, offset };
    this.events.onCheckpoint?.({ sequence, segment, needed: state.needed });
    const before = this.state;
    this.cache.clear();
    this.state = state;
    if (before !== null && before.rollbacks !== state.rollbacks) this.events.onRollback?.();
    this.updates = 0;
    this.updateBytes = 0;
  }

  private async update(metadata: Uint8Array, body: StoredBody): Promise<void> {
    const { state } = this;
    if (state === null) throw new SmfsError("DAMAGED", "an update before the first checkpoint");
    const update = decodeUpdate(metadata, state.tree.maxValueBytes);
    await this.runner.run(() => {
      state.prepare(update.changes);
      state.apply(update, body);
    });
    if (!state.takeEmptied()) return;
    const { checkpointSegment: segment, needed } = state;
    this.events.onCheckpoint?.({ sequence: this.appliedSequence + 1, segment, needed });
  }
}

function readRecords(log: LogReader, from: number): Promise<RawRecord[]> {
  return new Promise((resolve, reject) => {
    log.readRecords(from, READ_BYTES, (error, records) => {
      if (error !== null) reject(error);
      else if (records.length === 0) reject(new SmfsError("NOT_FOUND", `record ${from} is gone`));
      else resolve(records);
    });
  });
}
