/**
 * Layered interleaving, receiver's side.
 *
 * The decoder keeps a window of data packets and the repairs that miss two or more members. A
 * repair that misses one rebuilds it: payload XOR the other members. A rebuilt packet counts as
 * arrived for every other repair, in all layers, until nothing more follows (a work list, no
 * recursion).
 *
 * Invariants: with nothing but loss, duplication and reordering, a rebuilt packet equals what was
 * sent. Members are looked up by id inside the window only, a repair with a member that left the
 * window is given up, and a rebuilt packet must fit its length and be zero behind it; so of damaged
 * repairs (the transport authenticates datagrams, an appliance may not) most show.
 *
 * Window rule: data that is further behind than the window is refused; data any distance ahead
 * moves the window (the sender went on during an outage). A repair moves it by at most half its
 * size, because it only runs ahead of data that was reordered or lost.
 *
 * Memory is taken at construction: (window + waiting repairs) × 1472 bytes. Objects are made only
 * for repairs, not for data.
 */
import { assert } from "../../lib/assert.ts";
import { viewOf } from "../../lib/codec.ts";
import type { Decoder } from "./code.ts";
import { WaitingRepairs } from "./decoder-repairs.ts";
import { DecoderWindow } from "./decoder-window.ts";
import { MAX_LAYERS, isPlausible, repairHeader, type RepairHeader } from "./repair.ts";

export interface DecoderOptions {
  /** Data packets kept, a power of two; at least (r + 1) × the largest interleave. */
  readonly windowPackets?: number;
  /** Repairs that may wait for members; the oldest is given up for a new one. */
  readonly waitingRepairs?: number;
}

const DEFAULT_WINDOW_PACKETS = 2048;
const DEFAULT_WAITING_REPAIRS = 1024;

export class LayeredDecoder implements Decoder {
  readonly statistics = {
    rebuilt: 0,
    unused: 0,
    malformed: 0,
    /** Data that was further behind than the window. */
    latePackets: 0,
    duplicatePackets: 0,
    /** Repairs whose result had an impossible length or bytes behind its end. */
    inconsistentRepairs: 0,
    /** Times that data came from more than a window ahead. */
    resynchronisations: 0,
  };
  private readonly window: DecoderWindow;
  private readonly waiting: WaitingRepairs;
  /** Repairs that miss one member now. Each waiting repair gets here at most once. */
  private readonly ready: number[] = [];
  /** Rebuilt ids not yet polled, in the order they were rebuilt; at most one window of them. */
  private readonly rebuiltIds: number[] = [];
  private readonly onEmptied = (slot: number): void => this.waiting.abandonSlot(slot);

  constructor(options: DecoderOptions = {}) {
    const size = options.windowPackets ?? DEFAULT_WINDOW_PACKETS;
    assert(Number.isInteger(Math.log2(size)), "the decoder's window must be a power of two");
    this.window = new DecoderWindow(size);
    this.waiting = new WaitingRepairs(options.waitingRepairs ?? DEFAULT_WAITING_REPAIRS, size);
  }

  handleData(id: number, packet: Uint8Array): boolean {
    const { window } = this;
    if (window.isBehind(id)) {
      this.statistics.latePackets++;
      return false;
    }
    if (window.has(id)) {
      this.statistics.duplicatePackets++;
      return false;
    }
    const ahead = window.ahead(id);
    if (ahead > window.size) this.statistics.resynchronisations++;
    if (ahead > 0 || !window.isStarted) window.advanceTo(id, this.onEmptied);
    window.put(id, packet);
    this.arrived(id);
    return true;
  }

  handleRepair(repair: Uint8Array): void {
    const header = parse(repair);
    if (header === null || this.isTooFarAhead(header)) this.statistics.malformed++;
    else this.accept(header, repair);
  }

  pollRebuilt(): { readonly id: number; readonly packet: Uint8Array } | null {
    for (;;) {
      const id = this.rebuiltIds.shift();
      if (id === undefined) return null;
      // One that was polled too late may have left the window.
      if (this.window.has(id)) return { id, packet: this.window.view(this.window.slotOf(id)) };
    }
  }

  private isTooFarAhead({ first, count, stride }: RepairHeader): boolean {
    const span = (count - 1) * stride;
    return span >= this.window.size || this.window.ahead(first + span) > this.window.size / 2;
  }

