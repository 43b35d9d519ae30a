/**
 * Follows the TCP connections that leave through a gateway and says, per flow, how far its bytes are
 * covered (SMFS §5: "a byte offset from the beginning of the stream up to the most recent byte that
 * was included in an error correcting packet that was sent").
 *
 * Each packet's id is kept with its flow and with the offset below which everything had passed when
 * it did. So when all ids through X are covered at a level, so are each flow's bytes below the
 * offset that stands at its last id up to X: no bookkeeping per byte range and level.
 *
 * Bounds: `capacity` flows, the least recently used gives way; ids of the last `windowPackets`, so a
 * level that lags further behind skips what it missed (its offsets come with later packets).
 */
import type { IpPacket } from "./ip.ts";
import { type Flow, type FlowEnd, LEVELS } from "./flow.ts";
import { FLOW_KEY_BYTES, writeFlowKey } from "./flow-key.ts";
import { FlowTable } from "./flow-table.ts";

export interface FlowsOptions {
  /** Flows followed at once; a power of two. */
  readonly capacity?: number;
  /** Ids between a packet and the last repair that covers it, at most; a power of two. */
  readonly windowPackets?: number;
  /** A flow of which nothing was seen for so long is forgotten. */
  readonly idleMicros?: number;
  /** Random, against senders who choose their ports to collide in the table. */
  readonly seed: number;
  /** A flow is no more; called before its slot goes to another. */
  onEnd(flow: Flow, key: Uint8Array, reason: FlowEnd): void;
}

const DEFAULT_CAPACITY = 4096;
const DEFAULT_WINDOW_PACKETS = 32_768;
/** RFC 5382 §5 asks middleboxes for 2 h 4 min where an end may come back; nothing breaks here. */
const DEFAULT_IDLE_MICROS = 300e6;
const NO_FLOW = -1;

export class Flows {
  readonly statistics = { opened: 0, evicted: 0, packets: 0 };
  private readonly options: FlowsOptions;
  private readonly table: FlowTable;
  private readonly key = new Uint8Array(FLOW_KEY_BYTES);
  private readonly idleMicros: number;
  /** Packets that passed and have no id yet, by token; and those that have, by id. */
  private readonly tokens: Entries;
  private ids: Entries;
  /** Per level: ids below are covered. Ids are unwrapped here. */
  private readonly coveredEnd = new Float64Array(LEVELS);
  private readonly isChanged: Uint8Array;
  private readonly changed: Int32Array;
  private changedCount = 0;
  /** Of the packet before, one for each direction: packets come in trains. */
  private sendingSlot = NO_FLOW;
  private receivingSlot = NO_FLOW;
  private nextNumber = 1;

  constructor(options: FlowsOptions) {
    const { capacity = DEFAULT_CAPACITY, windowPackets = DEFAULT_WINDOW_PACKETS } = options;
    this.options = options;
    this.idleMicros = options.idleMicros ?? DEFAULT_IDLE_MICROS;
    this.table = new FlowTable(capacity, options.seed, (slot) => {
      this.statistics.evicted++;
      this.tellEnd(slot, "evicted");
    });
    this.tokens = new Entries(windowPackets);
    this.ids = new Entries(windowPackets);
    this.isChanged = new Uint8Array(capacity);
    this.changed = new Int32Array(capacity);
  }

  /** Flows followed now. */
  get size(): number {
    return this.table.size;
  }

  /** What `notePassed` gives next: for callers who must say it before they know. */
  get nextToken(): number {
    return this.tokens.end;
  }

  /** A packet passed; the token names it until it has its id. At most `windowPackets` wait. */
  notePassed(packet: IpPacket, nowMicros: number): number {
    const slot = packet.isTcp ? this.follow(packet, nowMicros) : NO_FLOW;
    const token = this.tokens.end++;
    if (slot === NO_FLOW) this.tokens.clear(token);
    else this.tokens.set(token, slot, this.table.flowOf(slot));
    return token;
  }

