/**
 * The groups that an encoder has open or waiting: the XOR of their symbols so far and their recipe.
 *
 * All memory is taken at construction. A group is a small integer, and the index of its block;
 * `open` takes one from the free list and `release` gives it back.
 */
import { assert } from "../../../lib/assert.ts";
import { Blocks } from "./blocks.ts";

export class Groups {
  readonly first: Uint32Array;
  readonly count: Uint8Array;
  /** Length of the longest member's symbol, and so of the repair's, bytes. */
  readonly symbolBytes: Uint16Array;
  readonly blocks: Blocks;
  /** The block of the packet in hand. */
  private readonly incoming: number;
  private incomingBytes = 0;
  private readonly free: Int32Array;
  private freeCount: number;

  constructor(capacity: number) {
    this.first = new Uint32Array(capacity);
    this.count = new Uint8Array(capacity);
    this.symbolBytes = new Uint16Array(capacity);
    this.blocks = new Blocks(capacity + 1);
    this.incoming = capacity;
    this.free = Int32Array.from({ length: capacity }, (_, i) => i);
    this.freeCount = capacity;
  }

  get used(): number {
    return this.free.length - this.freeCount;
  }

  /** Takes the packet that `open` and `add` are about. */
  take(packet: Uint8Array): void {
    this.blocks.storePacket(this.incoming, packet);
    this.incomingBytes = this.blocks.symbolBytes(this.incoming);
  }

  /** A new group whose one member is packet `id`, in hand. */
  open(id: number): number {
    assert(this.freeCount > 0, "no free group: poll() was not drained");
    const group = this.free[--this.freeCount] as number;
    this.first[group] = id;
    this.count[group] = 1;
    this.symbolBytes[group] = this.incomingBytes;
    this.blocks.copy(group, this.incoming, this.incomingBytes);
    return group;
  }

  /** The packet in hand becomes one more member. */
  add(group: number): void {
    const bytes = this.symbolBytes[group] as number;
    this.blocks.extend(group, bytes, this.incomingBytes);
    this.blocks.xor(group, this.incoming, this.incomingBytes);
    this.count[group] = (this.count[group] as number) + 1;
    this.symbolBytes[group] = Math.max(bytes, this.incomingBytes);
  }

  release(group: number): void {
    this.free[this.freeCount++] = group;
  }
}
