/**
 * Scrubbing: reading everything that a log has on stable storage while it is in use, and comparing it
 * with its checksums, so that damage is found while there is still another copy. Tree nodes and file
 * data stand in records, so verifying records verifies them all.
 *
 * - The rate is limited; each step reads ahead without blocking and then looks at what the kernel has.
 * - A record that does not verify is taken from another copy, when there is one: the same bytes at the
 *   same address (`mend.ts` says why that may be written there).
 * - What was not durable when the scrub began is left to the next one. Segments may be dropped
 *   meanwhile.
 */
import { EMPTY } from "../../../lib/bytes.ts";
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Clock, Timers } from "../../../lib/ports.ts";
import type { Address, LogReader, SegmentStore } from "./api.ts";
import { put } from "./bridge.ts";
import { KIND, type RecordHeader } from "./format.ts";
import { problemOf } from "./mend.ts";
import { readRecord, readRecordHeader, RECORD_HEADER_BYTES, recordBytes } from "./record.ts";
import type { ChainLink } from "./scan.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";
import { type Surveyed, surveyLog } from "./survey.ts";

export interface ScrubFinding extends Address {
  readonly bytes: number;
  /** Null when its header is damaged, too. */
  readonly sequence: number | null;
  readonly problem: string;
  readonly outcome: "repaired" | "left";
}

export interface ScrubProgress {
  readonly state: "running" | "finished" | "stopped" | "failed";
  /** Why it failed. */
  readonly reason: string | null;
  /** Microseconds since 1970. */
  readonly startedMicros: number;
  readonly endedMicros: number | null;
  /** Of the segments' files. */
  readonly scrubbedBytes: number;
  readonly totalBytes: number;
  readonly records: number;
  /** Records and gaps that did not verify, and those that do now. */
  readonly damaged: number;
  readonly repaired: number;
  /** The first of them. */
  readonly findings: readonly ScrubFinding[];
}

/** Bytes of another copy of the log at an address; null when it has none. */
export type FetchCopy = (address: Address, length: number) => Promise<Uint8Array | null>;

export interface ScrubOptions {
  readonly log: Pick<LogReader, "id" | "durableSequence">;
  readonly store: SegmentStore;
  readonly time: Clock & Timers;
  readonly bytesPerSecond: number;
  /** Null: there is no other copy. */
  readonly fetch: FetchCopy | null;
}

/** Read ahead at once; what happens between two looks at the clock. */
const STEP_BYTES = 2 ** 20;
const MAX_FINDINGS = 1000;

export class Scrub {
  private readonly options: ScrubOptions;
  private readonly findings: ScrubFinding[] = [];
  private readonly startedMicros: number;
  private readonly beganMicros: number;
  private endedMicros: number | null = null;
  private state: ScrubProgress["state"] = "running";
  private reason: string | null = null;
  private scrubbedBytes = 0;
  private readonly totalBytes: number;
  private records = 0;
  private damaged = 0;
  private repaired = 0;
  /** Ends a wait: who stops a scrub wants the store back. */
  private wake: () => void = () => {};
  /** Settles when it has ended, however it did. */
  readonly ended: Promise<void>;

  /** Begins at once. */
  constructor(options: ScrubOptions) {
    this.options = options;
    const { store, time } = options;
    this.startedMicros = time.wallMicros();
    this.beganMicros = time.nowMicros();
    this.totalBytes = store.list().reduce((sum, { bytes }) => sum + bytes, 0);
    this.ended = this.run();
  }

  get progress(): ScrubProgress {
    const { state, reason, startedMicros, endedMicros, scrubbedBytes, totalBytes } = this;
    const { records, damaged, repaired, findings } = this;
    const counts = { scrubbedBytes, totalBytes, records, damaged, repaired };
    return { state, reason, startedMicros, endedMicros, ...counts, findings };
  }

  /** What was found is kept. */
  stop(): void {
    if (this.state === "running") this.state = "stopped";
    this.wake();
  }

  private async run(): Promise<void> {
    try {
      await this.everySegment();
      if (this.state === "running") this.state = "finished";
    } catch (error) {
      this.state = "failed";
      this.reason = messageOf(error);
    } finally {
      this.endedMicros = this.options.time.wallMicros();
    }
  }

  private async everySegment(): Promise<void> {
    const { store, log } = this.options;
    const durable = log.durableSequence;
    let after: ChainLink | null = null;
    for (const { segment, bytes } of store.list()) {
      if (this.state !== "running") return;
      try {
        after = await this.segment(segment, bytes, after, durable);
      } catch (error) {
        const isThere = store.list().some((info) => info.segment === segment);
        if (isThere || !(error instanceof SmfsError)) throw error;
      }
      if (after !== null && after.sequence >= durable) return;
    }
  }

  private async segment(
    segment: number,
    bytes: number,
    before: ChainLink | null,
    durable: number,
  ): Promise<ChainLink | null> {
    const { store, log } = this.options;
    const start = this.scrubbedBytes;
    let readBytes = 0;
    let after = before;
    const readTo = async (offset: number): Promise<void> => {
      while (readBytes < Math.min(bytes, offset + STEP_BYTES)) {
        await this.readAhead(segment, readBytes);
        readBytes += STEP_BYTES;
        this.scrubbedBytes = start + Math.min(readBytes, bytes);
        await this.pace();
      }
    };
    await readTo(0);
    for (const part of surveyLog(store, log.id, segment)) {
      const isNext = part.kind === "segment" && part.segment !== segment;
      if (isNext || this.state !== "running") break;
      after = await this.part(part, after, durable);
      await readTo(part.kind === "record" ? part.record.offset + part.record.totalBytes : 0);
      // Not a step further: behind it somebody writes.
      if (after !== null && after.sequence >= durable) break;
    }
    this.scrubbedBytes = start + bytes;
    return after;
  }

