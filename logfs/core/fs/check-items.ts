/**
 * The first half of a check: every item on its own, and the items of one inode together. Items come
 * in key order, so those of an inode are neighbours and one inode's sums are kept at a time.
 */
import { FsError, messageOf, SmfsError } from "../../../lib/errors.ts";
import type { SegmentInfo } from "../log/api.ts";
import type { CheckTotals, Findings } from "./check-findings.ts";
import { Graph } from "./check-graph.ts";
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
  TRUNCATIONS,
} from "./items.ts";
import { isDirectory, S_IFLNK, typeOf } from "./modes.ts";
import { BUCKET_SLOTS, checkName, hashName } from "./names.ts";
import { LiveBytes } from "./live-bytes.ts";
import { isTruncating } from "./truncation.ts";

/** Bytes of a directory's size for each entry (items.ts, `InodeItem.size`). */
const ENTRY_BYTES = 32;
const XATTR_SEED = 0;

/** Bytes that an item refers to, to be read and compared with their checksum. */
export interface StoredBlock {
  readonly inode: number;
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly checksum: number;
}

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
  readonly graph: Graph;
  /** Blocks referred to since they were last taken. */
  blocks: StoredBlock[] = [];
  private passing: Passing = newPassing(0, false);
  private afterGap = false;
  private readonly truncations = new Map<number, number>();
  private readonly findings: Findings;
  private readonly totals: CheckTotals;
  private readonly segments: ReadonlyMap<number, number>;

  constructor(findings: Findings, totals: CheckTotals, segments: readonly SegmentInfo[]) {
    this.findings = findings;
    this.totals = totals;
    this.graph = new Graph(findings);
    this.segments = new Map(segments.map(({ segment, bytes }) => [segment, bytes]));
  }

  item(high: number, low: number, value: Uint8Array): void {
    this.totals.items++;
    const inode = inodeOf(high);
    if (inode !== this.passing.inode) this.nextInode(inode);
    try {
      this.dispatch(high, low, value);
    } catch (error) {
      if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
      this.findings.error(inode, `item ${high}/${low}: ${messageOf(error)}`);
    }
  }

  /** Behind the last item: `nextInode` as the superblock says. */
  finish(nextInode: number): void {
    this.nextInode(0);
    for (const inode of this.truncations.keys()) {
      this.findings.error(inode, "a truncation of something that is not being truncated");
    }
    this.graph.finish(nextInode);
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
    if (high === ORPHANS) return this.graph.orphan(low);
    if (high === TRUNCATIONS) {
      this.truncations.set(low, decodeTruncation(value));
      return;
    }
    switch (kindOf(high)) {
      case ITEM.attributes:
        return this.attributes(low, value);
      case ITEM.entry:
        return this.entry(low, value);
      case ITEM.symlink:
        passing.symlinkBytes = value.length;
        return;
      case ITEM.xattr:
        return this.xattr(low, value);
      case ITEM.extent:
        return this.extent(low, value);
      default:
        this.findings.error(passing.inode, `an item of unknown kind ${kindOf(high)}`);
    }
  }

  private attributes(low: number, value: Uint8Array): void {
    const item = decodeInode(value);
    const { inode } = this.passing;
    if (low !== 0) this.findings.error(inode, `attributes at ${low}`);
    this.passing.item = item;
    this.totals.inodes++;
    if (isDirectory(item.mode)) this.totals.directories++;
    this.graph.inode(inode, item);
  }

  private entry(low: number, value: Uint8Array): void {
    const { passing } = this;
    const { inode, type, name } = decodeEntry(value);
    checkName(name);
    passing.entries++;
    this.totals.entries++;
    if (isDirectory(type)) passing.subdirectories++;
    const seed = passing.item?.nameSeed ?? 0;
    if (Math.floor(low / BUCKET_SLOTS) !== hashName(name, seed)) {
      this.findings.error(passing.inode, `entry ${low} stands where its name does not lead`);
    }
    this.graph.entry(passing.inode, inode, type);
  }

  private xattr(low: number, item: Uint8Array): void {
    const { inode } = this.passing;
    const { name, value } = decodeXattr(item);
    if (Math.floor(low / BUCKET_SLOTS) !== hashName(name, XATTR_SEED)) {
      this.findings.error(inode, `extended attribute ${low} stands where its name does not lead`);
    }
    if (value.kind === "inline") return;
    this.refer({ inode, ...value }, value.offset, value.length);
  }

  private extent(start: number, value: Uint8Array): void {
    const { passing } = this;
    const { segment, offset, storedBytes, checksum, skip, length } = decodeExtent(value);
    const { inode } = passing;
    const place = { segment, offset };
    const inBlock = length > 0 && skip + length <= storedBytes && storedBytes <= BLOCK_BYTES;
    if (!inBlock) this.findings.error(inode, `extent at ${start} is not in its block`, place);
    if (start < passing.extentsEnd)
      this.findings.error(inode, `extents overlap at ${start}`, place);
    passing.extentsEnd = start + length;
    passing.extentBytes += length;
    this.totals.extents++;
    this.refer({ inode, segment, offset, length: storedBytes, checksum }, offset + skip, length);
  }

  /** `used` bytes from `usedOffset` on are alive; the whole block must be there. */
  private refer(block: StoredBlock, usedOffset: number, used: number): void {
    const { inode, segment, offset, length } = block;
    this.live.add(segment, used);
    this.totals.dataBytes += used;
    const segmentBytes = this.segments.get(segment);
    const address = { segment, offset: usedOffset };
    if (segmentBytes === undefined) {
      this.findings.error(inode, `segment ${segment} does not exist`, address);
    } else if (offset + length > segmentBytes) {
      this.findings.error(inode, `data behind the end of segment ${segment}`, address);
    } else {
      this.blocks.push(block);
    }
  }

  private close(passing: Passing): void {
    const { inode, item, partial } = passing;
    if (inode === 0 || partial) return;
    if (item === null) return this.findings.error(inode, "items of an inode without attributes");
    if (item.allocatedBytes !== passing.extentBytes) {
      const text = `says ${item.allocatedBytes} bytes allocated, has ${passing.extentBytes}`;
      this.findings.error(inode, text);
    }
    if (isDirectory(item.mode)) this.closeDirectory(passing, item);
    else if (passing.entries > 0) this.findings.error(inode, "entries in what is not a directory");
    if (typeOf(item.mode) === S_IFLNK && item.size !== passing.symlinkBytes) {
      this.findings.error(inode, `a symlink of ${passing.symlinkBytes} bytes says ${item.size}`);
    }
    this.closeTruncation(passing, item);
  }

  private closeDirectory({ inode, entries, subdirectories }: Passing, item: InodeItem): void {
    if (item.size !== entries * ENTRY_BYTES) {
      this.findings.error(inode, `a directory of ${entries} entries says size ${item.size}`);
    }
    const links = item.links === 0 ? 0 : 2 + subdirectories;
    if (item.links !== links) {
      const text = `a directory of ${subdirectories} directories says ${item.links} links`;
      this.findings.error(inode, text);
    }
  }

  private closeTruncation({ inode, extentsEnd }: Passing, item: InodeItem): void {
    const pending = this.truncations.get(inode);
    this.truncations.delete(inode);
    if (isTruncating(item) !== (pending !== undefined)) {
      this.findings.error(inode, "its mark and the pending truncation do not agree");
    }
    if (!isTruncating(item) && extentsEnd > item.size) {
      this.findings.error(inode, `data up to ${extentsEnd}, behind its size ${item.size}`);
    }
  }
}

function newPassing(inode: number, partial: boolean): Passing {
  const sums = { entries: 0, subdirectories: 0, extentBytes: 0, extentsEnd: 0, symlinkBytes: 0 };
  return { inode, partial, item: null, ...sums };
}
