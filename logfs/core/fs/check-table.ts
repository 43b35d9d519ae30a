/**
 * What a check notes of each inode, in bounded memory: an open-addressing table of typed arrays for
 * the inodes from `from` on, as many as fit. When more come it keeps the lower half of them and
 * lowers `end`; the caller walks the tree again for the rest. So a million inodes take one walk and
 * 50 MB, a billion many walks and the same.
 */
import { assert } from "../../../lib/assert.ts";

/** Bits of `marks`. */
export const MARK = {
  /** An orphan item names it. */
  orphan: 1,
  /** Its attributes say that a truncation is pending. */
  truncating: 2,
  /** A truncation item names it. */
  truncation: 4,
  /** Leads to the root; leads to nothing. */
  rooted: 8,
  lost: 16,
} as const;

/** Of the arrays below, for one slot. */
const SLOT_BYTES = 8 + 8 + 8 + 4 + 4 + 1 + 1 + 1;
const FIRST_SLOTS = 64;
/** Slots that may be taken: linear probing stays short. */
const LOAD = 0.7;

export class InodeTable {
  /** It is about inodes from ≤ inode < end. */
  readonly from: number;
  end = Infinity;
  count = 0;
  /** 0: an empty slot. There is no inode 0. */
  inodes = new Float64Array(FIRST_SLOTS);
  parent = new Float64Array(FIRST_SLOTS);
  namedIn = new Float64Array(FIRST_SLOTS);
  links = new Uint32Array(FIRST_SLOTS);
  names = new Uint32Array(FIRST_SLOTS);
  /** st_mode's type bits >> 12, as the inode says and as its last entry says; 0: not seen. */
  type = new Uint8Array(FIRST_SLOTS);
  namedType = new Uint8Array(FIRST_SLOTS);
  marks = new Uint8Array(FIRST_SLOTS);
  private readonly maxCount: number;

  constructor(from: number, memoryBytes: number) {
    this.from = from;
    // Growing holds the old arrays beside the new, twice as long.
    const slots = Math.max(2 * FIRST_SLOTS, memoryBytes / SLOT_BYTES / 1.5);
    this.maxCount = Math.floor((2 ** Math.floor(Math.log2(slots)) - 1) * LOAD);
  }

  /** Of an inode that the table is about, made when it is not there; −1 for any other. */
  slotOf(inode: number): number {
    if (inode < this.from || inode >= this.end || inode === 0) return -1;
    const slot = this.find(inode);
    if (this.inodes[slot] === inode) return slot;
    if (this.count >= this.maxCount) this.halve();
    else if (this.count >= Math.floor(this.inodes.length * LOAD))
      this.rehash(2 * this.inodes.length);
    else return this.occupy(slot, inode);
    return this.slotOf(inode);
  }

  /** −1 when it is not there. */
  lookup(inode: number): number {
    const slot = this.find(inode);
    return inode !== 0 && this.inodes[slot] === inode ? slot : -1;
  }

  covers(inode: number): boolean {
    return inode >= this.from && inode < this.end;
  }

  /** Inodes that are there, ascending. */
  sorted(): Float64Array {
    return this.inodes.filter((inode) => inode !== 0).toSorted();
  }

  private occupy(slot: number, inode: number): number {
    this.inodes[slot] = inode;
    this.count++;
    return slot;
  }

  private find(inode: number): number {
    const mask = this.inodes.length - 1;
    let slot = hash(inode) & mask;
    while (this.inodes[slot] !== 0 && this.inodes[slot] !== inode) slot = (slot + 1) & mask;
    return slot;
  }

  private halve(): void {
    const sorted = this.sorted();
    this.end = sorted[sorted.length >>> 1] as number;
    assert(this.end > this.from, "a table has room for two inodes");
    this.rehash(this.inodes.length);
  }

  /** Moves everything below `end` into `slots` fresh slots. */
  private rehash(slots: number): void {
    const old = { ...this.arrays() };
    this.inodes = new Float64Array(slots);
    this.parent = new Float64Array(slots);
    this.namedIn = new Float64Array(slots);
    this.links = new Uint32Array(slots);
    this.names = new Uint32Array(slots);
    this.type = new Uint8Array(slots);
    this.namedType = new Uint8Array(slots);
    this.marks = new Uint8Array(slots);
    this.count = 0;
    for (const [from, inode] of old.inodes.entries()) {
      if (inode === 0 || inode >= this.end) continue;
      const to = this.occupy(this.find(inode), inode);
      for (const key of FIELDS) this[key][to] = old[key][from] as number;
    }
  }

  private arrays(): Pick<InodeTable, (typeof FIELDS)[number] | "inodes"> {
    const { inodes, parent, namedIn, links, names, type, namedType, marks } = this;
    return { inodes, parent, namedIn, links, names, type, namedType, marks };
  }
}

const FIELDS = ["parent", "namedIn", "links", "names", "type", "namedType", "marks"] as const;

function hash(inode: number): number {
  const mixed = Math.imul((inode ^ Math.floor(inode / 2 ** 32)) >>> 0, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
