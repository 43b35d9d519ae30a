/**
 * Verifying what files refer to, in the order in which it stands on the device. References to blocks
 * are collected while the tree is walked, as many as memory allows; when more come, those with the
 * lower half of the addresses are kept, and the caller walks again for the rest.
 *
 * Blocks that stand close together are read together. A block that several extents refer to, of
 * however many snapshots, is read once, and each of them is reported when it is damaged.
 */
import { crc32c } from "../../../lib/crc32c.ts";
import { messageOf } from "../../../lib/errors.ts";
import type { Address, LogReader } from "../log/api.ts";
import type { CheckTotals, Findings } from "./check-findings.ts";
import { isBoundaryFailure } from "./check-walk.ts";
import type { SharedOwner } from "./items.ts";
import { readLog } from "./reading-log.ts";

/** Bytes that an item refers to, to be read and compared with their checksum. */
export interface StoredBlock extends Address {
  readonly inode: number;
  readonly length: number;
  readonly checksum: number;
  /** Bytes of the file that the item has there; for an attribute's value both are 0. */
  readonly fileOffset: number;
  readonly fileBytes: number;
  /** Bytes of the block before the part used. */
  readonly skip: number;
}

/** A block that extents of several owners (`sharing.ts`) point into. */
export interface BlockInUse extends Address {
  /** A snapshot's name; null: the active tree. */
  readonly tree: string | null;
  readonly owners: readonly SharedOwner[];
}

/** Of the arrays below, for one block, and of the order that sorting needs. */
const BLOCK_ENTRY_BYTES = 4 * 7 + 8 * 2 + 4;
const MIN_BLOCKS = 64;
/** One read, at most. */
const READ_BYTES = 4 * 2 ** 20;
/** Bytes between two blocks that are read and not used, at most: a seek costs more. */
const GAP_BYTES = 128 * 1024;

const START: Address = { segment: 0, offset: 0 };
const END: Address = { segment: Infinity, offset: 0 };

export class BlockQueue {
  /** It is about blocks at addresses from ≤ address < end. */
  readonly from: Address;
  end: Address = END;
  private count = 0;
  private readonly capacity: number;
  private readonly segments: Uint32Array;
  private readonly offsets: Uint32Array;
  private readonly lengths: Uint32Array;
  private readonly checksums: Uint32Array;
  private readonly fileBytes: Uint32Array;
  private readonly trees: Uint32Array;
  private readonly skips: Uint32Array;
  private readonly inodes: Float64Array;
  private readonly fileOffsets: Float64Array;
  /** Names of the trees that blocks were collected from; the number in `trees` is an index. */
  private readonly treeNames: (string | null)[] = [];

  constructor(memoryBytes: number, from: Address = START) {
    this.from = from;
    const capacity = Math.max(MIN_BLOCKS, Math.floor(memoryBytes / BLOCK_ENTRY_BYTES));
    this.capacity = capacity;
    this.segments = new Uint32Array(capacity);
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
    this.checksums = new Uint32Array(capacity);
    this.fileBytes = new Uint32Array(capacity);
    this.trees = new Uint32Array(capacity);
    this.skips = new Uint32Array(capacity);
    this.inodes = new Float64Array(capacity);
    this.fileOffsets = new Float64Array(capacity);
  }

  startTree(name: string | null): void {
    this.treeNames.push(name);
  }

  /** Takes it when it is one of its range; makes room by giving up the upper half of the range. */
  add(block: StoredBlock): void {
    if (isBefore(block, this.from) || !isBefore(block, this.end)) return;
    if (this.count === this.capacity) {
      this.halve();
      return this.add(block);
    }
    const at = this.count++;
    this.segments[at] = block.segment;
    this.offsets[at] = block.offset;
    this.lengths[at] = block.length;
    this.checksums[at] = block.checksum;
    this.fileBytes[at] = block.fileBytes;
    this.skips[at] = block.skip;
    this.inodes[at] = block.inode;
    this.fileOffsets[at] = block.fileOffset;
    this.trees[at] = this.treeNames.length - 1;
  }

  /** Reads everything collected and compares it with its checksums. */
  async verify(
    log: Pick<LogReader, "read">,
    findings: Findings,
    totals: CheckTotals,
    onProgress: () => void,
  ): Promise<void> {
    const order = this.order();
    for (let first = 0; first < order.length; ) {
      const behind = this.runEnd(order, first);
      await this.verifyRun(log, order.subarray(first, behind), findings, totals);
      onProgress();
      first = behind;
    }
  }

  /** Blocks that more than one owner of a tree points into, in order of addresses. */
  *inUseByMany(): Generator<BlockInUse> {
    const order = this.order();
    for (let first = 0; first < order.length; ) {
      const at = this.block(order[first] as number);
      let behind = first + 1;
      while (behind < order.length && isSamePlace(at, this.block(order[behind] as number)))
        behind++;
      if (behind - first > 1) yield* this.manyOwners(at, order.subarray(first, behind));
      first = behind;
    }
  }

  private *manyOwners(at: Address, group: Uint32Array): Generator<BlockInUse> {
    const { segment, offset } = at;
    for (const tree of new Set(Array.from(group, (index) => this.trees[index] as number))) {
      const owners = new Map<string, SharedOwner>();
      for (const index of group) {
        const { inode, fileOffset, fileBytes, skip } = this.block(index);
        if (this.trees[index] !== tree || fileBytes === 0) continue;
        const start = fileOffset - skip;
        owners.set(`${inode} ${start}`, { inode, start });
      }
      const name = this.treeNames[tree] ?? null;
      if (owners.size > 1) yield { segment, offset, tree: name, owners: [...owners.values()] };
    }
  }

