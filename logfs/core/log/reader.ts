/**
 * Reading a log that may be growing: bytes at an address, and whole records from a sequence on.
 * Memory answers what it holds, the disk the rest; what came from the disk is verified.
 */
import { concatBytes } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, RawRecord, SegmentStore } from "./api.ts";
import { KIND } from "./format.ts";
import {
  describeAddress,
  peekKind,
  peekRecordBytes,
  peekSequence,
  readRecord,
  readRecordHeader,
  RECORD_HEADER_BYTES,
  recordBytes,
} from "./record.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";
import type { Mark, SegmentTable } from "./segments.ts";
import type { LogCounters } from "./statistics.ts";
import type { TailBuffer } from "./tail.ts";

/** One disk read while hopping from header to header. */
const READ_BYTES = 256 * 1024;
/** The most one disk read takes ahead, however much the caller would take. */
const MAX_READ_BYTES = 4 * 2 ** 20;

/** Without memory given for it, so much is looked for in the operating system's (tree nodes). */
const OWN_CACHED_BYTES = 64 * 1024;

type BytesDone = (error: Error | null, bytes: Uint8Array) => void;
type RecordsDone = (error: Error | null, records: RawRecord[]) => void;

const NOTHING = new Uint8Array(0);

/** Where a search for records stands. */
interface Search {
  readonly wanted: number;
  readonly maxBytes: number;
  readonly done: RecordsDone;
  readonly found: RawRecord[];
  foundBytes: number;
  readonly segment: number;
  offset: number;
  /** Bytes the next read must give, when a record was longer than the read before. */
  needBytes: number;
}

export class RecordReader {
  private readonly store: SegmentStore;
  private readonly tail: TailBuffer;
  private readonly segments: SegmentTable;
  private readonly counters: LogCounters;
  /** Where the record behind the last one handed out starts: a follower asks for it next. */
  private resume: (Address & Mark) | null = null;

  constructor(
    store: SegmentStore,
    tail: TailBuffer,
    segments: SegmentTable,
    counters: LogCounters,
  ) {
    this.store = store;
    this.tail = tail;
    this.segments = segments;
    this.counters = counters;
  }

  /** Records are not where they were. */
  forgetPlace(): void {
    this.resume = null;
  }

  read(address: Address, length: number, done: BytesDone, into?: Uint8Array): void {
    const used = this.segments.usedBytes(address.segment);
    if (used === undefined) return done(gone(address.segment), NOTHING);
    if (address.offset + length > used) {
      const message = `${length} bytes at ${describeAddress(address)} end past the log`;
      return done(new SmfsError("DAMAGED", message), NOTHING);
    }
    const memoryFrom = this.tail.startOf(address.segment);
    if (address.offset >= memoryFrom) {
      this.counters.memoryReads++;
      const pieces = this.tail.pieces(address.segment, address.offset, length);
      const [only] = pieces;
      return done(null, pieces.length === 1 && only !== undefined ? only : concatBytes(pieces));
    }
    const cached = this.readCached(address, length, memoryFrom, into);
    if (cached === null) this.readDisk(address, length, memoryFrom, done);
    else done(null, cached);
  }

  /** null when it takes a device, or part of it is not on disk yet. */
  private readCached(
    { segment, offset }: Address,
    length: number,
    memoryFrom: number,
    into: Uint8Array | undefined,
  ): Uint8Array | null {
    if (offset + length > memoryFrom) return null;
    if (into === undefined && length > OWN_CACHED_BYTES) return null;
    const target = into?.subarray(0, length) ?? new Uint8Array(length);
    if (!this.store.readCached(segment, offset, target)) return null;
    this.counters.cachedReads++;
    return target;
  }

  private readDisk(address: Address, length: number, memoryFrom: number, done: BytesDone): void {
    const onDisk = Math.min(length, memoryFrom - address.offset);
    const rest =
      onDisk < length ? this.tail.pieces(address.segment, memoryFrom, length - onDisk) : [];
    this.counters.diskReads++;
    this.store.read(address.segment, address.offset, onDisk, (error, bytes) => {
      if (error !== null) return done(ioError(address, error), NOTHING);
      if (bytes.length < onDisk) {
        const message = `${describeAddress(address)}: ${onDisk} bytes expected, ${bytes.length} there`;
        return done(new SmfsError("DAMAGED", message), NOTHING);
      }
      done(null, rest.length === 0 ? bytes : concatBytes([bytes, ...rest]));
    });
  }

  /** The record `wanted` is not behind the head. */
  readRecords(wanted: number, maxBytes: number, done: RecordsDone): void {
    const near = this.placeNear(wanted);
    if (near !== undefined) return this.search(near, wanted, maxBytes, done);
    const first = this.segments.firstSequence;
    const message = `record ${wanted} is gone; the log can be read from record ${first} on`;
    done(new SmfsError("NOT_FOUND", message), []);
  }

