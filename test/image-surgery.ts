/**
 * Changing the image of a log and making every checksum right again: so that what is tested is the
 * checks behind the checksums. Node blocks are healed up to the root and the superblock, records up
 * the chain, segments in their headers.
 */
import { viewOf } from "../lib/codec.ts";
import { crc32c } from "../lib/crc32c.ts";
import type { Prng } from "../lib/prng.ts";
import { ChildItem, NODE_MAGIC, NodeHeader } from "../logfs/core/fs/node.ts";
import { KIND, RECORD_MAGIC, RecordHeader, SegmentHeader } from "../logfs/core/log/format.ts";
import { RECORD_HEADER_BYTES, recordBytes } from "../logfs/core/log/record.ts";
import type { DiskImage } from "./sim/disk-image.ts";

export interface PlacedRecord {
  readonly segment: number;
  readonly offset: number;
  /** As it was before anything was changed. */
  readonly header: RecordHeader;
}

interface Range {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
}

const RECORD_CHECKSUM_AT = RecordHeader.offsetOf("headerChecksum");
const SEGMENT_CHECKSUM_AT = SegmentHeader.offsetOf("headerChecksum");
/** Numbers at which something ends: of counts, lengths, offsets, addresses. */
const EDGES = [0, 1, 2, 16, 255, 4096, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

export class ImageSurgery {
  readonly records: readonly PlacedRecord[];
  private readonly image: DiskImage;
  private readonly before = new Map<number, Uint8Array>();

  /** `image` is changed in place. */
  constructor(image: DiskImage) {
    this.image = image;
    for (const segment of image.segments()) this.before.set(segment, image.read(segment).slice());
    this.records = [...this.before].flatMap(([segment, bytes]) => recordsIn(segment, bytes));
  }

  recordsOf(kind: number): PlacedRecord[] {
    return this.records.filter(({ header }) => header.kind === kind);
  }

  /** Changes bytes of a record's part; nothing is healed. */
  changePart(
    record: PlacedRecord,
    part: "header" | "metadata" | "body",
    change: (bytes: Uint8Array) => void,
  ): void {
    const { segment, from, to } = rangeOf(record, part);
    this.image.change(segment, (bytes) => change(bytes.subarray(from, to)));
  }

  changeSegmentHeader(segment: number, change: (bytes: Uint8Array) => void): void {
    this.image.change(segment, (bytes) => change(bytes.subarray(0, SegmentHeader.size)));
  }

  /** One child of some inner node gets the address of another node. False when there are none. */
  swapChildren(prng: Prng): boolean {
    const places = this.childPlaces();
    if (places.length < 2) return false;
    const [from, to] = [prng.pick(places), prng.pick(places)];
    const address = ChildItem.offsetOf("segment");
    const source = this.image.read(from.segment).slice(from.from + address, from.to);
    this.image.change(to.segment, (bytes) => bytes.set(source, to.from + address));
    return true;
  }

  private childPlaces(): Range[] {
    return this.blocks().flatMap(({ segment, from }) => {
      const view = viewOf(this.read(segment));
      if (view.getUint32(from, true) !== NODE_MAGIC) return [];
      const { level, count } = NodeHeader.decode(view, from);
      if (level === 0) return [];
      const first = from + NodeHeader.size;
      return Array.from({ length: count }, (_, i) => {
        const at = first + i * ChildItem.size;
        return { segment, from: at, to: at + ChildItem.size };
      });
    });
  }

  /** Makes all checksums right. */
  heal(): void {
    this.healBlocks();
    this.healChain();
  }

  private read(segment: number): Uint8Array {
    return this.before.get(segment) ?? new Uint8Array(0);
  }

  /** Nodes, and the tables of snapshots, where they stood before the change. */
  private blocks(): Range[] {
    return this.recordsOf(KIND.nodes).flatMap((record) => {
      const { segment, from, to } = rangeOf(record, "body");
      return blocksIn(this.read(segment), segment, from, to);
    });
  }

  /** A block whose bytes changed gets its new checksum everywhere, which changes others in turn. */
  private healBlocks(): void {
    const known = new Map(
      this.blocks().map((block) => [block, sumOf(this.read(block.segment), block)]),
    );
    for (let changed = true; changed; ) {
      changed = false;
      for (const [block, old] of known) {
        const sum = sumOf(this.image.read(block.segment), block);
        if (sum === old) continue;
        known.set(block, sum);
        this.replaceChecksum(old, sum);
        changed = true;
      }
    }
  }

  private replaceChecksum(old: number, sum: number): void {
    for (const record of [...this.recordsOf(KIND.nodes), ...this.recordsOf(KIND.checkpoint)]) {
      const part = record.header.kind === KIND.nodes ? "body" : "metadata";
      this.changePart(record, part, (bytes) => {
        const view = viewOf(bytes);
        for (let at = 0; at + 4 <= bytes.length; at++) {
          if (view.getUint32(at, true) === old) view.setUint32(at, sum, true);
        }
      });
    }
  }

  private healChain(): void {
    let previous = this.records[0]?.header.previousChecksum ?? 0;
    let segment = 0;
    for (const record of this.records) {
      if (record.segment !== segment) this.healSegment(record.segment, previous);
      segment = record.segment;
      previous = this.healRecord(record, previous);
    }
  }

  private healSegment(segment: number, previous: number): void {
    this.changeSegmentHeader(segment, (bytes) => {
      const view = viewOf(bytes);
      view.setUint32(SegmentHeader.offsetOf("previousChecksum"), previous, true);
      view.setUint32(SEGMENT_CHECKSUM_AT, crc32c(bytes.subarray(0, SEGMENT_CHECKSUM_AT)), true);
    });
  }

  private healRecord(record: PlacedRecord, previous: number): number {
    const bytes = this.image.read(record.segment);
    const sums = (["metadata", "body"] as const).map((part) => sumOf(bytes, rangeOf(record, part)));
    let sum = 0;
    this.changePart(record, "header", (header) => {
      const view = viewOf(header);
      view.setUint32(RecordHeader.offsetOf("previousChecksum"), previous, true);
      view.setUint32(RecordHeader.offsetOf("metadataChecksum"), sums[0] as number, true);
      view.setUint32(RecordHeader.offsetOf("bodyChecksum"), sums[1] as number, true);
      sum = crc32c(header.subarray(0, RECORD_CHECKSUM_AT));
      view.setUint32(RECORD_CHECKSUM_AT, sum, true);
    });
    return sum;
  }
}

/** One random change: a bit, a byte, a number at an edge, a number near what it was, a stretch moved. */
export function mutate(bytes: Uint8Array, prng: Prng): void {
  if (bytes.length < 8) return;
  const view = viewOf(bytes);
  const at = prng.below(bytes.length - 7);
  const roll = prng.float();
  if (roll < 0.2) bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
  else if (roll < 0.35) bytes[at] = prng.below(256);
  else if (roll < 0.55) view.setUint32(at, prng.pick(EDGES), true);
  else if (roll < 0.65) view.setUint16(at, prng.pick(EDGES) & 0xffff, true);
  else if (roll < 0.75)
    view.setBigUint64(at, BigInt(prng.pick([0, 1, 2 ** 48, 2 ** 53 - 1])), true);
  else if (roll < 0.9)
    view.setUint32(at, view.getUint32(at, true) + prng.pick([-1, 1, 8, -8]), true);
  else bytes.copyWithin(at, prng.below(bytes.length), prng.below(bytes.length));
}

function recordsIn(segment: number, bytes: Uint8Array): PlacedRecord[] {
  const found: PlacedRecord[] = [];
  const view = viewOf(bytes);
  for (let offset = SegmentHeader.size; offset + RECORD_HEADER_BYTES <= bytes.length; ) {
    if (view.getUint32(offset, true) !== RECORD_MAGIC) break;
    const header = RecordHeader.decode(view, offset);
    found.push({ segment, offset, header: { ...header, logId: header.logId.slice() } });
    offset += recordBytes(header.metadataBytes, header.bodyBytes);
  }
  return found;
}

function rangeOf({ segment, offset, header }: PlacedRecord, part: string): Range {
  const metadataAt = offset + RECORD_HEADER_BYTES;
  const bodyAt = metadataAt + header.metadataBytes;
  if (part === "header") return { segment, from: offset, to: metadataAt };
  if (part === "metadata") return { segment, from: metadataAt, to: bodyAt };
  return { segment, from: bodyAt, to: bodyAt + header.bodyBytes };
}

/** Nodes say how long they are; what is left is taken for one block. */
function blocksIn(bytes: Uint8Array, segment: number, from: number, to: number): Range[] {
  const view = viewOf(bytes);
  const blocks: Range[] = [];
  for (let at = from; at < to; ) {
    const isNode = to - at >= NodeHeader.size && view.getUint32(at, true) === NODE_MAGIC;
    const end = isNode ? at + NodeHeader.decode(view, at).bytes : to;
    blocks.push({ segment, from: at, to: end });
    at = end;
  }
  return blocks;
}

function sumOf(bytes: Uint8Array, { from, to }: Range): number {
  return from === to ? 0 : crc32c(bytes.subarray(from, to));
}