  /** It left with the code's `id` (32 bits; ids only grow, they may skip). */
  noteSent(id: number, token: number): void {
    const unwrapped = this.unwrap(id);
    const { ids } = this;
    // Ids that were given to something else leave no old entries behind.
    const from = Math.max(ids.end, unwrapped - ids.mask);
    for (let skipped = from; skipped < unwrapped; skipped++) ids.clear(skipped);
    ids.end = Math.max(ids.end, unwrapped + 1);
    ids.copy(unwrapped, this.tokens, token);
  }

  /** Ids begin at 0 again: the association has a new session. What was covered stays so. */
  restartIds(): void {
    this.ids = new Entries(this.ids.mask + 1);
    this.coveredEnd.fill(0);
  }

  private unwrap(id: number): number {
    return this.ids.end + ((id - this.ids.end) | 0);
  }

  /** Slot of the packet's flow, which is begun when this packet begins it. */
  private follow(packet: IpPacket, nowMicros: number): number {
    this.statistics.packets++;
    writeFlowKey(packet, "out", this.key);
    let slot = this.find(this.sendingSlot);
    this.sendingSlot = slot;
    if (packet.hasFlag("rst")) {
      if (slot !== NO_FLOW) this.end(slot, "reset");
      return NO_FLOW;
    }
    if (slot !== NO_FLOW && !this.belongs(slot, packet)) {
      this.end(slot, "replaced");
      slot = NO_FLOW;
    }
    if (slot === NO_FLOW) {
      if (!packet.hasFlag("syn") && packet.payloadBytes === 0) return NO_FLOW;
      slot = this.begin(packet);
    }
    const flow = this.table.flowOf(slot);
    flow.noteSegment(packet);
    this.use(slot, flow, nowMicros);
    return slot;
  }

  /** Slot of the flow with `key`, which is likely the one of the packet before. */
  private find(likely: number): number {
    const isLikely = likely !== NO_FLOW && this.table.hasFlow(likely, this.key);
    return isLikely ? likely : this.table.find(this.key);
  }

  /** A SYN begins a connection anew unless it is the first one's retransmission. */
  private belongs(slot: number, packet: IpPacket): boolean {
    const flow = this.table.flowOf(slot);
    if (packet.hasFlag("syn")) return flow.hasBegunAt(packet.sequence);
    return flow.isNear(packet.sequence);
  }

  private begin(packet: IpPacket): number {
    const isFromStart = packet.hasFlag("syn");
    const slot = this.table.add(this.key);
    const base = isFromStart ? (packet.sequence + 1) >>> 0 : packet.sequence;
    this.table.flowOf(slot).open(this.nextNumber++, base, isFromStart);
    this.statistics.opened++;
    this.markChanged(slot);
    return slot;
  }

  private use(slot: number, flow: Flow, nowMicros: number): void {
    flow.lastSeenMicros = nowMicros;
    this.table.touch(slot);
  }

  /** A packet came from the peer's site. */
  noteReceived(packet: IpPacket, nowMicros: number): void {
    if (!packet.isTcp) return;
    writeFlowKey(packet, "in", this.key);
    const slot = this.find(this.receivingSlot);
    this.receivingSlot = slot;
    if (slot === NO_FLOW) return;
    if (packet.hasFlag("rst")) {
      this.end(slot, "reset");
      return;
    }
    const flow = this.table.flowOf(slot);
    const before = flow.acknowledgedOffset;
    flow.noteAnswer(packet);
    this.use(slot, flow, nowMicros);
    if (flow.acknowledgedOffset > before) this.markChanged(slot);
    if (flow.isFinished) this.end(slot, "closed");
  }