  private order(): Uint32Array {
    const order = Uint32Array.from({ length: this.count }, (_, i) => i);
    return order.sort((a, b) => this.compare(a, b));
  }

  private compare(a: number, b: number): number {
    const bySegment = (this.segments[a] as number) - (this.segments[b] as number);
    return bySegment || (this.offsets[a] as number) - (this.offsets[b] as number);
  }

  /** Index behind the blocks that one read covers, from `first` on. */
  private runEnd(order: Uint32Array, first: number): number {
    const start = this.block(order[first] as number);
    let end = start.offset + start.length;
    let at = first + 1;
    for (; at < order.length; at++) {
      const next = this.block(order[at] as number);
      if (next.segment !== start.segment || next.offset > end + GAP_BYTES) break;
      if (next.offset + next.length > start.offset + READ_BYTES) break;
      end = Math.max(end, next.offset + next.length);
    }
    return at;
  }

  private async verifyRun(
    log: Pick<LogReader, "read">,
    run: Uint32Array,
    findings: Findings,
    totals: CheckTotals,
  ): Promise<void> {
    const blocks = Array.from(run, (index) => this.block(index));
    const start = blocks[0] as StoredBlock;
    const end = Math.max(...blocks.map(({ offset, length }) => offset + length));
    const bytes = await tryRead(log, start, end - start.offset);
    let last: { block: StoredBlock; problem: string | null } | null = null;
    for (const [i, block] of blocks.entries()) {
      const isSame = last !== null && sameBlock(last.block, block);
      if (!isSame) {
        const own = bytes instanceof Uint8Array ? sliceOf(bytes, start, block) : null;
        // One bad sector must not cost its neighbours: each is read by itself then.
        const problem = problemOf(own ?? (await tryRead(log, block, block.length)), block);
        last = { block, problem };
        totals.verifiedBlocks++;
        totals.verifiedBytes += block.length;
      }
      if (last?.problem) this.report(run[i] as number, block, last.problem, findings);
    }
  }

  private report(index: number, block: StoredBlock, problem: string, findings: Findings): void {
    const { inode, segment, offset, fileOffset, fileBytes } = block;
    findings.snapshot = this.treeNames[this.trees[index] as number] ?? null;
    const range = fileBytes === 0 ? null : { from: fileOffset, to: fileOffset + fileBytes };
    const where = range === null ? "an attribute's value" : `bytes ${range.from}–${range.to - 1}`;
    const details = { address: { segment, offset }, range };
    findings.error("data", inode, `${where}: ${problem}`, details);
    findings.snapshot = null;
  }

  private block(index: number): StoredBlock {
    return {
      segment: this.segments[index] as number,
      offset: this.offsets[index] as number,
      length: this.lengths[index] as number,
      checksum: this.checksums[index] as number,
      inode: this.inodes[index] as number,
      fileOffset: this.fileOffsets[index] as number,
      fileBytes: this.fileBytes[index] as number,
      skip: this.skips[index] as number,
    };
  }

  /** Keeps the lower half of what was collected, and of the range. */
  private halve(): void {
    const order = this.order();
    const { segment, offset } = this.block(order[order.length >>> 1] as number);
    this.end = { segment, offset };
    const kept = Array.from(order, (index) => index).filter((index) =>
      isBefore(this.block(index), this.end),
    );
    if (kept.length === 0) this.end = { segment, offset: offset + 1 };
    else this.keep(kept.toSorted((a, b) => a - b));
  }

  private keep(ascending: readonly number[]): void {
    for (const [to, from] of ascending.entries()) {
      for (const array of this.arrays()) array[to] = array[from] as number;
    }
    this.count = ascending.length;
  }

  private arrays(): (Uint32Array | Float64Array)[] {
    const { segments, offsets, lengths, checksums, fileBytes, trees, skips } = this;
    const { inodes, fileOffsets } = this;
    return [segments, offsets, lengths, checksums, fileBytes, trees, skips, inodes, fileOffsets];
  }
}

function sliceOf(bytes: Uint8Array, start: Address, block: StoredBlock): Uint8Array {
  const from = block.offset - start.offset;
  return bytes.subarray(from, from + block.length);
}

function problemOf(bytes: Uint8Array | Error, { checksum, length }: StoredBlock): string | null {
  if (bytes instanceof Error) return messageOf(bytes);
  return crc32c(bytes) === checksum ? null : `the checksum of ${length} stored bytes differs`;
}

async function tryRead(
  log: Pick<LogReader, "read">,
  { segment, offset }: Address,
  length: number,
): Promise<Uint8Array | Error> {
  try {
    return await readLog(log, { segment, offset }, length);
  } catch (error) {
    if (isBoundaryFailure(error)) return error;
    throw error;
  }
}

function isSamePlace(a: Address, b: Address): boolean {
  return a.segment === b.segment && a.offset === b.offset;
}

function sameBlock(a: StoredBlock, b: StoredBlock): boolean {
  return isSamePlace(a, b) && a.length === b.length && a.checksum === b.checksum;
}

function isBefore(a: Address, b: Address): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}
