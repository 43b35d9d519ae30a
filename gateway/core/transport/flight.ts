/**
 * What was sent and not acknowledged.
 *
 * Two rings. A *segment* is a run of stream bytes as first sent; segments follow one another in the
 * stream and keep their ends for life. An *id* is one data packet in the code; every sending
 * of a segment takes the next id. A segment is IN_FLIGHT as its current id, LOST (it waits for a
 * new id), or ACKNOWLEDGED. An id is live while it is the current id of a segment in flight.
 * A segment that has become too long for the path leaves in pieces, one after the other: when a
 * piece has arrived, the segment begins behind it and is LOST until the next piece has left.
 * A message is a segment too, with one id; when that is lost there is nothing more to wait for, and
 * it counts as acknowledged from then on.
 *
 * Ids below `settledId` are not live: acknowledged, given up, or superseded. The receiver learns
 * `settledId` with every data packet and stops waiting for what is below.
 */
import { assert } from "../../../lib/assert.ts";
import { ID_WINDOW, MAX_STREAMS } from "./packets.ts";

const MASK = ID_WINDOW - 1;
const IN_FLIGHT = 1;
const ACKNOWLEDGED = 2;
const LOST = 3;

/** Hears of every change of a segment's fate, before its state changes. */
export interface FlightObserver {
  segmentAcknowledged(segment: number): void;
  segmentLost(segment: number): void;
  messageLost(id: number): void;
}

/** In `owners`: the segment is a message, and of no stream. */
const MESSAGE = 255;

/** When an unacknowledged id counts as lost. */
export interface LossRule {
  /** Ids that must have been acknowledged past it for the code to have had its chance. */
  readonly horizonPackets: number;
  /** … or this long since it was sent, when any later id was acknowledged, microseconds. */
  readonly horizonMicros: number;
}

export class Flight {
  private readonly segmentOfId = new Uint32Array(ID_WINDOW);
  private readonly sentMicrosOfId = new Float64Array(ID_WINDOW);
  private readonly acknowledgedBits = new Uint8Array(ID_WINDOW / 8);
  private readonly offsets = new Float64Array(ID_WINDOW);
  private readonly lengths = new Uint16Array(ID_WINDOW);
  /** Bytes of the segment, from its start, that its current id carries. */
  private readonly pieces = new Uint16Array(ID_WINDOW);
  private readonly currentIds = new Uint32Array(ID_WINDOW);
  private readonly states = new Uint8Array(ID_WINDOW);
  /** Number of the stream, or MESSAGE. */
  private readonly owners = new Uint8Array(ID_WINDOW);
  /** The segment that follows in the same stream. */
  private readonly successors = new Float64Array(ID_WINDOW);
  /** By stream: the first segment that was not delivered, Infinity for none, and the last sent. */
  private readonly firstOfStream = new Float64Array(MAX_STREAMS).fill(Infinity);
  private readonly lastOfStream = new Float64Array(MAX_STREAMS);
  private readonly lostQueue = new Uint32Array(ID_WINDOW);
  private lostHead = 0;
  private lostTail = 0;
  private acknowledgedBelowId = 0;
  private readonly observer: () => FlightObserver;

  /** Next id to be given. */
  nextId = 0;
  settledId = 0;
  /** 1 + highest id known to have arrived. */
  arrivedEndId = 0;
  /** All segments below are acknowledged, and what they hold of streams was delivered. */
  firstSegment = 0;
  nextSegment = 0;
  inFlightBytes = 0;

  /** `observer` is asked for when first needed: it knows the flight too. */
  constructor(observer: () => FlightObserver) {
    this.observer = observer;
  }

  /** Room for one more packet in both rings, and for the receiver's books. */
  get hasRoom(): boolean {
    return (
      this.nextId - this.settledId < ID_WINDOW - 1 &&
      this.nextSegment - this.firstSegment < ID_WINDOW - 1
    );
  }

  /** A new segment of a stream leaves; its id. */
  sendNew(stream: number, offset: number, length: number, nowMicros: number): number {
    const segment = this.begin(length, stream);
    this.offsets[segment & MASK] = offset;
    this.chain(stream, segment);
    return this.assign(segment, nowMicros);
  }

  private chain(stream: number, segment: number): void {
    this.successors[segment & MASK] = Infinity;
    if (this.firstOfStream[stream] === Infinity) this.firstOfStream[stream] = segment;
    else this.successors[(this.lastOfStream[stream] ?? 0) & MASK] = segment;
    this.lastOfStream[stream] = segment;
  }

