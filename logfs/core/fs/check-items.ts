/**
 * Every item on its own, and the items of one inode together. Items come in key order, so those of
 * an inode are neighbours and one inode's sums are kept at a time.
 */
import { FsError, messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address, SegmentInfo } from "../log/api.ts";
import type { CheckTotals, Details, Findings } from "./check-findings.ts";
import {
  BLOCK_BYTES,
  decodeEntry,
  decodeExtent,
  decodeInode,
  decodeTruncation,
  decodeXattr,
  type InodeItem,
  inodeOf,
  ITEM,
  kindOf,
  ORPHANS,
  sharedSegmentOf,
  TRUNCATIONS,
} from "./items.ts";
import { isDirectory, S_IFLNK, typeOf } from "./modes.ts";
import { BUCKET_SLOTS, checkName, hashName } from "./names.ts";
import { LiveBytes } from "./live-bytes.ts";
import { isTruncating } from "./truncation.ts";

/** Bytes of a directory's size for each entry (items.ts, `InodeItem.size`). */
const ENTRY_BYTES = 32;
const XATTR_SEED = 0;

/** Sums over the items of the inode whose items are passing. */
interface Passing {
  readonly inode: number;
  /** Some of its items could not be read: nothing is said about their sums. */
  readonly partial: boolean;
  item: InodeItem | null;
  entries: number;
  subdirectories: number;
  extentBytes: number;
  extentsEnd: number;
  symlinkBytes: number;
}

export class ItemChecker {
  /** Bytes that extents and long attribute values refer to. */
  readonly live = new LiveBytes();
  /** The greatest inode that has attributes. */
  lastInode = 0;
  private passing: Passing = newPassing(0, false);
  private afterGap = false;
  private readonly findings: Findings;
  private readonly totals: CheckTotals;
  /** Bytes of each segment's file. */
  private readonly segments: ReadonlyMap<number, number>;

  constructor(findings: Findings, totals: CheckTotals, segments: readonly SegmentInfo[]) {
    this.findings = findings;
    this.totals = totals;
    this.segments = new Map(segments.map(({ segment, bytes }) => [segment, bytes]));
  }

  item(high: number, low: number, value: Uint8Array): void {
    this.totals.items++;
    // Shared blocks are no inode's: `check-shared.ts`.
    if (sharedSegmentOf(high) !== undefined) return;
    const inode = inodeOf(high);
    if (inode !== this.passing.inode) this.nextInode(inode);
    try {
      this.dispatch(high, low, value);
    } catch (error) {
      if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
      this.badItem(high, low, `item ${high}/${low}: ${messageOf(error)}`);
    }
  }

  /** The whole range is in a segment that exists. */
  isThere({ segment, offset, length }: Address & { readonly length: number }): boolean {
    return offset + length <= (this.segments.get(segment) ?? 0);
  }

  /** Behind the last item. */
  finish(): void {
    this.nextInode(0);
  }

  /** Items are missing here, of the inode that was passing and of the next. */
  gap(): void {
    this.passing = newPassing(0, true);
    this.afterGap = true;
  }

  private nextInode(inode: number): void {
    this.close(this.passing);
    this.passing = newPassing(inode, this.afterGap);
    this.afterGap = false;
  }

  private dispatch(high: number, low: number, value: Uint8Array): void {
    const { passing } = this;
    if (high === ORPHANS) return;
    if (high === TRUNCATIONS) return void decodeTruncation(value);
    switch (kindOf(high)) {
      case ITEM.attributes:
        return this.attributes(high, low, value);
      case ITEM.entry:
        return this.entry(high, low, value);
      case ITEM.symlink:
        passing.symlinkBytes = value.length;
        return;
      case ITEM.xattr:
        return this.xattr(high, low, value);
      case ITEM.extent:
        return this.extent(high, low, value);
      default:
        this.badItem(high, low, `an item of unknown kind ${kindOf(high)}`);
    }
  }

  private badItem(high: number, low: number, what: string): void {
    this.findings.error("item", inodeOf(high), what, { key: { high, low } });
  }

  private attributes(high: number, low: number, value: Uint8Array): void {
    const item = decodeInode(value);
    if (low !== 0) return this.badItem(high, low, `attributes at ${low}`);
    this.passing.item = item;
    this.totals.inodes++;
    this.lastInode = this.passing.inode;
    if (isDirectory(item.mode)) this.totals.directories++;
  }

