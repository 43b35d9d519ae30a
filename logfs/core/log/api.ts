/**
 * What the log is to its users (the file system, the mirror), and the port it stands on.
 *
 * Positions: a record is named by its `sequence`; an `Address` is where bytes stand. Addresses are
 * the same at the primary and at every mirror, because records carry theirs and mirrors keep them.
 */

export interface Address {
  readonly segment: number;
  /** Bytes from the start of the segment. */
  readonly offset: number;
}

/** A place in a log's history; `checksum` is the headerChecksum of record `sequence`. */
export interface Position {
  readonly sequence: number;
  readonly epoch: number;
  readonly checksum: number;
}

export interface Appended extends Address {
  readonly sequence: number;
  /** Address of the first body byte is (segment, bodyOffset). */
  readonly bodyOffset: number;
}

/**
 * Who may use the space that a log keeps back: operations that free space, so that a full file
 * system can be emptied; epochs, so that a full log can be opened and a full mirror promoted.
 */
export type ReserveUse = "freeing" | "epoch";

export interface SegmentInfo {
  readonly segment: number;
  /** Bytes of the file, allocated zeros included. */
  readonly bytes: number;
}

/** A segment that is there, as its log knows it. */
export interface LogSegment {
  readonly segment: number;
  readonly firstSequence: number;
  /** Bytes of header and records; of the file, when it was sealed before this log was opened. */
  readonly usedBytes: number;
  /** Nothing is ever written to it again. */
  readonly sealed: boolean;
}

/** Called once. `error` is null on success. */
export type Done = (error: Error | null) => void;

/**
 * The disk below a log: numbered segment files in one directory. `logfs/log` implements it on files,
 * the simulator in memory with crashes and damage. Calls named `…Sync` or returning a value act at
 * once; the others call back later, never before they return (only `write` may).
 */
export interface SegmentStore {
  /** Existing segments in ascending order. */
  list(): SegmentInfo[];
  /**
   * Makes `bytes` of `segment` allocated and zero beyond what is already there; makes the file (and
   * makes its name durable) when it does not exist. Throws `SmfsError` NO_SPACE, having done nothing.
   */
  allocate(segment: number, bytes: number): void;
  /** `from` onwards becomes zero and stays allocated as far as it was; durable when it returns. */
  clear(segment: number, from: number): void;
  /**
   * Writes the bytes from `from` to `to` as they are read now once more, and syncs them: after a sync
   * that failed they may stand in memory only, and no later sync would take them (Rebello et al.,
   * USENIX ATC 2020). Durable when it returns. Throws `SmfsError` IO.
   */
  rewrite(segment: number, from: number, to: number): void;
  /**
   * Gives back what is allocated from `bytes` on: nothing was ever written there. A crash may bring
   * it back. Throws `SmfsError` IO.
   */
  trim(segment: number, bytes: number): void;
  /** May call back before it returns. */
  write(segment: number, offset: number, parts: readonly Uint8Array[], done: Done): void;
  /** What was written to `segment` before the call is durable when `done` is called. */
  sync(segment: number, done: Done): void;
  /**
   * May give fewer bytes at the end of the file. Bytes are the caller's to keep. Fails NOT_FOUND when
   * there is no such segment; one that is removed meanwhile may still be read.
   */
  read(
    segment: number,
    offset: number,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void;
  /** Fills `into` when that takes no waiting for a device; false, and nothing to be relied on in it, when it would. */
  readCached(segment: number, offset: number, into: Uint8Array): boolean;
  readSync(segment: number, offset: number, length: number): Uint8Array;
  /** The file is gone, durably, when this returns; to this store it is gone even when this throws. */
  remove(segment: number): void;
  /**
   * Gives back `bytes` of the space that is kept, for an allocation that follows at once: so nobody
   * else gets them. The last quarter is for epochs. false, having done nothing, when there is less.
   */
  releaseReserve(bytes: number, use: ReserveUse): boolean;
  /** Takes that space again when the device has it. */
  restoreReserve(): void;
  /** Capacity and free bytes of the device, or of the quota when that is smaller. */
  space(): { totalBytes: number; freeBytes: number };
}

export interface AppendOptions {
  /** The operation frees space (unlink, truncate, checkpoint): it may use the reserve. */
  readonly privileged?: boolean;
  /** CRC-32C of the whole body, taken on trust: whoever checks its parts need not have it read again. */
  readonly bodyChecksum?: number;
}

/** A record as it stands in the log, read back or received: `bytes` is all of it, padding too. */
export interface RawRecord {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

export interface LogReader {
  readonly id: Uint8Array;
  /** The newest record. Sequence 0 when the log is empty. */
  readonly head: Position;
  /** Oldest record from which all records up to `head` are there; older ones may be gone. */
  readonly firstSequence: number;
  /** In ascending order, with gaps where segments were dropped. */
  readonly segments: LogSegment[];
  readonly epoch: number;
  /** Where the next record will stand, unless it starts a segment. */
  readonly endAddress: Address;
  /** All records up to here are in the kernel's hands: they survive this process. */
  readonly writtenSequence: number;
  /** All records up to here are on stable storage. */
  readonly durableSequence: number;
  /** Set after a write or sync failed for good: nothing more is acknowledged. */
  readonly failure: Error | null;