  /** A message leaves, for the only time; its id. */
  sendMessage(length: number, nowMicros: number): number {
    return this.assign(this.begin(length, MESSAGE), nowMicros);
  }

  private begin(length: number, owner: number): number {
    assert(this.hasRoom, "the flight is full");
    const segment = this.nextSegment++;
    this.lengths[segment & MASK] = length;
    this.owners[segment & MASK] = owner;
    return segment;
  }

  /** A lost segment leaves again, or as much of it as fits; its new id. */
  resend(segment: number, mostBytes: number, nowMicros: number): number {
    assert(this.states[segment & MASK] === LOST, "only lost segments are sent again");
    return this.assign(segment, nowMicros, mostBytes);
  }

  private assign(segment: number, nowMicros: number, mostBytes = Infinity): number {
    this.pieces[segment & MASK] = Math.min(this.lengthOf(segment), mostBytes);
    const id = this.nextId++;
    this.segmentOfId[id & MASK] = segment;
    this.sentMicrosOfId[id & MASK] = nowMicros;
    const byte = (id & MASK) >> 3;
    this.acknowledgedBits[byte] = (this.acknowledgedBits[byte] ?? 0) & ~(1 << (id & 7));
    this.currentIds[segment & MASK] = id;
    this.states[segment & MASK] = IN_FLIGHT;
    this.inFlightBytes += this.lengthOf(segment);
    return id;
  }

  segmentOf(id: number): number {
    return this.segmentOfId[id & MASK] ?? 0;
  }

  sentMicros(id: number): number {
    return this.sentMicrosOfId[id & MASK] ?? 0;
  }

  offsetOf(segment: number): number {
    return this.offsets[segment & MASK] ?? 0;
  }

  lengthOf(segment: number): number {
    return this.lengths[segment & MASK] ?? 0;
  }

  /** Bytes from the segment's start on that its current id carries. */
  pieceOf(segment: number): number {
    return this.pieces[segment & MASK] ?? 0;
  }

  /** Only a piece is in flight: nothing protects the rest. */
  isInPieces(segment: number): boolean {
    return this.pieceOf(segment) < this.lengthOf(segment);
  }

  isMessage(segment: number): boolean {
    return this.owners[segment & MASK] === MESSAGE;
  }

  /** Only the link's segments have a `safeOffset`. */
  isOfLink(segment: number): boolean {
    return this.owners[segment & MASK] === 0;
  }

  /** Number of the stream that the segment is a piece of; it is no message. */
  streamOf(segment: number): number {
    return this.owners[segment & MASK] ?? 0;
  }

  /** Everything sent was acknowledged, or was a message and is lost. */
  get isEmpty(): boolean {
    return this.firstSegment === this.nextSegment;
  }

  endOf(segment: number): number {
    return this.offsetOf(segment) + this.lengthOf(segment);
  }

  currentIdOf(segment: number): number {
    return this.currentIds[segment & MASK] ?? 0;
  }

  isAcknowledged(segment: number): boolean {
    return segment < this.firstSegment || this.states[segment & MASK] === ACKNOWLEDGED;
  }

  isLost(segment: number): boolean {
    return segment >= this.firstSegment && this.states[segment & MASK] === LOST;
  }

  isLive(id: number): boolean {
    if (id < this.settledId || id >= this.nextId) return false;
    const segment = this.segmentOf(id);
    return (
      segment >= this.firstSegment &&
      this.states[segment & MASK] === IN_FLIGHT &&
      this.currentIdOf(segment) === id
    );
  }

  /** The oldest live id, or −1. `settledId` rests on it after `settle`. */
  get oldestLiveId(): number {
    return this.isLive(this.settledId) ? this.settledId : -1;
  }

  /** All ids below `baseId` arrived, or were settled before. */
  acknowledgeBelow(baseId: number): void {
    const end = Math.min(baseId, this.nextId);
    for (let id = Math.max(this.acknowledgedBelowId, this.settledId); id < end; id++) {
      this.acknowledgeId(id);
    }
    this.acknowledgedBelowId = Math.max(this.acknowledgedBelowId, end);
  }

  /** `bitmap` holds the ids that arrived, from `startId`, a multiple of 8. */
  acknowledgeBitmap(startId: number, bitmap: Uint8Array): void {
    for (let i = 0; i < bitmap.length; i++) {
      const byteId = startId + 8 * i;
      if (byteId >= this.nextId) return;
      const slot = (byteId & MASK) >> 3;
      const known = this.acknowledgedBits[slot] ?? 0;
      let fresh = (bitmap[i] ?? 0) & ~known;
      this.acknowledgedBits[slot] = known | fresh;
      for (; fresh !== 0; fresh &= fresh - 1) this.acknowledgeId(byteId + trailingZeros(fresh));
    }
  }