  /** Into the kernel's cache: what follows then does not block for the device. */
  private readAhead(segment: number, offset: number): Promise<void> {
    return new Promise((resolve) => {
      // A read that fails here fails again where it is looked at.
      this.options.store.read(segment, offset, STEP_BYTES, () => resolve());
    });
  }

  private pace(): Promise<void> {
    const { time, bytesPerSecond } = this.options;
    const dueMicros = this.beganMicros + (this.scrubbedBytes / bytesPerSecond) * 1e6;
    if (this.state !== "running" || dueMicros <= time.nowMicros()) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = time.at(dueMicros, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }

  private async part(
    part: Surveyed,
    after: ChainLink | null,
    durable: number,
  ): Promise<ChainLink | null> {
    switch (part.kind) {
      case "segment":
        if (part.problem !== null) await this.header(part.segment, part.problem);
        return after;
      case "gap": {
        // Without a record behind it, it is the end, unless more was durable: what is being written.
        const isEnd = !part.isFollowed && (after === null || after.sequence >= durable);
        if (isEnd) return after;
        const { segment, from, to, problem } = part;
        const found = { segment, offset: from, bytes: to - from, sequence: null, problem };
        return (await this.repairGap(found, durable, after)) ?? after;
      }
      case "record": {
        const { header, segment, offset, totalBytes } = part.record;
        this.records++;
        const problem = problemOf(part.record);
        const { sequence, headerChecksum: checksum } = header;
        if (problem !== null) {
          const found = { segment, offset, bytes: totalBytes, sequence, problem };
          await this.repairRecord(found, header);
        }
        return { sequence, checksum };
      }
    }
  }

  private async header(segment: number, problem: string): Promise<void> {
    const bytes = SEGMENT_HEADER_BYTES;
    this.damaged++;
    this.note({ segment, offset: 0, bytes, sequence: null, problem, outcome: "left" });
  }

  private async repairRecord(
    found: Omit<ScrubFinding, "outcome">,
    header: RecordHeader,
  ): Promise<void> {
    this.damaged++;
    const copy = await this.copyOf(found, found.bytes);
    const whole = tryRecord(copy);
    const isSame = whole?.headerChecksum === header.headerChecksum;
    await this.settle(found, isSame ? copy : EMPTY);
  }

  /**
   * Record by record, as the chain goes, to the end of the gap, of the segment, or of what is durable;
   * gives the last one, null when not all of it could be had.
   */
  private async repairGap(
    found: Omit<ScrubFinding, "outcome">,
    durable: number,
    after: ChainLink | null,
  ): Promise<ChainLink | null> {
    this.damaged++;
    const to = found.offset + found.bytes;
    let chain = after;
    let { offset } = found;
    let isWhole = false;
    while (chain !== null && !isWhole) {
      const head = await this.copyOf({ ...found, offset }, RECORD_HEADER_BYTES);
      const length = lengthOf(head);
      const copy = length === 0 ? EMPTY : await this.copyOf({ ...found, offset }, length);
      const record = tryRecord(copy);
      if (record === null || !continues(record, { ...found, offset }, chain)) break;
      await put(this.options.store, found.segment, offset, copy);
      chain = { sequence: record.sequence, checksum: record.headerChecksum };
      offset += copy.length;
      isWhole = offset >= to || record.kind === KIND.seal || record.sequence >= durable;
    }
    if (isWhole) this.repaired++;
    this.note({ ...found, outcome: isWhole ? "repaired" : "left" });
    return isWhole ? chain : null;
  }

  private async settle(found: Omit<ScrubFinding, "outcome">, copy: Uint8Array): Promise<void> {
    if (copy.length === 0) return this.note({ ...found, outcome: "left" });
    await put(this.options.store, found.segment, found.offset, copy);
    this.repaired++;
    this.note({ ...found, outcome: "repaired" });
  }

  /** Empty when there is none. */
  private async copyOf({ segment, offset }: Address, length: number): Promise<Uint8Array> {
    const { fetch } = this.options;
    return (await fetch?.({ segment, offset }, length)) ?? EMPTY;
  }

  private note(finding: ScrubFinding): void {
    if (this.findings.length < MAX_FINDINGS) this.findings.push(finding);
  }
}

function lengthOf(head: Uint8Array): number {
  try {
    const { metadataBytes, bodyBytes } = readRecordHeader(head, 0);
    return recordBytes(metadataBytes, bodyBytes);
  } catch (error) {
    if (error instanceof SmfsError) return 0;
    throw error;
  }
}

function tryRecord(bytes: Uint8Array): RecordHeader | null {
  try {
    return readRecord(bytes);
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}

function continues(record: RecordHeader, place: Address, after: ChainLink): boolean {
  const isHere = record.segment === place.segment && record.offset === place.offset;
  const isNext = record.sequence === after.sequence + 1;
  return isHere && isNext && record.previousChecksum === after.checksum;
}