  /**
   * Bytes at an address, from memory while they are not on disk yet. `done` may be called before
   * this returns when the bytes are in memory, ours or the operating system's. The latter go to
   * `into`, which is at least `length` long, when it is given. Fails NOT_FOUND when the segment was
   * dropped.
   */
  read(
    address: Address,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
    into?: Uint8Array,
  ): void;
  /**
   * Whole records from `sequence` on, up to about `maxBytes` (at least one when there is one).
   * They need not be durable yet. Same rule for `done`. Fails NOT_FOUND before `firstSequence`.
   */
  readRecords(
    sequence: number,
    maxBytes: number,
    done: (error: Error | null, records: RawRecord[]) => void,
  ): void;
  /**
   * Whole records of one segment, from the one that stands at `address` (offset 0: the first) on;
   * otherwise as `readRecords`. A sealed segment ends with its seal: nothing can be read behind it.
   */
  readRecordsAt(
    address: Address,
    maxBytes: number,
    done: (error: Error | null, records: RawRecord[]) => void,
  ): void;
  /** The position of a record, to compare histories. null when it is not there, or not any more. */
  positionOf(
    sequence: number,
    done: (error: Error | null, position: Position | null) => void,
  ): void;

  /** `done` is called when written (or durable) reaches `sequence`, or with the log's failure; at once when it already has. */
  whenWritten(sequence: number, done: Done): void;
  /** Starts a sync when one is needed. */
  whenDurable(sequence: number, done: Done): void;
  /** Called after each append (also of a mirror's), written and durable advance. Gives a function that stops it. */
  subscribe(listener: () => void): () => void;
}

/** The segments of a log, for whoever finds out which of them nothing needs any more. */
export interface LogSegments extends Pick<LogReader, "segments"> {
  /**
   * Removes segments before that of the newest checkpoint. What stood in them cannot be read from
   * here on; reads under way end as they would have. Throws `SmfsError` IO when a file cannot be
   * removed: it is forgotten all the same, and found again at the next opening.
   */
  drop(segments: readonly number[]): void;
}

export interface LogWriter extends LogReader {
  /**
   * Appends one record, atomically. `fill` writes the metadata part, of exactly `metadataBytes`, in
   * place, knowing the record's address. `body` is copied before this returns. Throws `SmfsError`:
   * NO_SPACE, FENCED, TOO_LARGE, or the log's failure; then nothing happened and `fill` was not called.
   */
  append(
    kind: number,
    metadataBytes: number,
    body: readonly Uint8Array[],
    fill: (metadata: Uint8Array, at: Appended) => void,
    options?: AppendOptions,
  ): Appended;
  /**
   * Seals the segment that is written to: the next append starts one. Does nothing when it is sealed
   * or holds no record. Throws as `append`.
   */
  sealSegment(): void;
  /** Raises the epoch: every later append of an older writer is refused here and at mirrors. */
  startEpoch(epoch: number, reason: number): Appended;
  /** Tells the log where the newest checkpoint stands, for the next segment's header. */
  noteCheckpoint(at: Appended): void;
}

/** Mirror side: takes records exactly as the primary wrote them. */
export interface LogFollower extends LogReader {
  /** Records up to here were durable at the writer, as a record that came here says. */
  readonly vouchedSequence: number;
  /**
   * Verifies and appends one whole record at the address it carries. Throws `SmfsError`: DAMAGED
   * (checksums, bounds), NEWER_VERSION, OTHER_HISTORY (log id, chain, sequence), FENCED (epoch), NO_SPACE.
   */
  appendRaw(record: Uint8Array): Appended;
}
