/**
 * `safeOffset`: how far the stream would survive the death of this site right now.
 *
 * A packet counts when it has left the machine: not when it was handed to the socket, but when the
 * shell said that the socket's queue was empty (`noteLeft`). Each live id has a protection class:
 * which repairs and copies of it have left. The redundancy model gives each class a risk.
 *
 * Invariants: below the mark every byte was acknowledged or has left. When the mark moves, the
 * risk summed over what is not acknowledged below it (union bound) is at most the target; a segment
 * that was reported lost has risk 1 until its replacement has left. The mark never moves back,
 * because somebody may have been told already; but nothing passes it while the sum is too high.
 *
 * Codes change while packets are on their way. Each id belongs to the *epoch* of the code that took
 * it in, and is judged by that code's model until it is settled; there are two epochs at most.
 *
 * What has left helps only if somebody takes it in. When the peer was silent for longer than two
 * round trips and 250 ms (`silence.ts`), it or the path may be gone: the mark is held until a sign
 * of life, long before the session is declared dead.
 */
import { assert } from "../../../lib/assert.ts";
import type { Flight, FlightObserver } from "./flight.ts";
import { ID_WINDOW } from "./packets.ts";
import {
  CLASSES,
  type FieldName,
  fieldOf,
  MAX_COPIES,
  MAX_DEPTH,
  possibleClasses,
  protectionOf,
  withCopyAfter,
  withField,
} from "../code/protection.ts";
import type { RiskModel } from "../code/risk-model.ts";

const MASK = ID_WINDOW - 1;
/** The class of what is known to be lost, or has not left yet. */
const GONE = CLASSES;
/** Ids whose copies may be on their way out of the machine. */
const MAX_LEAVING_COPIES = 256;

/** Levels of protection that a code has, and that a flush gives at least. */
export interface CodeLevels {
  readonly all: number;
  readonly flushed: number;
}

interface Epoch {
  readonly parity: 0 | 1;
  /** Its first id. */
  readonly startId: number;
  readonly levels: CodeLevels;
  readonly classes: readonly number[];
}

/** How far repairs have left, as ends: ids below are covered. `spanPackets` is the model's. */
export interface CoverageEnds {
  coveredEnd(layers: number): number;
  spreadEnd(layers: number): number;
  readonly spanPackets: number;
}

export class Safety implements FlightObserver {
  private readonly flight: Flight;
  private readonly onMessageLost: (id: number) => void;
  private readonly targetRisk: number;
  private present: Epoch;
  /** The epoch before; of interest until the present one's first id is the oldest that is live. */
  private previous: Epoch;
  private readonly classOfId = new Uint16Array(ID_WINDOW);
  private readonly leavingCopies: number[] = [];
  /** Data and repair packets and copies sent so far, and where among them each id left last. */
  private sentPackets = 0;
  private readonly sentPacketsOfId = new Float64Array(ID_WINDOW);
  /** Ids below have left. */
  private leftEndId = 0;
  /** By class of the field's level alone: ids below have reached it. */
  private readonly ends = new Float64Array(CLASSES);
  /** Risk of each class, and how many unacknowledged segments below the mark are in it. */
  private readonly risks = new Float64Array(CLASSES + 1).fill(1);
  private readonly counts = new Uint32Array(CLASSES + 1);
  /** First segment above the mark. */
  private markSegment = 0;
  private markOffset = 0;
  private isHeld = false;

  constructor(
    flight: Flight,
    levels: CodeLevels,
    targetRisk: number,
    onMessageLost: (id: number) => void,
  ) {
    this.flight = flight;
    this.onMessageLost = onMessageLost;
    this.targetRisk = targetRisk;
    this.present = { parity: 0, startId: 0, levels, classes: possibleClasses(levels.all, 0) };
    this.previous = this.present;
  }

  /** Ids of the epoch before are still waited for. */
  get hasTwoEpochs(): boolean {
    return this.flight.settledId < this.present.startId;
  }

