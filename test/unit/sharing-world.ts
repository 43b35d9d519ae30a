/**
 * Files of one volume without a log: the operations on file data run against the real tree, and the
 * records' bodies stand in memory. `flaws` recomputes from the extents alone what the file system
 * keeps: who owns which block, and how many bytes of each segment are alive.
 */
import { NodeCache } from "../../logfs/core/fs/cache.ts";
import { copyPart } from "../../logfs/core/fs/copying.ts";
import { loadInode, storeInode } from "../../logfs/core/fs/inodes.ts";
import {
  decodeExtent,
  decodeInode,
  decodeOwners,
  type ExtentItem,
  FLAG_SHARED,
  inodeOf,
  ITEM,
  kindOf,
  newInode,
  sharedSegmentOf,
} from "../../logfs/core/fs/items.ts";
import { S_IFREG } from "../../logfs/core/fs/modes.ts";
import { planRead } from "../../logfs/core/fs/reading.ts";
import { collectOrphan, dropLink } from "../../logfs/core/fs/removal.ts";
import { moveShared } from "../../logfs/core/fs/sharing-move.ts";
import { VolumeState } from "../../logfs/core/fs/state.ts";
import type { Change } from "../../logfs/core/fs/update.ts";
import { TreeTransaction } from "../../logfs/core/fs/transaction.ts";
import { continueTruncation, PENDING, resize } from "../../logfs/core/fs/truncation.ts";
import type { Slot } from "../../logfs/core/fs/node.ts";
import { allocatePart, type Allocation, writePart } from "../../logfs/core/fs/writing.ts";
import { concatBytes } from "../../lib/bytes.ts";

const NOW = { seconds: 1, nanoseconds: 0 };
const SEGMENT_BYTES = 2 ** 21;
const IDENTITY = { volumeId: new Uint8Array(16), createdMicros: 0 };

interface Extent extends ExtentItem {
  readonly inode: number;
  readonly start: number;
}

export class SharingWorld {
  readonly state = VolumeState.empty(IDENTITY, new NodeCache(2 ** 24));
  private readonly segments = new Map<number, Uint8Array>();
  /** Owner that the record of a block names, by the block's address. */
  private readonly recorded = new Map<string, string>();
  private segment = 1;
  private offset = 4096;

  /** Runs one operation as one record. */
  change<T>(operation: (transaction: TreeTransaction) => T): T {
    const transaction = new TreeTransaction(this.state.tree, this.state.counters.nextInode);
    const value = operation(transaction);
    const update = transaction.prepare();
    if (update === null) return value;
    if (this.offset + transaction.bodyBytes > SEGMENT_BYTES) {
      this.segment++;
      this.offset = 4096;
    }
    const { segment, offset } = this;
    transaction.locate({ segment, bodyOffset: offset, offset, sequence: 0 });
    this.image(segment).set(concatBytes(transaction.body), offset);
    this.noteRecorded(update.changes);
    this.offset += transaction.bodyBytes + 100;
    this.state.apply(update, { segment, bytes: transaction.bodyBytes, writtenSeconds: 0 });
    return value;
  }

  make(): number {
    return this.change((transaction) => {
      const inode = transaction.allocateInode();
      const fields = { mode: S_IFREG | 0o644, uid: 0, gid: 0, links: 1 };
      storeInode(transaction, inode, newInode(fields, NOW));
      transaction.adjust({ inodes: 1 });
      return inode;
    });
  }

  write(inode: number, offset: number, data: Uint8Array): void {
    const writer = { inode, append: false, privilege: "root" } as const;
    for (let at = 0; at < data.length; ) {
      at += this.unlessPending(inode, (transaction) =>
        writePart(transaction, writer, offset + at, data.subarray(at), NOW),
      );
    }
  }

  /** Gives what copy_file_range gives; crowded blocks are copied. */
  copy(source: number, sourceOffset: number, to: number, targetOffset: number, length: number) {
    const target = { inode: to, append: false, privilege: "root" } as const;
    const request = { source, sourceOffset, target, targetOffset, length };
    const copied = this.unlessPending(to, (transaction) => copyPart(transaction, request, NOW));
    if (copied.kind === "crowded") {
      this.write(to, targetOffset, this.read(source, sourceOffset, copied.bytes));
    }
    return copied;
  }

