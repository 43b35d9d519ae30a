/**
 * One operation's changes, laid over the tree: its own reads see them, nobody else's do. The volume
 * turns them into a record (`update`), and applies them to the tree when the log has taken it.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import { combineCrc32c, crc32c } from "../../../lib/crc32c.ts";
import { fail, SmfsError } from "../../../lib/errors.ts";
import type { Appended } from "../log/api.ts";
import type { Item, Transaction } from "./api.ts";
import { keyAt, type Keys, lowerBound } from "./node.ts";
import { INODES_END } from "./snapshot-numbers.ts";
import type { Tree } from "./tree.ts";
import { type Change, type FreedRange, type Update, UpdateItem } from "./update.ts";

/** Largest sum of an operation's items, bytes: an operation is one record. Callers batch above it. */
export const MAX_OPERATION_BYTES = 4 * 2 ** 20;

/** A value that gets the address of something in the record's body. */
interface Located {
  readonly value: Uint8Array;
  readonly at: number;
  readonly bodyOffset: number;
}

/** An item whose key is the address of something in the record's body. */
interface Addressed {
  readonly keyOf: (segment: number) => number;
  readonly bodyOffset: number;
  readonly change: { high: number; low: number; readonly value: Uint8Array };
}

/** A segment that no record is in yet: keys of addresses in it are behind those of all addresses. */
const LAST_SEGMENT = 2 ** 32 - 1;

export class TreeTransaction implements Transaction {
  readonly body: Uint8Array[] = [];
  bodyBytes = 0;
  bodyChecksum = 0;
  /** When the body's data was first written, seconds since 1970; null: now. */
  writtenSeconds: number | null = null;
  private readonly tree: Tree;
  private readonly highs: number[] = [];
  private readonly lows: number[] = [];
  /** null: deleted. */
  private readonly values: (Uint8Array | null)[] = [];
  private readonly keys: Keys = { highs: this.highs, lows: this.lows };
  private readonly frees: FreedRange[] = [];
  private readonly located: Located[] = [];
  private readonly addressed: Addressed[] = [];
  private readonly firstInode: number;
  private nextInode: number;
  private itemBytes = 0;
  private inodes = 0;
  private dataBytes = 0;

  constructor(tree: Tree, nextInode: number) {
    this.tree = tree;
    this.firstInode = nextInode;
    this.nextInode = nextInode;
  }

  get(high: number, low: number): Uint8Array | undefined {
    const at = lowerBound(this.keys, high, low);
    if (keyAt(this.keys, at, high, low)) return this.values[at] ?? undefined;
    return this.tree.get(high, low);
  }

  floor(high: number, low: number): Item | undefined {
    const own = this.ownFloor(high, low);
    let stored = this.tree.floor(high, low);
    const ownLow = own?.low ?? -1;
    while (stored !== undefined && stored.low > ownLow) {
      // Not its own latest word on this key: either untouched, or deleted by this operation.
      if (!keyAt(this.keys, lowerBound(this.keys, high, stored.low), high, stored.low)) {
        return stored;
      }
      stored = stored.low === 0 ? undefined : this.tree.floor(high, stored.low - 1);
    }
    return own;
  }

  scan(
    high: number,
    from: number,
    to: number,
    visit: (low: number, value: Uint8Array) => boolean,
  ): void {
    let next = from;
    let wanted = true;
    this.tree.scan(high, from, to, (low, stored) => {
      wanted = this.scanOwn(high, next, low, visit);
      if (!wanted) return false;
      next = low + 1;
      // `visit` may change items: the overlay is searched again for each.
      const at = lowerBound(this.keys, high, low);
      const value = keyAt(this.keys, at, high, low)
        ? (this.values[at] as Uint8Array | null)
        : stored;
      wanted = value === null || visit(low, value);
      return wanted;
    });
    if (wanted) this.scanOwn(high, next, to, visit);
  }

  put(high: number, low: number, value: Uint8Array): void {
    this.set(high, low, this.copyOf(value));
  }

  putLocated(high: number, low: number, value: Uint8Array, at: number, bodyOffset: number): void {
    assert(at >= 0 && at + 8 <= value.length, "the address has room in the value");
    assert(bodyOffset < this.bodyBytes, "the address is one of this operation's body");
    const copy = this.copyOf(value);
    this.set(high, low, copy);
    this.located.push({ value: copy, at, bodyOffset });
  }