  readRecordsAt(address: Address, maxBytes: number, done: RecordsDone): void {
    const { segment } = address;
    if (this.segments.usedBytes(segment) === undefined) return done(gone(segment), []);
    const offset = Math.max(address.offset, SEGMENT_HEADER_BYTES);
    this.search({ segment, offset }, 0, maxBytes, done);
  }

  private search(from: Address, wanted: number, maxBytes: number, done: RecordsDone): void {
    const { segment, offset } = from;
    const search = { wanted, maxBytes, done, found: [], foundBytes: 0, segment, offset };
    this.advance({ ...search, needBytes: RECORD_HEADER_BYTES });
  }

  private placeNear(wanted: number): (Address & Mark) | undefined {
    const { resume } = this;
    const fits = resume !== null && resume.sequence === wanted;
    return fits ? resume : this.segments.locate(wanted);
  }

  private advance(search: Search): void {
    const { segment } = search;
    for (;;) {
      const chunk = this.tail.chunkFrom(segment, search.offset);
      if (chunk === null) break;
      this.counters.memoryReads++;
      if (this.takeFrom(search, chunk, false)) return this.finish(search);
    }
    const end = Math.min(this.segments.usedBytes(segment) ?? 0, this.tail.startOf(segment));
    if (search.offset + search.needBytes > end) return this.finish(search);
    const ahead = Math.min(Math.max(READ_BYTES, search.maxBytes), MAX_READ_BYTES);
    const length = Math.min(Math.max(ahead, search.needBytes), end - search.offset);
    this.counters.diskReads++;
    this.store.read(segment, search.offset, length, (error, bytes) =>
      this.handleRead(search, error, bytes),
    );
  }

  private handleRead(search: Search, error: Error | null, bytes: Uint8Array): void {
    if (error !== null) return search.done(ioError(search, error), []);
    const before = search.offset;
    const needed = search.needBytes;
    let complete: boolean;
    try {
      complete = this.takeFrom(search, bytes, true);
    } catch (damage) {
      if (!(damage instanceof SmfsError)) throw damage;
      return search.done(this.damageAt(search, damage), []);
    }
    const stuck = search.offset === before && search.needBytes <= Math.max(needed, bytes.length);
    if (complete || stuck || search.found.length > 0) return this.finish(search);
    this.advance(search);
  }

  /** Takes records out of `bytes`, which start at `search.offset`; true when that is enough. */
  private takeFrom(search: Search, bytes: Uint8Array, verify: boolean): boolean {
    const view = viewOf(bytes);
    const start = search.offset;
    for (;;) {
      const at = search.offset - start;
      search.needBytes = RECORD_HEADER_BYTES;
      if (bytes.length - at < RECORD_HEADER_BYTES) return false;
      const length = verify ? verifiedLength(bytes, at) : peekRecordBytes(view, at);
      if (peekSequence(view, at) >= search.wanted) {
        if (search.found.length > 0 && search.foundBytes + length > search.maxBytes) return true;
        search.needBytes = length;
        if (bytes.length - at < length) return false;
        this.take(search, bytes.subarray(at, at + length), verify);
        if (this.endsSegment(view, at)) return true;
      }
      search.offset += length;
    }
  }

  /** Behind a seal the next record stands in the next segment. */
  private endsSegment(view: DataView, at: number): boolean {
    if (peekKind(view, at) !== KIND.seal) return false;
    this.resume = null;
    return true;
  }

  private take(search: Search, record: Uint8Array, verify: boolean): void {
    const header = verify ? readRecord(record) : null;
    const sequence = header?.sequence ?? peekSequence(viewOf(record), 0);
    search.found.push({ sequence, bytes: record });
    search.foundBytes += record.length;
    const { segment, offset } = search;
    this.resume = { segment, offset: offset + record.length, sequence: sequence + 1 };
  }

  private finish(search: Search): void {
    if (search.found.length > 0) return search.done(null, search.found);
    if (this.segments.usedBytes(search.segment) === undefined) {
      return search.done(gone(search.segment), []);
    }
    const what = `record ${search.wanted} is not where it should be`;
    search.done(new SmfsError("DAMAGED", `${describeAddress(search)}: ${what}`), []);
  }

  private damageAt(search: Search, damage: SmfsError): SmfsError {
    return new SmfsError(damage.code, `${describeAddress(search)}: ${damage.message}`, damage);
  }
}

function verifiedLength(bytes: Uint8Array, at: number): number {
  const header = readRecordHeader(bytes, at);
  return recordBytes(header.metadataBytes, header.bodyBytes);
}

function gone(segment: number): SmfsError {
  return new SmfsError("NOT_FOUND", `there is no segment ${segment}`);
}

function ioError(address: Address, cause: Error): SmfsError {
  if (cause instanceof SmfsError && cause.code === "NOT_FOUND") return cause;
  return new SmfsError("IO", `read at ${describeAddress(address)}: ${cause.message}`, cause);
}