  allocate(inode: number, request: Allocation): void {
    const writer = { inode, append: false, privilege: "root" } as const;
    const end = request.offset + request.length;
    for (let at = request.offset; at < end; ) {
      const part = { ...request, offset: at, length: end - at };
      at = this.unlessPending(inode, (transaction) => allocatePart(transaction, writer, part, NOW));
    }
  }

  truncate(inode: number, size: number): void {
    this.unlessPending(inode, (transaction) => {
      const item = loadInode(transaction, inode);
      const pending = resize(transaction, inode, item, size);
      storeInode(transaction, inode, item);
      return pending;
    });
  }

  remove(inode: number): void {
    const removal = this.change((transaction) => dropLink(transaction, inode, () => false, NOW));
    if (removal.fate === "removed") return;
    while (!this.change((transaction) => collectOrphan(transaction, inode, () => false))) continue;
  }

  /** Moves the shared block number `which`, as the cleaner does; gives the records that it took. */
  moveOne(which: number, afterRecord: () => void = () => {}): number {
    const blocks = this.sharedBlocks();
    const block = blocks[which % Math.max(1, blocks.length)];
    if (block === undefined) return 0;
    const stored = this.stored(block).slice();
    let records = 0;
    for (let at = 0; at < block.storedBytes; records++) {
      at = this.change((transaction) => moveShared(transaction, block, stored, at));
      afterRecord();
    }
    return records;
  }

  read(inode: number, offset: number, length: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let next: number | undefined = offset;
    while (next !== undefined) {
      const plan = planRead(this.state.tree, inode, next, offset + length - next);
      for (const { extent, skip, length: bytes } of plan.pieces) {
        if (extent === null) parts.push(new Uint8Array(bytes));
        else parts.push(this.stored(extent).subarray(skip, skip + bytes));
      }
      next = plan.next;
    }
    return concatBytes(parts);
  }

  /** The bytes of a stored block. */
  stored({ segment, offset, storedBytes }: Pick<ExtentItem, "segment" | "offset" | "storedBytes">) {
    return this.image(segment).subarray(offset, offset + storedBytes);
  }

  sizeOf(inode: number): number {
    return loadInode(this.state.tree, inode).size;
  }

  extentsOf(inode: number): number {
    return this.extents().filter((extent) => extent.inode === inode).length;
  }

  /** What is kept and is not what the extents say; empty when all is well. */
  flaws(): string[] {
    const extents = this.extents();
    const live = this.liveOf(extents);
    const segments = new Set([...live.keys(), ...this.state.live.entries.map((e) => e.segment)]);
    const flaws = [...segments]
      .filter((segment) => this.state.live.of(segment) !== (live.get(segment) ?? 0))
      .map(
        (segment) =>
          `segment ${segment}: ${this.state.live.of(segment)} live bytes, ${live.get(segment) ?? 0} covered`,
      );
    const dataBytes = extents.reduce((sum, { length }) => sum + length, 0);
    const counted = this.state.counters.dataBytes;
    if (counted !== dataBytes) flaws.push(`counts ${counted} bytes of data, has ${dataBytes}`);
    const owners = ownersBy(extents);
    flaws.push(...this.ownerFlaws(owners));
    return [...flaws, ...this.inodeFlaws(extents, this.ownerItems())];
  }

  private noteRecorded(changes: readonly Change[]): void {
    for (const { high, low, value } of changes) {
      if (value === null || kindOf(high) !== ITEM.extent) continue;
      const { segment, offset, skip } = decodeExtent(value);
      if (segment !== this.segment || offset < this.offset) continue;
      this.recorded.set(`${segment}:${offset}`, `${inodeOf(high)}@${low - skip}`);
    }
  }

  /** A block without an item has the one owner that its record names; an item lists all owners. */
  private ownerFlaws(owners: Readonly<Record<string, string[]>>): string[] {
    const items = this.ownerItems();
    const flaws: string[] = [];
    for (const [block, found] of Object.entries(owners)) {
      const listed = items[block] ?? [this.recorded.get(block)];
      if (JSON.stringify(listed) !== JSON.stringify(found)) {
        flaws.push(`block ${block}: owners ${listed.join(" ")} are ${found.join(" ")}`);
      }
    }
    const empty = Object.keys(items).filter((block) => !(block in owners));
    return [...flaws, ...empty.map((block) => `block ${block} has an item and no owner`)];
  }

