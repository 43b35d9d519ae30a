/**
 * A bounded number of flows by key: a hash table with chains, and the order in which they were used.
 * Slots are numbers below `capacity`; memory is taken at construction, and the longest idle gives
 * way to a new one. A chain that somebody fills on purpose costs at most MAX_CHAIN steps: the flow
 * at its end is evicted.
 */
import { Flow } from "./flow.ts";
import { FLOW_KEY_BYTES, hashFlowKey } from "./flow-key.ts";

const NONE = -1;
const MAX_CHAIN = 16;

export class FlowTable {
  readonly capacity: number;
  private readonly seed: number;
  private readonly keys: Uint8Array;
  private readonly flows: Flow[] = [];
  private readonly buckets: Int32Array;
  private readonly nextInBucket: Int32Array;
  /** Uses: the newest is behind the oldest in a ring whose anchor is slot `capacity`. */
  private readonly newer: Int32Array;
  private readonly older: Int32Array;
  private readonly free: number[] = [];
  private readonly onEvicted: (slot: number) => void;

  /** `capacity` is a power of two; `onEvicted` is told before a slot is taken from its flow. */
  constructor(capacity: number, seed: number, onEvicted: (slot: number) => void) {
    this.capacity = capacity;
    this.seed = seed;
    this.onEvicted = onEvicted;
    this.keys = new Uint8Array(capacity * FLOW_KEY_BYTES);
    this.buckets = new Int32Array(2 * capacity).fill(NONE);
    this.nextInBucket = new Int32Array(capacity).fill(NONE);
    this.newer = new Int32Array(capacity + 1).fill(capacity);
    this.older = new Int32Array(capacity + 1).fill(capacity);
    for (let slot = capacity - 1; slot >= 0; slot--) this.free.push(slot);
  }

  get size(): number {
    return this.capacity - this.free.length;
  }

  keyOf(slot: number): Uint8Array {
    return this.keys.subarray(slot * FLOW_KEY_BYTES, (slot + 1) * FLOW_KEY_BYTES);
  }

  flowOf(slot: number): Flow {
    const flow = this.flows[slot] ?? new Flow();
    this.flows[slot] = flow;
    return flow;
  }

  isUsed(slot: number): boolean {
    return (this.flows[slot]?.number ?? 0) !== 0;
  }

  /** Whether the slot is that of the flow with this key. */
  hasFlow(slot: number, key: Uint8Array): boolean {
    return this.isUsed(slot) && this.hasKey(slot, key);
  }

  /** Slot of the flow; −1 when there is none. */
  find(key: Uint8Array): number {
    let slot = this.buckets[this.bucketOf(key)] ?? NONE;
    while (slot !== NONE && !this.hasKey(slot, key)) slot = this.nextInBucket[slot] ?? NONE;
    return slot;
  }

  /** A slot for a key that has none. */
  add(key: Uint8Array): number {
    const bucket = this.bucketOf(key);
    this.shortenChain(bucket);
    if (this.free.length === 0) this.evict(this.oldest);
    const slot = this.free.pop() ?? NONE;
    this.keys.set(key, slot * FLOW_KEY_BYTES);
    this.nextInBucket[slot] = this.buckets[bucket] ?? NONE;
    this.buckets[bucket] = slot;
    this.link(slot);
    return slot;
  }

  private shortenChain(bucket: number): void {
    let slot = this.buckets[bucket] ?? NONE;
    for (let length = 1; slot !== NONE; length++) {
      if (length >= MAX_CHAIN) {
        this.evict(slot);
        return;
      }
      slot = this.nextInBucket[slot] ?? NONE;
    }
  }

  private evict(slot: number): void {
    this.onEvicted(slot);
    this.remove(slot);
  }

  remove(slot: number): void {
    const bucket = this.bucketOf(this.keyOf(slot));
    const next = this.nextInBucket[slot] ?? NONE;
    let before = this.buckets[bucket] ?? NONE;
    if (before === slot) this.buckets[bucket] = next;
    else {
      while (this.nextInBucket[before] !== slot) before = this.nextInBucket[before] ?? NONE;
      this.nextInBucket[before] = next;
    }
    this.unlink(slot);
    this.free.push(slot);
  }

  /** Slot of the flow that was not used for longest; −1 when there is none. */
  get oldest(): number {
    const slot = this.newer[this.capacity] ?? NONE;
    return slot === this.capacity ? NONE : slot;
  }

  /** The flow was used. */
  touch(slot: number): void {
    if (this.older[this.capacity] === slot) return;
    this.unlink(slot);
    this.link(slot);
  }

  /** As the newest. */
  private link(slot: number): void {
    const anchor = this.capacity;
    const newest = this.older[anchor] ?? anchor;
    this.older[slot] = newest;
    this.newer[slot] = anchor;
    this.newer[newest] = slot;
    this.older[anchor] = slot;
  }

  private unlink(slot: number): void {
    const newer = this.newer[slot] ?? this.capacity;
    const older = this.older[slot] ?? this.capacity;
    this.newer[older] = newer;
    this.older[newer] = older;
  }

  private bucketOf(key: Uint8Array): number {
    return hashFlowKey(key, this.seed) & (this.buckets.length - 1);
  }

  private hasKey(slot: number, key: Uint8Array): boolean {
    const at = slot * FLOW_KEY_BYTES;
    for (let i = FLOW_KEY_BYTES - 1; i >= 0; i--) if (this.keys[at + i] !== key[i]) return false;
    return true;
  }
}