  putAtAddress(keyOf: (segment: number) => number, value: Uint8Array, bodyOffset: number): void {
    const last = this.addressed.at(-1);
    assert(bodyOffset < this.bodyBytes, "the address is one of this operation's body");
    assert(last === undefined || last.bodyOffset < bodyOffset, "addresses come in order");
    this.charge(UpdateItem.size + value.length);
    const change = { high: keyOf(LAST_SEGMENT), low: bodyOffset, value: this.copyOf(value) };
    this.addressed.push({ keyOf, bodyOffset, change });
  }

  delete(high: number, low: number): void {
    this.set(high, low, null);
  }

  addBody(bytes: Uint8Array, checksum = crc32c(bytes)): number {
    const offset = this.bodyBytes;
    this.bodyChecksum =
      offset === 0 ? checksum : combineCrc32c(this.bodyChecksum, checksum, bytes.length);
    this.body.push(bytes);
    this.bodyBytes += bytes.length;
    return offset;
  }

  dateBody(writtenSeconds: number): void {
    this.writtenSeconds = writtenSeconds;
  }

  free(segment: number, offset: number, length: number): void {
    this.frees.push({ segment, offset, length });
  }

  allocateInode(): number {
    if (this.nextInode >= INODES_END) fail("ENOSPC");
    return this.nextInode++;
  }

  adjust(change: { inodes?: number; dataBytes?: number }): void {
    this.inodes += change.inodes ?? 0;
    this.dataBytes += change.dataBytes ?? 0;
  }

  /**
   * What the record will say; null when there is nothing to say. Makes sure that applying it needs
   * nothing that is not in memory (throws `Miss`), and leaves out deletes of what is not there.
   */
  prepare(): Update | null {
    const changes: Change[] = [];
    for (let i = 0; i < this.highs.length; i++) {
      const [high, low] = [this.highs[i] as number, this.lows[i] as number];
      const value = this.values[i] as Uint8Array | null;
      const found = this.tree.prepare(high, low, value === null);
      if (found || value !== null) changes.push({ high, low, value });
    }
    for (const { change } of this.addressed) {
      this.tree.prepare(change.high, change.low, false);
      changes.push(change);
    }
    const { frees, inodes, dataBytes, nextInode } = this;
    const counted = inodes !== 0 || dataBytes !== 0 || nextInode !== this.firstInode;
    if (!counted && changes.length + frees.length + this.body.length === 0) return null;
    return { changes, frees, inodes, dataBytes, nextInode };
  }

  /** Completes the values and keys that point into the body, now that the record has its address. */
  locate(at: Appended): void {
    for (const { keyOf, bodyOffset, change } of this.addressed) {
      change.high = keyOf(at.segment);
      change.low = at.bodyOffset + bodyOffset;
    }
    for (const { value, at: where, bodyOffset } of this.located) {
      const view = viewOf(value);
      view.setUint32(where, at.segment, true);
      view.setUint32(where + 4, at.bodyOffset + bodyOffset, true);
    }
  }

  private copyOf(value: Uint8Array): Uint8Array {
    const limit = this.tree.maxValueBytes;
    assert(value.length <= limit, `a value of ${value.length} bytes, at most ${limit}`);
    return value.slice();
  }

  private set(high: number, low: number, value: Uint8Array | null): void {
    const at = lowerBound(this.keys, high, low);
    this.charge(UpdateItem.size + (value?.length ?? 0));
    if (keyAt(this.keys, at, high, low)) {
      this.values[at] = value;
      return;
    }
    this.highs.splice(at, 0, high);
    this.lows.splice(at, 0, low);
    this.values.splice(at, 0, value);
  }

  private charge(bytes: number): void {
    this.itemBytes += bytes;
    if (this.itemBytes > MAX_OPERATION_BYTES) {
      throw new SmfsError(
        "TOO_LARGE",
        `an operation changes more than ${MAX_OPERATION_BYTES} bytes`,
      );
    }
  }

  private ownFloor(high: number, low: number): Item | undefined {
    const start = lowerBound(this.keys, high, low);
    let at = keyAt(this.keys, start, high, low) ? start : start - 1;
    for (; at >= 0 && this.highs[at] === high; at--) {
      const value = this.values[at];
      if (value) return { high, low: this.lows[at] as number, value };
    }
    return undefined;
  }

  /** Visits own items with from ≤ low < to; false when `visit` wants no more. */
  private scanOwn(
    high: number,
    from: number,
    to: number,
    visit: (low: number, value: Uint8Array) => boolean,
  ): boolean {
    let at = lowerBound(this.keys, high, from);
    while (this.highs[at] === high && (this.lows[at] as number) < to) {
      const low = this.lows[at] as number;
      const value = this.values[at];
      if (value && !visit(low, value)) return false;
      at = lowerBound(this.keys, high, low + 1);
    }
    return true;
  }
}
