/**
 * Repairs that still miss two or more members, and which ids they wait for.
 *
 * A data packet is in one group of each layer, so each window slot has one place per layer for the
 * repair that waits for it: a second claim on a place is refused, and the index never grows. When
 * all `capacity` entries are taken the oldest arrival is given up.
 * Invariant: `missing` of a used entry is the number of places in the index that name it, and ≥ 1.
 */
import { MAX_LAYERS, type RepairHeader } from "./repair.ts";
import { BlockStore } from "./xor.ts";

const NONE = -1;

export class WaitingRepairs {
  readonly blocks: BlockStore;
  private readonly headers: (RepairHeader | null)[];
  private readonly payloadLengths: Uint16Array;
  private readonly missing: Uint8Array;
  /** Window slot × `MAX_LAYERS` + layer → entry. */
  private readonly places: Int32Array;
  private readonly slotMask: number;
  private next = 0;
  private used = 0;

  constructor(capacity: number, windowSize: number) {
    this.blocks = new BlockStore(capacity);
    this.headers = Array.from({ length: capacity }, () => null);
    this.payloadLengths = new Uint16Array(capacity);
    this.missing = new Uint8Array(capacity);
    this.places = new Int32Array(windowSize * MAX_LAYERS).fill(NONE);
    this.slotMask = windowSize - 1;
  }

  get count(): number {
    return this.used;
  }

  headerOf(entry: number): RepairHeader | null {
    return this.headers[entry] ?? null;
  }

  payloadLength(entry: number): number {
    return this.payloadLengths[entry] as number;
  }

  isClaimed(id: number, layer: number): boolean {
    return this.places[this.place(id, layer)] !== NONE;
  }

  /** Takes an entry for a repair; whatever was in it is given up. The caller then claims ids. */
  add(header: RepairHeader, payload: Uint8Array): number {
    const entry = this.next;
    this.next = (this.next + 1) % this.headers.length;
    this.remove(entry);
    this.headers[entry] = header;
    this.blocks.store(entry, payload);
    this.payloadLengths[entry] = payload.length;
    this.missing[entry] = 0;
    this.used++;
    return entry;
  }

  /** `entry` waits for `id`, whose place in its layer is free. */
  claim(entry: number, id: number, layer: number): void {
    this.places[this.place(id, layer)] = entry;
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
    if (missing === 0) this.remove(entry);
    return missing === 1 ? entry : NONE;
  }

  /** A slot gets a new id: nothing that waited for the old one can be completed. */
  abandonSlot(slot: number): void {
    if (this.used === 0) return;
    for (let layer = 0; layer < MAX_LAYERS; layer++) {
      const entry = this.places[slot * MAX_LAYERS + layer] as number;
      if (entry !== NONE) this.remove(entry);
    }
  }

  remove(entry: number): void {
    const header = this.headers[entry] ?? null;
    if (header === null) return;
    for (let k = 0; k < header.count; k++) {
      const place = this.place(header.first + k * header.stride, header.layer);
      if (this.places[place] === entry) this.places[place] = NONE;
    }
    this.headers[entry] = null;
    this.used--;
  }

  private place(id: number, layer: number): number {
    return (id & this.slotMask) * MAX_LAYERS + layer;
  }
}