  /** From the next id on another code protects, which `setModels` must tell of at once. */
  beginEpoch(levels: CodeLevels): void {
    assert(!this.hasTwoEpochs, "the code changes again too soon");
    const parity = this.present.parity === 0 ? 1 : 0;
    const startId = this.flight.nextId;
    this.previous = this.present;
    this.present = { parity, startId, levels, classes: possibleClasses(levels.all, parity) };
  }

  get safeOffset(): number {
    return this.markOffset;
  }

  /** The link's loss was measured anew. `previous` matters while there are two epochs. */
  setModels(present: RiskModel, previous: RiskModel | null): void {
    this.judge(this.present, present);
    if (previous !== null && this.hasTwoEpochs) this.judge(this.previous, previous);
  }

  private judge({ classes }: Epoch, model: RiskModel): void {
    for (const packetClass of classes) {
      this.risks[packetClass] = model.packetRisk(protectionOf(packetClass));
    }
  }

  /** `id` was given to a new packet. */
  noteSent(id: number): void {
    this.classOfId[id & MASK] = withField(0, "epoch", this.present.parity);
    this.sentPacketsOfId[id & MASK] = this.sentPackets++;
  }

  noteRepairSent(): void {
    this.sentPackets++;
  }

  get hasRoomForCopy(): boolean {
    return this.leavingCopies.length < MAX_LEAVING_COPIES;
  }

  noteCopySent(id: number): void {
    assert(this.hasRoomForCopy, "more copies than the books hold");
    this.leavingCopies.push(id);
    const packets = this.sentPackets - (this.sentPacketsOfId[id & MASK] ?? 0);
    this.sentPacketsOfId[id & MASK] = this.sentPackets++;
    this.setClass(id, withCopyAfter(this.classOfId[id & MASK] ?? 0, packets));
  }

  copiesOf(id: number): number {
    return fieldOf(this.classOfId[id & MASK] ?? 0, "copies");
  }

  /** Of a live id whose data has left. */
  riskOfId(id: number): number {
    return this.risks[this.classOfId[id & MASK] ?? 0] ?? 1;
  }

  /** Whether it has what a flush gives: only copies can make it safer now. */
  isFlushed(id: number): boolean {
    const { flushed } = this.epochOf(id).levels;
    return fieldOf(this.classOfId[id & MASK] ?? 0, "layers") >= flushed;
  }

  private epochOf(id: number): Epoch {
    return id < this.present.startId ? this.previous : this.present;
  }

  /** All given to the socket so far has left the machine: data below `endId`, repairs, copies. */
  noteLeft(endId: number, ends: CoverageEnds): void {
    this.noteDataLeft(endId);
    const { levels, startId } = this.present;
    for (let layers = 1; layers <= levels.all; layers++) {
      this.raise("layers", layers, ends.coveredEnd(layers), 0);
      this.raise("spread", layers, ends.spreadEnd(layers), 0);
    }
    const full = ends.spreadEnd(levels.all);
    for (let depth = 1; depth <= MAX_DEPTH; depth++) {
      this.raise("depth", depth, full - depth * ends.spanPackets, startId);
    }
    for (const id of this.leavingCopies) this.countCopy(id);
    this.leavingCopies.length = 0;
    this.advance();
  }

  private noteDataLeft(endId: number): void {
    const from = Math.max(this.leftEndId, this.flight.settledId);
    this.leftEndId = endId;
    for (let id = from; id < endId; id++) this.recount(id, GONE, this.classOfId[id & MASK] ?? 0);
  }

  /** Ids from `startId` and below `endId` have reached `level`; each is visited once per level. */
  private raise(field: FieldName, level: number, endId: number, startId: number): void {
    const key = withField(0, field, level);
    const reached = this.ends[key] ?? 0;
    if (endId <= reached) return;
    this.ends[key] = endId;
    for (let id = Math.max(reached, startId, this.flight.settledId); id < endId; id++) {
      const before = this.classOfId[id & MASK] ?? 0;
      // After a change of kind the marks say more levels than the code before had.
      const isPossible = level <= this.epochOf(id).levels.all || field === "depth";
      if (isPossible && fieldOf(before, field) < level) {
        this.setClass(id, withField(before, field, level));
      }
    }
  }