  /** One extent of each. */
  sharedBlocks(): Extent[] {
    const owned = this.ownerItems();
    const blocks = new Map<string, Extent>();
    for (const extent of this.extents()) {
      const key = `${extent.segment}:${extent.offset}`;
      if (key in owned) blocks.set(key, extent);
    }
    return [...blocks.values()];
  }

  private inodeFlaws(extents: readonly Extent[], owners: Record<string, string[]>): string[] {
    const flaws: string[] = [];
    const sharing = new Set(
      Object.values(owners).flatMap((all) => all.map((one) => Number(one.split("@")[0]))),
    );
    this.each((high, _low, value) => {
      if (kindOf(high) !== ITEM.attributes) return;
      const [inode, item] = [inodeOf(high), decodeInode(value)];
      const own = extents.filter((extent) => extent.inode === inode);
      const allocated = own.reduce((sum, { length }) => sum + length, 0);
      if (item.allocatedBytes !== allocated)
        flaws.push(`inode ${inode}: ${item.allocatedBytes} allocated, has ${allocated}`);
      if (sharing.has(inode) && (item.flags & FLAG_SHARED) === 0)
        flaws.push(`inode ${inode} is not flagged`);
      const tail = own.find(({ start, length }) => start + length > item.size);
      if (tail !== undefined) flaws.push(`inode ${inode} has data behind its end`);
    });
    return flaws;
  }

  private ownerItems(): Record<string, string[]> {
    const found: Record<string, string[]> = {};
    this.each((high, low, value) => {
      const segment = sharedSegmentOf(high);
      if (segment === undefined) return;
      found[`${segment}:${low}`] = decodeOwners(value)
        .map(({ inode, start }) => `${inode}@${start}`)
        .toSorted();
    });
    return sorted(found);
  }

  /** Covered bytes by segment, each counted once. */
  private liveOf(extents: readonly Extent[]): Map<number, number> {
    const covered = new Map<number, Uint8Array>();
    for (const { segment, offset, skip, length } of extents) {
      const bytes = covered.get(segment) ?? new Uint8Array(SEGMENT_BYTES);
      covered.set(segment, bytes.fill(1, offset + skip, offset + skip + length));
    }
    const counts = [...covered].map(([segment, bytes]): [number, number] => [
      segment,
      bytes.reduce((sum, byte) => sum + byte, 0),
    ]);
    return new Map(counts);
  }

  private extents(): Extent[] {
    const found: Extent[] = [];
    this.each((high, low, value) => {
      if (kindOf(high) === ITEM.extent) {
        found.push({ ...decodeExtent(value), inode: inodeOf(high), start: low });
      }
    });
    return found;
  }

  private each(visit: (high: number, low: number, value: Uint8Array) => void): void {
    const walk = (slot: Slot): void => {
      const { node } = slot;
      if (node === null) throw new Error("everything is in memory");
      for (const child of node.children) walk(child);
      if (node.level > 0) return;
      for (const [i, high] of node.highs.entries()) {
        visit(high, node.lows[i] as number, node.valueAt(i));
      }
    };
    walk(this.state.tree.root);
  }

  private image(segment: number): Uint8Array {
    const image = this.segments.get(segment) ?? new Uint8Array(SEGMENT_BYTES);
    this.segments.set(segment, image);
    return image;
  }

  private unlessPending<T>(
    inode: number,
    operation: (transaction: TreeTransaction) => T | typeof PENDING,
  ): T {
    for (;;) {
      const value = this.change(operation);
      if (value !== PENDING) return value;
      this.change((transaction) => continueTruncation(transaction, inode));
    }
  }
}

/** Owners of each block that has several, by its address. */
function ownersBy(extents: readonly Extent[]): Record<string, string[]> {
  const all = new Map<string, Set<string>>();
  for (const { segment, offset, inode, start, skip } of extents) {
    const key = `${segment}:${offset}`;
    all.set(key, (all.get(key) ?? new Set()).add(`${inode}@${start - skip}`));
  }
  return sorted(Object.fromEntries([...all].map(([key, own]) => [key, [...own].toSorted()])));
}

function sorted(record: Record<string, string[]>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
