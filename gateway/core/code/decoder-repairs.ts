/**
 * Layered repairs that still miss two or more members, and which ids they wait for.
 *
 * A data packet is in one group of each layer, so each window slot has one place per layer for the
 * repair that waits for it: a second claim on a place is refused, and the index never grows. When
 * all `capacity` entries are taken the oldest arrival is given up.
 * Invariant: `missing` of a used entry is the number of places in the index that name it, and ≥ 1.
 */
import type { Blocks } from "./blocks.ts";
import { MAX_LAYERS } from "./parameters.ts";
import { layeredRepair, type LayeredRepair } from "./repair.ts";

const NONE = -1;

export class WaitingRepairs {
  readonly first: Uint32Array;
  readonly count: Uint8Array;
  readonly stride: Uint16Array;
  /** Bytes of the repair's combination of symbols. */
  readonly symbolBytes: Uint16Array;
  private readonly layer: Uint8Array;
  /** 0: the entry is free. */
  private readonly missing: Uint8Array;
  private readonly blocks: Blocks;
  private readonly firstBlock: number;
  /** Window slot × `MAX_LAYERS` + layer → entry. */
  private places: Int32Array;
  private next = 0;
  private used = 0;

  constructor(blocks: Blocks, capacity: number, windowSize: number) {
    this.blocks = blocks;
    this.firstBlock = blocks.reserve(capacity);
    this.first = new Uint32Array(capacity);
    this.count = new Uint8Array(capacity);
    this.stride = new Uint16Array(capacity);
    this.symbolBytes = new Uint16Array(capacity);
    this.layer = new Uint8Array(capacity);
    this.missing = new Uint8Array(capacity);
    this.places = emptyPlaces(windowSize);
  }

  get capacity(): number {
    return this.first.length;
  }

  get isEmpty(): boolean {
    return this.used === 0;
  }

  isUsed(entry: number): boolean {
    return this.missing[entry] !== 0;
  }

  blockOf(entry: number): number {
    return this.firstBlock + entry;
  }

  isClaimed(id: number, layer: number): boolean {
    return this.places[this.place(id, layer)] !== NONE;
  }

  /** Takes an entry for a repair; whatever was in it is given up. The caller then claims ids. */
  add(header: LayeredRepair, repair: Uint8Array): number {
    const entry = this.next;
    this.next = (this.next + 1) % this.capacity;
    this.remove(entry);
    this.first[entry] = header.first;
    this.count[entry] = header.count;
    this.stride[entry] = header.stride;
    this.layer[entry] = header.layer;
    this.symbolBytes[entry] = repair.length - layeredRepair.size;
    this.blocks.storeRepair(this.blockOf(entry), repair, layeredRepair.size);
    this.used++;
    return entry;
  }

  /** `entry` waits for `id`, whose place in its layer is free. */
  claim(entry: number, id: number): void {
    this.places[this.place(id, this.layer[entry] as number)] = entry;
    this.missing[entry] = (this.missing[entry] as number) + 1;
  }

  /** Packet `id` is there now: its repair in `layer` that misses just one more, or −1. */
  satisfy(id: number, layer: number): number {
    const place = this.place(id, layer);
    const entry = this.places[place] as number;
    if (entry === NONE) return NONE;
    this.places[place] = NONE;
    const missing = (this.missing[entry] as number) - 1;
    this.missing[entry] = missing;
    if (missing === 0) this.used--;
    return missing === 1 ? entry : NONE;
  }

  /** `id` leaves the window: nothing that waits for it can be completed. */
  abandon(id: number): void {
    if (this.used === 0) return;
    for (let layer = 0; layer < MAX_LAYERS; layer++) {
      const entry = this.places[this.place(id, layer)] as number;
      if (entry !== NONE) this.remove(entry);
    }
  }

  remove(entry: number): void {
    if (!this.isUsed(entry)) return;
    const layer = this.layer[entry] as number;
    for (let n = 0; n < (this.count[entry] as number); n++) {
      const place = this.place(this.memberOf(entry, n), layer);
      if (this.places[place] === entry) this.places[place] = NONE;
    }
    this.missing[entry] = 0;
    this.used--;
  }

  memberOf(entry: number, n: number): number {
    return ((this.first[entry] as number) + n * (this.stride[entry] as number)) >>> 0;
  }

  /** The window has grown: slots are others. */
  resize(windowSize: number): void {
    const before = this.places;
    const slotMask = before.length / MAX_LAYERS - 1;
    this.places = emptyPlaces(windowSize);
    for (let entry = 0; entry < this.capacity; entry++) {
      if (!this.isUsed(entry)) continue;
      const layer = this.layer[entry] as number;
      for (let n = 0; n < (this.count[entry] as number); n++) {
        const id = this.memberOf(entry, n);
        if (before[(id & slotMask) * MAX_LAYERS + layer] !== entry) continue;
        this.places[this.place(id, layer)] = entry;
      }
    }
  }

  private place(id: number, layer: number): number {
    return (id & (this.places.length / MAX_LAYERS - 1)) * MAX_LAYERS + layer;
  }
}

function emptyPlaces(windowSize: number): Int32Array {
  return new Int32Array(windowSize * MAX_LAYERS).fill(NONE);
}
