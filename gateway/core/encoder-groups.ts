/**
 * The groups that an encoder has open or waiting: their XOR so far and their recipe.
 *
 * All memory is taken at construction. A group is a small integer; `open` takes one from the free
 * list and `release` gives it back.
 */
import { assert } from "../../lib/assert.ts";
import { BlockStore } from "./xor.ts";

export class Groups {
  readonly first: Uint32Array;
  readonly count: Uint8Array;
  readonly lengthXor: Uint16Array;
  /** Length of the longest member: what the repair's payload will have, bytes. */
  readonly longest: Uint16Array;
  readonly blocks: BlockStore;
  private readonly free: Int32Array;
  private freeCount: number;

  constructor(capacity: number) {
    this.first = new Uint32Array(capacity);
    this.count = new Uint8Array(capacity);
    this.lengthXor = new Uint16Array(capacity);
    this.longest = new Uint16Array(capacity);
    this.blocks = new BlockStore(capacity);
    this.free = Int32Array.from({ length: capacity }, (_, i) => i);
    this.freeCount = capacity;
  }

  get used(): number {
    return this.free.length - this.freeCount;
  }

  /** A new group whose one member is packet `id`. */
  open(id: number, packet: Uint8Array): number {
    assert(this.freeCount > 0, "no free group: poll() was not drained");
    const group = this.free[--this.freeCount] as number;
    this.first[group] = id;
    this.count[group] = 1;
    this.lengthXor[group] = packet.length;
    this.longest[group] = packet.length;
    this.blocks.store(group, packet);
    return group;
  }

  /** One more member: the first block of `source`, `length` bytes of it. */
  add(group: number, source: BlockStore, length: number): void {
    const longest = this.longest[group] as number;
    this.blocks.xor(group, longest, source, 0, length);
    this.count[group] = (this.count[group] as number) + 1;
    this.lengthXor[group] = (this.lengthXor[group] as number) ^ length;
    this.longest[group] = Math.max(longest, length);
  }

  release(group: number): void {
    this.free[this.freeCount++] = group;
  }
}