  /** All ids below `endId` (32 bits) are covered at `level`: 0 left, else layers of repairs. */
  noteCovered(level: number, endId: number): void {
    const { end: sentEnd, mask } = this.ids;
    const end = Math.min(this.unwrap(endId), sentEnd);
    const before = this.coveredEnd[level] ?? 0;
    if (level >= LEVELS || end <= before) return;
    this.coveredEnd[level] = end;
    for (let id = Math.max(before, sentEnd - mask - 1); id < end; id++) this.cover(level, id);
  }

  private cover(level: number, id: number): void {
    const { ids } = this;
    const slot = ids.slotOf(id);
    if (slot === NO_FLOW) return;
    const flow = this.table.flowOf(slot);
    const offset = ids.offsetOf(id);
    // The slot may have gone to another flow since.
    if (flow.number !== ids.numberOf(id) || offset <= (flow.covered[level] ?? 0)) return;
    flow.covered[level] = offset;
    this.markChanged(slot);
  }

  /** Forgets flows of which nothing was seen for the idle time. */
  expire(nowMicros: number): void {
    for (let slot = this.table.oldest; slot !== NO_FLOW; slot = this.table.oldest) {
      if (this.table.flowOf(slot).lastSeenMicros + this.idleMicros > nowMicros) return;
      this.end(slot, "expired");
    }
  }

  private end(slot: number, reason: FlowEnd): void {
    this.tellEnd(slot, reason);
    this.table.remove(slot);
  }

  private tellEnd(slot: number, reason: FlowEnd): void {
    const flow = this.table.flowOf(slot);
    this.options.onEnd(flow, this.table.keyOf(slot), reason);
    flow.number = 0;
  }

  private markChanged(slot: number): void {
    if (this.isChanged[slot] === 1) return;
    this.isChanged[slot] = 1;
    this.changed[this.changedCount++] = slot;
  }

  /** Hands out each flow that changed since it was handed out last. */
  drainChanged(take: (flow: Flow, key: Uint8Array) => void): void {
    for (let i = 0; i < this.changedCount; i++) {
      const slot = this.changed[i] ?? 0;
      this.isChanged[slot] = 0;
      const flow = this.table.flowOf(slot);
      if (flow.number !== 0) take(flow, this.table.keyOf(slot));
    }
    this.changedCount = 0;
  }

  /** Hands out every flow, for somebody who has just begun to listen. */
  forEach(take: (flow: Flow, key: Uint8Array) => void): void {
    for (let slot = 0; slot < this.table.capacity; slot++) {
      if (this.table.isUsed(slot)) take(this.table.flowOf(slot), this.table.keyOf(slot));
    }
  }
}

/** A ring: of each recent packet its flow, and the offset below which all had passed with it. */
class Entries {
  readonly mask: number;
  /** Entries below were given out. */
  end = 0;
  private readonly slots: Int32Array;
  private readonly numbers: Float64Array;
  private readonly offsets: Float64Array;

  constructor(count: number) {
    this.mask = count - 1;
    this.slots = new Int32Array(count).fill(NO_FLOW);
    this.numbers = new Float64Array(count);
    this.offsets = new Float64Array(count);
  }

  clear(at: number): void {
    this.slots[at & this.mask] = NO_FLOW;
  }

  set(at: number, slot: number, flow: Flow): void {
    this.slots[at & this.mask] = slot;
    this.numbers[at & this.mask] = flow.number;
    this.offsets[at & this.mask] = flow.passedOffset;
  }

  copy(at: number, from: Entries, fromAt: number): void {
    this.slots[at & this.mask] = from.slotOf(fromAt);
    this.numbers[at & this.mask] = from.numberOf(fromAt);
    this.offsets[at & this.mask] = from.offsetOf(fromAt);
  }

  slotOf(at: number): number {
    return this.slots[at & this.mask] ?? NO_FLOW;
  }

  numberOf(at: number): number {
    return this.numbers[at & this.mask] ?? 0;
  }

  offsetOf(at: number): number {
    return this.offsets[at & this.mask] ?? 0;
  }
}
