/**
 * Cutting records off the end of a log that is otherwise sound: a mirror's tail that did not become
 * history (ARCHITECTURE, "Epochs"). The records are handed to the caller before anything is removed;
 * segments go newest first, so that a crash in between leaves a shorter log and never a gap.
 */
import { viewOf } from "../../../lib/codec.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address, Done, RawRecord, SegmentStore } from "./api.ts";
import { KIND, RecordHeader } from "./format.ts";
import type { RecordReader } from "./reader.ts";
import { scanRecords } from "./scan.ts";
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from "./segment.ts";
import type { Writer } from "./writer.ts";

const HAND_OVER_BYTES = 2 ** 20;

export class Cut {
  private readonly store: SegmentStore;
  private readonly writer: Writer;
  private readonly reader: RecordReader;

  constructor(store: SegmentStore, writer: Writer, reader: RecordReader) {
    this.store = store;
    this.writer = writer;
    this.reader = reader;
  }

  /** Gives all records from `from` on to `setAside`, in order. */
  handOver(from: number, setAside: (records: RawRecord[]) => void, done: Done): void {
    if (from > this.writer.position.sequence) return done(null);
    this.reader.readRecords(from, HAND_OVER_BYTES, (error, records) => {
      if (error !== null) return done(error);
      try {
        setAside(records);
      } catch (refusal) {
        return done(refusal instanceof Error ? refusal : new Error(String(refusal)));
      }
      this.handOver((records.at(-1)?.sequence ?? from) + 1, setAside, done);
    });
  }

  /**
   * Removes every record behind `sequence`. All of the log must have been written. After a failure
   * with code IO nobody knows what is left: the log must be opened anew.
   */
  behind(sequence: number, done: Done): void {
    const { position, segments } = this.writer;
    if (sequence === position.sequence) return done(null);
    if (sequence === 0 && segments.firstSequence === 1) {
      const [first] = segments.numbers();
      return this.at({ segment: first ?? 1, offset: SEGMENT_HEADER_BYTES }, null, done);
    }
    this.reader.readRecords(sequence, 1, (error, [record]) => {
      if (error !== null || record === undefined) return done(error);
      const header = RecordHeader.decode(viewOf(record.bytes), 0);
      const { segment, offset } = header;
      this.at({ segment, offset: offset + record.bytes.length }, header, done);
    });
  }

  private at(end: Address, last: RecordHeader | null, done: Done): void {
    try {
      this.remove(end);
      this.writer.rewind(end, last, newestCheckpoint(this.store, end));
    } catch (error) {
      return done(new SmfsError("IO", `cutting the log: ${messageOf(error)}`, error));
    }
    done(null);
  }

  private remove(end: Address): void {
    this.reader.forgetPlace();
    for (const segment of this.writer.segments.numbers().toReversed()) {
      if (segment > end.segment) this.store.remove(segment);
    }
    this.store.clear(end.segment, end.offset);
  }
}

/** The newest checkpoint before `end`: in its segment, or where the segment's header says. */
function newestCheckpoint(store: SegmentStore, end: Address): Address | null {
  const { segment } = end;
  const bytes = store.readSync(segment, 0, SEGMENT_HEADER_BYTES);
  const { logId, checkpointSegment, checkpointOffset } = readSegmentHeader(bytes, segment);
  let newest: Address | null =
    checkpointSegment === 0 ? null : { segment: checkpointSegment, offset: checkpointOffset };
  const start = { segment, offset: SEGMENT_HEADER_BYTES, logId, after: null };
  scanRecords(store, start, end, ({ header, offset }) => {
    if (header.kind === KIND.checkpoint) newest = { segment, offset };
    return true;
  });
  return newest;
}
