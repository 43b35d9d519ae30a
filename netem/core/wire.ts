/**
 * Packets under way, given back in the order they arrive.
 *
 * Invariant: packets of the lane arrive in the order they were put there, so the lane is a ring
 * and costs no comparison; only packets held back (reordering) go through a heap. Equal times
 * leave in the order they entered.
 */
import { assert } from "../../lib/assert.ts";
import { Heap } from "../../lib/heap.ts";

const FIRST_CAPACITY = 1024;

interface HeldBack<T> {
  readonly packet: T;
  readonly bytes: number;
  readonly order: number;
}

export class Wire<T> {
  private packets: (T | undefined)[] = Array.from<T | undefined>({ length: FIRST_CAPACITY });
  private sizes = new Float64Array(FIRST_CAPACITY);
  private arrivals = new Float64Array(FIRST_CAPACITY);
  private orders = new Float64Array(FIRST_CAPACITY);
  private head = 0;
  private laneCount = 0;
  private lastArrivalMicros = 0;
  private readonly held = new Heap<HeldBack<T>>();
  private nextOrder = 0;
  private greatestOrderOut = -1;
  /** Of the packet that `take` gave last: its size, and whether a later one overtook it. */
  readonly lastTaken = { bytes: 0, wasOvertaken: false };

  get count(): number {
    return this.laneCount + this.held.size;
  }

  /** Arrives at `atMicros`, or right behind the packet in front of it when that is later. */
  putInOrder(packet: T, bytes: number, atMicros: number): void {
    if (this.laneCount === this.packets.length) this.grow();
    const slot = (this.head + this.laneCount) % this.packets.length;
    this.lastArrivalMicros = Math.max(this.lastArrivalMicros, atMicros);
    this.packets[slot] = packet;
    this.sizes[slot] = bytes;
    this.arrivals[slot] = this.lastArrivalMicros;
    this.orders[slot] = this.nextOrder++;
    this.laneCount++;
  }

  /** Arrives at `atMicros` whatever came before and comes after. */
  putHeldBack(packet: T, bytes: number, atMicros: number): void {
    this.held.push(atMicros, { packet, bytes, order: this.nextOrder++ });
  }

  /** When the next packet arrives; Infinity when nothing is under way. */
  nextArrivalMicros(): number {
    return Math.min(this.laneArrivalMicros(), this.held.minKey);
  }

  /** The next packet that has arrived by now, or null. */
  take(nowMicros: number): T | null {
    if (this.count === 0 || this.nextArrivalMicros() > nowMicros) return null;
    return this.held.minKey < this.laneArrivalMicros() ? this.takeHeldBack() : this.takeFromLane();
  }

  private laneArrivalMicros(): number {
    return this.laneCount === 0 ? Infinity : (this.arrivals[this.head] as number);
  }

  private takeFromLane(): T {
    const packet = this.packets[this.head] as T;
    this.noteTaken(this.sizes[this.head] as number, this.orders[this.head] as number);
    this.packets[this.head] = undefined;
    this.head = (this.head + 1) % this.packets.length;
    this.laneCount--;
    return packet;
  }

  private takeHeldBack(): T {
    const first = this.held.pop();
    assert(first !== undefined, "a packet that is due is there");
    this.noteTaken(first.bytes, first.order);
    return first.packet;
  }

  private noteTaken(bytes: number, order: number): void {
    this.lastTaken.bytes = bytes;
    this.lastTaken.wasOvertaken = order < this.greatestOrderOut;
    this.greatestOrderOut = Math.max(this.greatestOrderOut, order);
  }

  /** Doubles the ring; the link bounds how often. */
  private grow(): void {
    const capacity = this.packets.length;
    this.packets = [...this.packets.slice(this.head), ...this.packets.slice(0, this.head)];
    this.packets.length = capacity * 2;
    this.packets.fill(undefined, capacity);
    this.sizes = this.unrolled(this.sizes);
    this.arrivals = this.unrolled(this.arrivals);
    this.orders = this.unrolled(this.orders);
    this.head = 0;
  }

  /** The ring's numbers from its head on, with as much room again behind them. */
  private unrolled(ring: Float64Array): Float64Array<ArrayBuffer> {
    const wider = new Float64Array(ring.length * 2);
    wider.set(ring.subarray(this.head), 0);
    wider.set(ring.subarray(0, this.head), ring.length - this.head);
    return wider;
  }
}