  private accept(header: RepairHeader, repair: Uint8Array): void {
    const last = header.first + (header.count - 1) * header.stride;
    const moves = Math.max(0, this.window.ahead(last));
    const isTooLate = this.window.ahead(header.first) - moves <= -this.window.size;
    if (isTooLate || !this.isNeeded(header)) {
      this.statistics.unused++;
      return;
    }
    if (moves > 0 || !this.window.isStarted) this.window.advanceTo(last, this.onEmptied);
    this.wait(header, repair.subarray(repairHeader.size));
  }

  /** Misses a member, and no other repair of the layer waits for the same. */
  private isNeeded({ first, count, stride, layer }: RepairHeader): boolean {
    let missing = 0;
    for (let k = 0; k < count; k++) {
      const id = first + k * stride;
      if (this.window.has(id)) continue;
      missing++;
      if (this.window.ahead(id) <= 0 && this.waiting.isClaimed(id, layer)) return false;
    }
    return missing > 0;
  }

  private wait(header: RepairHeader, payload: Uint8Array): void {
    const entry = this.waiting.add(header, payload);
    let missing = 0;
    for (let k = 0; k < header.count; k++) {
      const id = header.first + k * header.stride;
      if (this.window.has(id)) continue;
      this.waiting.claim(entry, id, header.layer);
      missing++;
    }
    if (missing > 1) return;
    this.ready.push(entry);
    this.cascade();
  }

  private arrived(id: number): void {
    if (this.waiting.count === 0) return;
    this.satisfyAll(id);
    this.cascade();
  }

  private satisfyAll(id: number): void {
    for (let layer = 0; layer < MAX_LAYERS; layer++) {
      const entry = this.waiting.satisfy(id, layer);
      if (entry >= 0) this.ready.push(entry);
    }
  }

  private cascade(): void {
    for (let entry = this.ready.pop(); entry !== undefined; entry = this.ready.pop()) {
      const header = this.waiting.headerOf(entry);
      // Its last member was rebuilt by another layer meanwhile.
      if (header === null) continue;
      // Members that were there when the repair came may have left the window; the first goes first.
      if (this.window.isBehind(header.first)) this.giveUp(entry, "unused");
      else this.complete(entry, header);
    }
  }

  private complete(entry: number, header: RepairHeader): void {
    const id = this.missingMember(header);
    if (!this.rebuild(entry, header, id)) {
      this.giveUp(entry, "inconsistentRepairs");
      return;
    }
    this.note(id);
    this.satisfyAll(id);
  }

  private giveUp(entry: number, reason: "unused" | "inconsistentRepairs"): void {
    this.statistics[reason]++;
    this.waiting.remove(entry);
  }

  private missingMember({ first, count, stride }: RepairHeader): number {
    for (let k = 0; k < count; k++) {
      const id = (first + k * stride) >>> 0;
      if (!this.window.has(id)) return id;
    }
    assert(false, "a waiting repair misses no member");
  }

  /** Rebuilds `id`, the one missing member, in its own slot. False when the result is impossible. */
  private rebuild(entry: number, header: RepairHeader, id: number): boolean {
    const { window, waiting } = this;
    const slot = window.slotOf(id);
    const payloadLength = waiting.payloadLength(entry);
    window.blocks.copy(slot, waiting.blocks, entry, payloadLength);
    let length = header.lengthXor;
    for (let k = 0; k < header.count; k++) {
      const member = window.slotOf(header.first + k * header.stride);
      if (member === slot) continue;
      const memberLength = window.lengthOf(member);
      if (memberLength > payloadLength) return false;
      window.blocks.xor(slot, payloadLength, window.blocks, member, memberLength);
      length ^= memberLength;
    }
    if (length > payloadLength || !window.blocks.isZero(slot, length, payloadLength)) return false;
    window.mark(slot, length);
    return true;
  }

  private note(id: number): void {
    this.statistics.rebuilt++;
    if (this.rebuiltIds.length === this.window.size) this.rebuiltIds.shift();
    this.rebuiltIds.push(id);
  }
}

/** The header of a repair, or null when no encoder can have written it. */
function parse(repair: Uint8Array): RepairHeader | null {
  if (repair.length < repairHeader.size) return null;
  const header = repairHeader.decode(viewOf(repair), 0);
  return isPlausible(header, repair.length - repairHeader.size) ? header : null;
}
