/**
 * A `SegmentStore` over another that is never written to: what is changed stays in memory. So a log
 * can be opened as it would be after a crash, torn tail cut off and all, from files that nobody may
 * touch; and a repair can be tried before it is done.
 *
 * Memory grows with what is written, page by page; `clear` and `remove` take none.
 */
import { EMPTY } from "../../../lib/bytes.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Done, SegmentInfo, SegmentStore } from "./api.ts";
import { PAGE_BYTES } from "./options.ts";

interface Shadowed {
  /** Length as it seems. */
  bytes: number;
  /** Bytes before this are as in the store below, those behind it zero, unless a page says otherwise. */
  belowBytes: number;
  readonly pages: Map<number, Uint8Array>;
}

export class ShadowStore implements SegmentStore {
  private readonly below: SegmentStore;
  private readonly segments = new Map<number, Shadowed>();
  private grownBytes = 0;

  constructor(below: SegmentStore) {
    this.below = below;
    for (const { segment, bytes } of below.list()) {
      this.segments.set(segment, { bytes, belowBytes: bytes, pages: new Map() });
    }
  }

  list(): SegmentInfo[] {
    return [...this.segments]
      .map(([segment, { bytes }]) => ({ segment, bytes }))
      .toSorted((a, b) => a.segment - b.segment);
  }

  allocate(segment: number, bytes: number): void {
    const known = this.segments.get(segment);
    const more = bytes - (known?.bytes ?? 0);
    if (known !== undefined && more <= 0) return;
    if (more > this.space().freeBytes) throw new SmfsError("NO_SPACE", "no space left");
    this.grownBytes += more;
    if (known === undefined) this.segments.set(segment, { bytes, belowBytes: 0, pages: new Map() });
    else known.bytes = bytes;
  }

  clear(segment: number, from: number): void {
    const shadowed = this.segment(segment);
    shadowed.belowBytes = Math.min(shadowed.belowBytes, from);
    for (const [page, bytes] of shadowed.pages) {
      if (page * PAGE_BYTES >= from) shadowed.pages.delete(page);
      else if ((page + 1) * PAGE_BYTES > from) bytes.fill(0, from - page * PAGE_BYTES);
    }
  }

  rewrite(): void {
    // It is in memory all the same.
  }

  trim(segment: number, bytes: number): void {
    const shadowed = this.segment(segment);
    if (bytes >= shadowed.bytes) return;
    this.clear(segment, bytes);
    shadowed.bytes = bytes;
  }

  write(segment: number, offset: number, parts: readonly Uint8Array[], done: Done): void {
    let at = offset;
    for (const part of parts) {
      this.put(segment, at, part);
      at += part.length;
    }
    later(() => done(null));
  }

  sync(_segment: number, done: Done): void {
    later(() => done(null));
  }

  read(
    segment: number,
    offset: number,
    length: number,
    done: (error: Error | null, bytes: Uint8Array) => void,
  ): void {
    const shadowed = this.segments.get(segment);
    const isBelow = shadowed !== undefined && this.isBelow(shadowed, offset, length);
    if (isBelow) return this.below.read(segment, offset, length, done);
    later(() => {
      try {
        done(null, this.readSync(segment, offset, length));
      } catch (error) {
        done(error instanceof Error ? error : new SmfsError("IO", String(error)), EMPTY);
      }
    });
  }

  readCached(): boolean {
    return false;
  }

  readSync(segment: number, offset: number, length: number): Uint8Array {
    const shadowed = this.segment(segment);
    if (this.isBelow(shadowed, offset, length)) {
      return this.below.readSync(segment, offset, length);
    }
    const bytes = new Uint8Array(Math.max(0, Math.min(length, shadowed.bytes - offset)));
    const fromBelow = Math.min(bytes.length, shadowed.belowBytes - offset);
    if (fromBelow > 0) bytes.set(this.below.readSync(segment, offset, fromBelow));
    const last = Math.floor((offset + bytes.length - 1) / PAGE_BYTES);
    for (let page = Math.floor(offset / PAGE_BYTES); page <= last; page++) {
      const written = shadowed.pages.get(page);
      if (written !== undefined) overlay(bytes, offset, written, page * PAGE_BYTES);
    }
    return bytes;
  }

  remove(segment: number): void {
    this.segments.delete(segment);
  }

  releaseReserve(): boolean {
    return false;
  }

  restoreReserve(): void {
    // Nothing was given back.
  }

  space(): { totalBytes: number; freeBytes: number } {
    const { totalBytes, freeBytes } = this.below.space();
    return { totalBytes, freeBytes: freeBytes - this.grownBytes };
  }

  private segment(segment: number): Shadowed {
    const shadowed = this.segments.get(segment);
    if (shadowed === undefined) throw new SmfsError("IO", `there is no segment ${segment}`);
    return shadowed;
  }

  private isBelow({ belowBytes, pages }: Shadowed, offset: number, length: number): boolean {
    return pages.size === 0 && offset + length <= belowBytes;
  }

  private put(segment: number, offset: number, part: Uint8Array): void {
    const { pages } = this.segment(segment);
    for (let at = 0; at < part.length; ) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const within = offset + at - page * PAGE_BYTES;
      const length = Math.min(part.length - at, PAGE_BYTES - within);
      const own = pages.get(page) ?? this.pageOf(segment, page);
      own.set(part.subarray(at, at + length), within);
      pages.set(page, own);
      at += length;
    }
  }

  private pageOf(segment: number, page: number): Uint8Array {
    const own = new Uint8Array(PAGE_BYTES);
    own.set(this.readSync(segment, page * PAGE_BYTES, PAGE_BYTES));
    return own;
  }
}

/** Copies what `source`, which starts at `sourceStart`, has of `target`'s range. */
function overlay(target: Uint8Array, start: number, source: Uint8Array, sourceStart: number): void {
  const from = Math.max(start, sourceStart);
  const to = Math.min(start + target.length, sourceStart + source.length);
  target.set(source.subarray(from - sourceStart, to - sourceStart), from - start);
}

/** A store calls back later, never before it returns. */
function later(callback: () => void): void {
  void Promise.resolve().then(callback);
}