  private countCopy(id: number): void {
    const before = this.classOfId[id & MASK] ?? 0;
    const copies = Math.min(MAX_COPIES, fieldOf(before, "copies") + 1);
    if (id >= this.flight.settledId) this.setClass(id, withField(before, "copies", copies));
  }

  private setClass(id: number, packetClass: number): void {
    const before = this.classOfId[id & MASK] ?? 0;
    this.classOfId[id & MASK] = packetClass;
    this.recount(id, before, packetClass);
  }

  private recount(id: number, before: number, after: number): void {
    if (!this.flight.isLive(id)) return;
    const segment = this.flight.segmentOf(id);
    if (segment >= this.markSegment || !this.flight.isOfLink(segment)) return;
    if (this.flight.isInPieces(segment)) return;
    this.count(before, -1);
    this.count(after, 1);
  }

  private count(packetClass: number, difference: number): void {
    this.counts[packetClass] = (this.counts[packetClass] ?? 0) + difference;
  }

  private classOf(segment: number): number {
    if (this.flight.isLost(segment) || this.flight.isInPieces(segment)) return GONE;
    const id = this.flight.currentIdOf(segment);
    return id < this.leftEndId ? (this.classOfId[id & MASK] ?? 0) : GONE;
  }

  segmentAcknowledged(segment: number): void {
    const counts = segment < this.markSegment && this.flight.isOfLink(segment);
    if (counts) this.count(this.classOf(segment), -1);
  }

  segmentLost(segment: number): void {
    if (segment >= this.markSegment || !this.flight.isOfLink(segment)) return;
    this.count(this.classOf(segment), -1);
    this.count(GONE, 1);
  }

  messageLost(id: number): void {
    this.onMessageLost(id);
  }

  /** Sum over the unacknowledged segments below the mark. */
  private get riskBelowMark(): number {
    const lost = this.counts[GONE] ?? 0;
    const before = this.hasTwoEpochs ? this.riskOfEpoch(this.previous) : 0;
    return lost + before + this.riskOfEpoch(this.present);
  }

  private riskOfEpoch({ classes }: Epoch): number {
    let sum = 0;
    for (const packetClass of classes) {
      const count = this.counts[packetClass] ?? 0;
      if (count > 0) sum += count * (this.risks[packetClass] ?? 1);
    }
    return sum;
  }

  /** The peer is silent: the mark stays where it is until `release`. */
  hold(): void {
    this.isHeld = true;
  }

  release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.advance();
  }

  /** Moves the mark as far as the target allows. Messages and other streams are passed over. */
  advance(): void {
    const { flight } = this;
    if (this.markSegment === flight.nextSegment) return;
    let sum = this.riskBelowMark;
    for (; this.markSegment < flight.nextSegment; this.markSegment++) {
      const segment = this.markSegment;
      if (!flight.isOfLink(segment)) continue;
      if (!flight.isAcknowledged(segment)) {
        if (this.isHeld) return;
        const packetClass = this.classOf(segment);
        sum += this.risks[packetClass] ?? 1;
        if (packetClass === GONE || sum > this.targetRisk) return;
        this.count(packetClass, 1);
      }
      this.markOffset = flight.endOf(segment);
    }
  }

  /** Upper bound of the probability that some byte below `offset` cannot be had by a peer that lives. */
  riskBelow(offset: number): number {
    let sum = this.riskBelowMark;
    let reached = this.markOffset;
    for (let s = this.markSegment; s < this.flight.nextSegment && reached < offset; s++) {
      if (!this.flight.isOfLink(s)) continue;
      if (!this.flight.isAcknowledged(s)) sum += this.risks[this.classOf(s)] ?? 1;
      reached = this.flight.endOf(s);
    }
    return reached < offset ? 1 : Math.min(1, sum);
  }
}