  private acknowledgeId(id: number): void {
    if (id >= this.nextId) return;
    this.arrivedEndId = Math.max(this.arrivedEndId, id + 1);
    if (!this.isLive(id)) return;
    const segment = this.segmentOf(id);
    if (this.isInPieces(segment)) this.acknowledgePiece(segment);
    else this.acknowledgeSegment(segment);
  }

  /** What is left of the segment takes its turn among those that were lost. */
  private acknowledgePiece(segment: number): void {
    const piece = this.pieceOf(segment);
    this.inFlightBytes -= this.lengthOf(segment);
    this.observer().segmentLost(segment);
    this.offsets[segment & MASK] = this.offsetOf(segment) + piece;
    this.lengths[segment & MASK] = this.lengthOf(segment) - piece;
    this.states[segment & MASK] = LOST;
    this.lostQueue[this.lostTail++ & MASK] = segment;
  }

  private acknowledgeSegment(segment: number): void {
    this.observer().segmentAcknowledged(segment);
    if (this.states[segment & MASK] === IN_FLIGHT) this.inFlightBytes -= this.lengthOf(segment);
    this.states[segment & MASK] = ACKNOWLEDGED;
  }

  /** The receiver has every byte of the stream below `offset`. */
  acknowledgeThrough(stream: number, offset: number): void {
    let segment = this.firstOfStream[stream] ?? Infinity;
    while (segment !== Infinity && this.endOf(segment) <= offset) {
      if (!this.isAcknowledged(segment)) this.acknowledgeSegment(segment);
      segment = this.successors[segment & MASK] ?? Infinity;
    }
    this.firstOfStream[stream] = segment;
  }

  /** Forgets the segments that nothing more is to be heard of. */
  private forget(): void {
    while (this.firstSegment < this.nextSegment && this.isOver(this.firstSegment)) {
      this.firstSegment++;
    }
  }

  private isOver(segment: number): boolean {
    if (this.states[segment & MASK] !== ACKNOWLEDGED) return false;
    return this.isMessage(segment) || segment < (this.firstOfStream[this.streamOf(segment)] ?? 0);
  }

  /** Moves `settledId` over everything whose fate is known, declaring losses by `rule`. */
  settle(rule: LossRule, nowMicros: number): void {
    while (this.settledId < this.nextId) {
      const id = this.settledId;
      if (this.isLive(id)) {
        if (!this.isLostBy(rule, id, nowMicros)) break;
        this.declareLost(id);
      }
      this.settledId++;
    }
    this.forget();
  }

  private isLostBy(rule: LossRule, id: number, nowMicros: number): boolean {
    if (id + rule.horizonPackets < this.arrivedEndId) return true;
    return id + 1 < this.arrivedEndId && this.sentMicros(id) + rule.horizonMicros <= nowMicros;
  }

  /** When `settle` would declare the next loss, if nothing arrives before; Infinity for never. */
  nextLossMicros(rule: LossRule): number {
    const id = this.oldestLiveId;
    if (id < 0 || id + 1 >= this.arrivedEndId) return Infinity;
    return this.sentMicros(id) + rule.horizonMicros;
  }

  /** A probe: gives up on the oldest live id whatever the rule says. */
  declareOldestLost(): void {
    if (this.oldestLiveId < 0) return;
    this.declareLost(this.settledId);
    this.settledId++;
  }

  private declareLost(id: number): void {
    const segment = this.segmentOf(id);
    this.inFlightBytes -= this.lengthOf(segment);
    if (this.isMessage(segment)) {
      this.states[segment & MASK] = ACKNOWLEDGED;
      this.observer().messageLost(id);
      return;
    }
    this.observer().segmentLost(segment);
    this.states[segment & MASK] = LOST;
    this.lostQueue[this.lostTail++ & MASK] = segment;
  }

  /** The next segment that must be sent again, or −1. Those acknowledged meanwhile are skipped. */
  nextLost(): number {
    while (this.lostHead < this.lostTail) {
      const segment = this.lostQueue[this.lostHead & MASK] ?? 0;
      if (this.isLost(segment)) return segment;
      this.lostHead++;
    }
    return -1;
  }
}

function trailingZeros(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
