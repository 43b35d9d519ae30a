/**
 * Applies records of the log to a state, in order: opening does it behind the newest checkpoint, a
 * mirror's follower for as long as records come. A checkpoint record replaces the state by what it
 * says, dirty nodes and all, so memory stays as bounded as the writer's.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader, RawRecord } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { readRecordHeader, recordParts } from "../log/record.ts";
import type { NodeCache } from "./cache.ts";
import { Runner } from "./runner.ts";
import { VolumeState } from "./state.ts";
import { decodeCheckpoint } from "./superblock.ts";
import { decodeUpdate } from "./update.ts";

/** One read of the log while catching up, bytes. */
const READ_BYTES = 2 ** 20;

export class Replica {
  /** null before the first checkpoint. */
  state: VolumeState | null = null;
  /** The state is that after this record. */
  appliedSequence: number;
  readonly runner: Runner;
  /** Update records applied since the checkpoint, and their bytes. */
  updates = 0;
  updateBytes = 0;
  private readonly log: LogReader;
  private readonly cache: NodeCache;

  /** `after`: the record before the first to be applied, which is a checkpoint or comes before one. */
  constructor(log: LogReader, cache: NodeCache, after: number) {
    this.log = log;
    this.cache = cache;
    this.runner = new Runner(log, this.cache);
    this.appliedSequence = after;
  }

  /** Applies what the log has, until its end or until `wanted` says no. Rejects with the first failure. */
  async catchUp(wanted: () => boolean): Promise<void> {
    while (wanted() && this.appliedSequence < this.log.head.sequence) {
      for (const record of await readRecords(this.log, this.appliedSequence + 1)) {
        if (!wanted()) return;
        await this.apply(record);
      }
    }
  }

  /** A whole record that the log has verified. Views see the state before it, or after it. */
  private async apply(record: RawRecord): Promise<void> {
    const header = readRecordHeader(record.bytes, 0);
    const { metadata } = recordParts(record.bytes, header);
    if (header.kind === KIND.checkpoint) this.switchTo(metadata);
    else if (header.kind === KIND.update) {
      await this.update(metadata, header.segment, header.bodyBytes);
      this.updates++;
      this.updateBytes += record.bytes.length;
    }
    this.appliedSequence = record.sequence;
  }

  private switchTo(metadata: Uint8Array): void {
    const checkpoint = decodeCheckpoint(metadata);
    this.cache.clear();
    this.state = VolumeState.at(checkpoint, this.cache);
    this.updates = 0;
    this.updateBytes = 0;
  }

  private async update(metadata: Uint8Array, segment: number, bodyBytes: number): Promise<void> {
    const { state } = this;
    if (state === null) throw new SmfsError("DAMAGED", "an update before the first checkpoint");
    // A copy: the tree keeps the values, and must not keep the whole record for them.
    const update = decodeUpdate(metadata.slice(), state.tree.maxValueBytes);
    await this.runner.run(() => {
      state.prepare(update.changes);
      state.apply(update, segment, bodyBytes);
    });
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