  private entry(high: number, low: number, value: Uint8Array): void {
    const { passing } = this;
    const { type, name } = decodeEntry(value);
    checkName(name);
    passing.entries++;
    this.totals.entries++;
    if (isDirectory(type)) passing.subdirectories++;
    const seed = passing.item?.nameSeed ?? 0;
    if (Math.floor(low / BUCKET_SLOTS) !== hashName(name, seed)) {
      const text = `entry ${low} stands where its name does not lead`;
      this.findings.error("entry-place", passing.inode, text, { key: { high, low } });
    }
  }

  private xattr(high: number, low: number, item: Uint8Array): void {
    const { inode } = this.passing;
    const { name, value } = decodeXattr(item);
    if (Math.floor(low / BUCKET_SLOTS) !== hashName(name, XATTR_SEED)) {
      const text = `extended attribute ${low} stands where its name does not lead`;
      this.findings.error("entry-place", inode, text, { key: { high, low } });
    }
    if (value.kind === "inline") return;
    this.refer(value, value.offset, value.length, { key: { high, low } });
  }

  private extent(high: number, start: number, value: Uint8Array): void {
    const { passing } = this;
    const { segment, offset, storedBytes, skip, length } = decodeExtent(value);
    const { inode } = passing;
    const range = { from: start, to: start + length };
    const details = { address: { segment, offset }, range, key: { high, low: start } };
    const isInBlock = length > 0 && skip + length <= storedBytes && storedBytes <= BLOCK_BYTES;
    if (!isInBlock) {
      this.findings.error("extent-range", inode, `extent at ${start} is not in its block`, details);
    }
    if (start < passing.extentsEnd) {
      this.findings.error("extent-overlap", inode, `extents overlap at ${start}`, details);
    }
    passing.extentsEnd = start + length;
    passing.extentBytes += length;
    this.totals.extents++;
    this.refer({ segment, offset, length: storedBytes }, offset + skip, length, details);
  }

  /** `used` bytes from `usedOffset` on are alive; the whole block must be there. No table names what is gone. */
  private refer(
    { segment, offset, length }: Address & { readonly length: number },
    usedOffset: number,
    used: number,
    details: Details,
  ): void {
    const { inode } = this.passing;
    this.totals.dataBytes += used;
    const segmentBytes = this.segments.get(segment);
    const place = { ...details, address: { segment, offset: usedOffset } };
    if (segmentBytes !== undefined) this.live.add(segment, used);
    if (segmentBytes === undefined) {
      this.findings.error("segment-missing", inode, `segment ${segment} does not exist`, place);
    } else if (offset + length > segmentBytes) {
      const text = `data behind the end of segment ${segment}`;
      this.findings.error("segment-missing", inode, text, place);
    }
  }

  private close(passing: Passing): void {
    const { inode, item, partial } = passing;
    if (inode === 0 || partial) return;
    if (item === null) {
      return this.findings.error(
        "attributes-missing",
        inode,
        "items of an inode without attributes",
      );
    }
    if (item.allocatedBytes !== passing.extentBytes) {
      const text = `says ${item.allocatedBytes} bytes allocated, has ${passing.extentBytes}`;
      this.findings.error("allocated-bytes", inode, text);
    }
    if (isDirectory(item.mode)) this.closeDirectory(passing, item);
    else if (passing.entries > 0) {
      this.findings.error("entries-in-file", inode, "entries in what is not a directory");
    }
    if (typeOf(item.mode) === S_IFLNK && item.size !== passing.symlinkBytes) {
      const text = `a symlink of ${passing.symlinkBytes} bytes says ${item.size}`;
      this.findings.error("symlink-size", inode, text);
    }
    if (!isTruncating(item) && passing.extentsEnd > item.size) {
      const text = `data up to ${passing.extentsEnd}, behind its size ${item.size}`;
      this.findings.error("size", inode, text);
    }
  }

  private closeDirectory({ inode, entries, subdirectories }: Passing, item: InodeItem): void {
    if (item.size !== entries * ENTRY_BYTES) {
      const text = `a directory of ${entries} entries says size ${item.size}`;
      this.findings.error("directory-size", inode, text);
    }
    const links = item.links === 0 ? 0 : 2 + subdirectories;
    if (item.links !== links) {
      const text = `a directory of ${subdirectories} directories says ${item.links} links`;
      this.findings.error("directory-links", inode, text);
    }
  }
}

function newPassing(inode: number, partial: boolean): Passing {
  const sums = { entries: 0, subdirectories: 0, extentBytes: 0, extentsEnd: 0, symlinkBytes: 0 };
  return { inode, partial, item: null, ...sums };
}
