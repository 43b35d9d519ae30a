/**
 * Messages that wait for the pacer: first in, first out, in memory that is taken at construction.
 * When it is full the newest is refused: whoever sends messages has to bear their loss anyway.
 */
import { MAX_PACKET_BYTES } from "../code/code.ts";
import type { MessageMode } from "./messages.ts";

export class MessageQueue {
  private readonly capacity: number;
  private readonly bytes: Uint8Array;
  private readonly lengths: Uint16Array;
  private readonly tokens: Float64Array;
  private readonly bare: Uint8Array;
  private head = 0;
  private count = 0;

  constructor(capacityPackets: number) {
    this.capacity = capacityPackets;
    this.bytes = new Uint8Array(capacityPackets * MAX_PACKET_BYTES);
    this.lengths = new Uint16Array(capacityPackets);
    this.tokens = new Float64Array(capacityPackets);
    this.bare = new Uint8Array(capacityPackets);
  }

  /** False when there is no room. `message` is at most MAX_PACKET_BYTES long. */
  push(message: Uint8Array, mode: MessageMode, token: number): boolean {
    if (this.count === this.capacity) return false;
    const at = (this.head + this.count++) % this.capacity;
    this.bytes.set(message, at * MAX_PACKET_BYTES);
    this.lengths[at] = message.length;
    this.tokens[at] = token;
    this.bare[at] = mode === "bare" ? 1 : 0;
    return true;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  // ---- the head; only when there is one ---------------------------------------------------------

  get length(): number {
    return this.lengths[this.head] ?? 0;
  }

  get token(): number {
    return this.tokens[this.head] ?? 0;
  }

  get mode(): MessageMode {
    return this.bare[this.head] === 1 ? "bare" : "protected";
  }

  /** Copies the head to the place `at` in `target` and forgets it. */
  take(target: Uint8Array, at: number): void {
    const start = this.head * MAX_PACKET_BYTES;
    target.set(this.bytes.subarray(start, start + this.length), at);
    this.drop();
  }

  /** Forgets the head. */
  drop(): void {
    this.head = (this.head + 1) % this.capacity;
    this.count--;
  }
}
