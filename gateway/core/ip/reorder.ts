/**
 * Puts packets that come behind a gap back into order, for a bounded time: TCP takes reordering for
 * loss (RFC 5681 §3.2), so what a lost packet's successors gain by arriving early, their sender
 * loses by slowing down before the code has rebuilt it.
 *
 * A packet waits only for ids before it that are missing; the gap is given up when it is filled, when
 * the code can not fill it any more (`horizonPackets` ids have come behind it), or when the packet
 * behind it has waited for `holdMicros`. Packets for which order does not matter do not wait.
 *
 * Invariants: every packet is delivered exactly once; patient ones in the order of their ids, except
 * those that come after their gap was given up. Memory is `slots` packets, taken at construction.
 */
import { assert } from "../../../lib/assert.ts";

export interface ReorderOptions {
  /** Ids between a gap and the newest packet; a power of two. */
  readonly slots: number;
  /** Longest packet. */
  readonly slotBytes: number;
  /** Longest wait, microseconds; 0 delivers everything at once. */
  readonly holdMicros: number;
  /** Ids after which no repair of a packet comes any more. */
  readonly horizonPackets: number;
  /** Gets each packet; valid during the call only. */
  readonly deliver: (packet: Uint8Array) => void;
}

const MISSING = 0;
const HELD = 1;
const GONE = 2;

export class Reorder {
  readonly statistics = { held: 0, abandonedGaps: 0, late: 0 };
  holdMicros: number;
  horizonPackets: number;
  private readonly mask: number;
  private readonly slotBytes: number;
  private readonly deliver: (packet: Uint8Array) => void;
  private readonly bytes: Uint8Array;
  private readonly lengths: Uint16Array;
  private readonly states: Uint8Array;
  private readonly arrivedMicros: Float64Array;
  /** Everything below was delivered or given up. */
  private nextId = 0;
  /** 1 + the highest id that came. */
  private endId = 0;
  /** When the packet behind the gap at `nextId` came; Infinity when nothing waits. */
  private sinceMicros = Infinity;

  constructor(options: ReorderOptions) {
    const { slots, slotBytes } = options;
    assert(Number.isInteger(Math.log2(slots)), "the number of slots must be a power of two");
    this.holdMicros = options.holdMicros;
    this.horizonPackets = options.horizonPackets;
    this.mask = slots - 1;
    this.slotBytes = slotBytes;
    this.deliver = options.deliver;
    this.bytes = new Uint8Array(slots * slotBytes);
    this.lengths = new Uint16Array(slots);
    this.states = new Uint8Array(slots);
    this.arrivedMicros = new Float64Array(slots);
  }

  /** When `handleTimeout` has something to do; Infinity for never. */
  get timeoutMicros(): number {
    return this.sinceMicros + this.holdMicros;
  }

  /** Packet `id` came or was rebuilt. One that is not `isPatient` is delivered at once. */
  take(id: number, packet: Uint8Array, isPatient: boolean, nowMicros: number): void {
    if (id < this.nextId) {
      this.statistics.late++;
      this.deliver(packet);
      return;
    }
    this.reach(id);
    const mustWait = isPatient && id > this.nextId && this.holdMicros > 0;
    if (mustWait) this.hold(id, packet, nowMicros);
    else {
      this.deliver(packet);
      this.states[id & this.mask] = GONE;
    }
    this.settle(nowMicros);
  }

  /** `id` carries nothing that is delivered here. */
  skip(id: number, nowMicros: number): void {
    if (id < this.nextId) return;
    this.reach(id);
    this.states[id & this.mask] = GONE;
    this.settle(nowMicros);
  }

  /** A new session: ids begin at 0 again; what waits is delivered. */
  restart(): void {
    this.giveUpBelow(this.endId);
    this.nextId = 0;
    this.endId = 0;
    this.sinceMicros = Infinity;
  }

  handleTimeout(nowMicros: number): void {
    while (this.timeoutMicros <= nowMicros) {
      this.giveUpGap();
      this.settle(nowMicros);
    }
  }

  /** Makes room for `id`, and the ids between it and the highest so far missing. */
  private reach(id: number): void {
    if (id < this.endId) return;
    const least = id - this.mask;
    if (least > this.nextId) this.giveUpBelow(least);
    for (let each = Math.max(this.endId, this.nextId); each <= id; each++) {
      this.states[each & this.mask] = MISSING;
    }
    this.endId = id + 1;
  }

  private hold(id: number, packet: Uint8Array, nowMicros: number): void {
    const slot = id & this.mask;
    assert(packet.length <= this.slotBytes, "a packet longer than the slots");
    this.bytes.set(packet, slot * this.slotBytes);
    this.lengths[slot] = packet.length;
    this.states[slot] = HELD;
    this.arrivedMicros[slot] = nowMicros;
    this.statistics.held++;
  }

  /** Delivers what follows without a gap, gives up gaps behind the horizon, and finds the next. */
  private settle(nowMicros: number): void {
    this.deliverRun();
    while (this.endId - this.nextId > this.horizonPackets) this.giveUpGap();
    if (this.nextId === this.endId) this.sinceMicros = Infinity;
    else if (this.sinceMicros === Infinity) this.sinceMicros = this.waitingSince(nowMicros);
  }

  private deliverRun(): void {
    const before = this.nextId;
    while (this.nextId < this.endId && this.states[this.nextId & this.mask] !== MISSING) {
      this.pass(this.nextId++);
    }
    // Another gap is another wait.
    if (this.nextId > before) this.sinceMicros = Infinity;
  }

  private pass(id: number): void {
    const slot = id & this.mask;
    if (this.states[slot] !== HELD) return;
    const start = slot * this.slotBytes;
    this.deliver(this.bytes.subarray(start, start + (this.lengths[slot] ?? 0)));
  }

  private giveUpGap(): void {
    this.statistics.abandonedGaps++;
    while (this.nextId < this.endId && this.states[this.nextId & this.mask] === MISSING) {
      this.nextId++;
    }
    this.sinceMicros = Infinity;
    this.deliverRun();
  }

  /** Delivers what is held below `id` and expects nothing below it any more. */
  private giveUpBelow(id: number): void {
    const end = Math.min(id, this.endId);
    for (let each = this.nextId; each < end; each++) this.pass(each);
    this.nextId = id;
    this.sinceMicros = Infinity;
  }

  /** When the first of those that are held came; what is gone waits for nothing. */
  private waitingSince(nowMicros: number): number {
    let since = Infinity;
    for (let id = this.nextId; id < this.endId; id++) {
      const slot = id & this.mask;
      if (this.states[slot] !== HELD) continue;
      since = Math.min(since, this.arrivedMicros[slot] ?? nowMicros);
    }
    return since;
  }
}
