/**
 * The receiving half of a session: data and repair packets in, stream bytes and acks out.
 *
 * Every data packet, whether it came or was rebuilt, goes through `arrivals` (is it new?), then to
 * the reassembly or, when it is a message, to the user. Acks leave after ACK_PACKETS packets, ACK_DELAY_MICROS after the first that is
 * not acknowledged, at once when a hole opens, and every HOLE_ACK_MICROS while holes are open.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { viewOf } from "../../../lib/codec.ts";
import { Arrivals } from "./arrivals.ts";
import type { TransportConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { ErasureDecoder } from "../code/decoder.ts";
import { LossMeter } from "../code/loss-meter.ts";
import type { MessageHandler } from "./messages.ts";
import {
  Ack,
  BareHeader,
  DataHeader,
  FRAME,
  INNER,
  MAX_BITMAP_BYTES,
  MessageFrame,
  RepairHeader,
  SEALED_OVERHEAD_BYTES,
} from "./packets.ts";
import { ReceiveStreams } from "./receive-streams.ts";

const ACK_PACKETS = 16;
export const ACK_DELAY_MICROS = 2_000;
const HOLE_ACK_MICROS = 25_000;
/** … or this share of the time since anything arrived: an outage is not filled with acks. */
const HOLE_ACK_SHARE = 1 / 8;
const MOST_HOLE_ACK_MICROS = 1_000_000;
/** No sender is this far ahead of what it was told: 40 seconds at 100,000 packets a second. */
const MAX_AHEAD = 2 ** 22;

export class Receiver {
  private readonly arrivals = new Arrivals();
  private readonly decoder = new ErasureDecoder();
  private readonly meter = new LossMeter();
  private readonly streams: ReceiveStreams;
  private datagramBytes: number;
  private rebuilt = 0;
  private readonly counters: Pick<Counters, "rebuiltHerePackets" | "messagesReceived">;
  private readonly messages: MessageHandler;
  private readonly info = { mode: "protected" as "protected" | "bare", id: -1, isRebuilt: false };
  private unacknowledged = 0;
  private arrivedMicros = -Infinity;
  private dueMicros = Infinity;
  private echoId = 0;
  private echoMicros = -1;

  constructor(
    config: TransportConfig,
    counters: Pick<Counters, "rebuiltHerePackets" | "messagesReceived">,
    deliver: (stream: number, bytes: Uint8Array) => void,
    messages: MessageHandler,
  ) {
    this.counters = counters;
    this.messages = messages;
    this.streams = new ReceiveStreams(config, deliver);
    this.datagramBytes = config.datagramBytes;
  }

  /** Acks must fit the path too. */
  fit(datagramBytes: number): void {
    this.datagramBytes = datagramBytes;
  }

  /** When an ack must leave; Infinity for never. */
  get ackDueMicros(): number {
    return this.dueMicros;
  }

  /** Throws `SmfsError` for what no correct sender sends. */
  handleData(inner: Uint8Array, nowMicros: number): void {
    const { id, unsettled } = DataHeader.decode(viewOf(inner), 0);
    if (unsettled > id || id > this.arrivals.endId + MAX_AHEAD) {
      throw new SmfsError("DAMAGED", `data packet ${id} is not from this sequence`);
    }
    this.arrivals.settle(id - unsettled);
    const packet = inner.subarray(DataHeader.size);
    const opensHole = id > this.arrivals.endId;
    this.info.isRebuilt = false;
    if (this.take(id, packet)) {
      this.meter.push(id);
      this.echoId = id;
      this.echoMicros = nowMicros;
      this.decoder.handleData(id, packet);
      this.takeRebuilt(nowMicros);
    }
    this.noteForAck(nowMicros, opensHole);
  }

  handleRepair(inner: Uint8Array, nowMicros: number): void {
    this.decoder.handleRepair(inner.subarray(RepairHeader.size));
    this.takeRebuilt(nowMicros);
  }

  /** The sender waits for nothing below `settledId`: what is not had is not asked for any more. */
  handleSettled(settledId: number): void {
    if (settledId > this.arrivals.endId + MAX_AHEAD) {
      throw new SmfsError("DAMAGED", `settled id ${settledId} is not from this sequence`);
    }
    this.arrivals.settle(settledId);
  }

  private takeRebuilt(nowMicros: number): void {
    for (;;) {
      const next = this.decoder.pollRebuilt();
      if (next === null) return;
      this.info.isRebuilt = true;
      if (!this.take(next.id, next.packet)) continue;
      this.rebuilt++;
      this.counters.rebuiltHerePackets++;
      this.noteForAck(nowMicros, false);
    }
  }

  /** True when `id` was not had before and its bytes are kept. */
  private take(id: number, packet: Uint8Array): boolean {
    const arrival = this.arrivals.check(id);
    if (arrival === "duplicate" || arrival === "outside") return false;
    const type = packet[0] ?? 0;
    if (type === FRAME.stream) {
      if (!this.streams.insert(packet)) return false;
      this.arrivals.mark(id);
      return true;
    }
    if (type !== FRAME.message) {
      throw new SmfsError("DAMAGED", `frame of unknown type ${type}`);
    }
    this.arrivals.mark(id);
    this.deliverMessage("protected", id, packet.subarray(MessageFrame.size));
    return true;
  }

  handleBare(inner: Uint8Array): void {
    this.info.isRebuilt = false;
    this.deliverMessage("bare", -1, inner.subarray(BareHeader.size));
  }

  private deliverMessage(mode: "protected" | "bare", id: number, message: Uint8Array): void {
    this.counters.messagesReceived++;
    this.info.mode = mode;
    this.info.id = id;
    this.messages.onMessage(message, this.info);
  }

  private holeAckMicros(nowMicros: number): number {
    const micros = Math.max(HOLE_ACK_MICROS, HOLE_ACK_SHARE * (nowMicros - this.arrivedMicros));
    return Math.min(MOST_HOLE_ACK_MICROS, micros);
  }

  private noteForAck(nowMicros: number, isUrgent: boolean): void {
    this.arrivedMicros = nowMicros;
    this.unacknowledged++;
    const isNow = isUrgent || this.unacknowledged >= ACK_PACKETS;
    this.dueMicros = Math.min(this.dueMicros, isNow ? nowMicros : nowMicros + ACK_DELAY_MICROS);
  }

  private get pathReport() {
    const { judgedPackets, lostPackets, burstsByLength, overtakenBy } = this.meter.statistics;
    const runs = (bucket: number): number => (burstsByLength[bucket] ?? 0) >>> 0;
    return {
      judgedPackets,
      missedPackets: lostPackets,
      runs1: runs(0),
      runs2: runs(1),
      runs4: runs(2),
      runs8: runs(3),
      runs16: runs(4),
      runs32: runs(5),
      runs64: runs(6),
      runsLonger: runs(7),
      overtakenBy,
    };
  }

  /** Writes an ack; its length. */
  writeAck(out: Uint8Array, nowMicros: number): number {
    const { arrivals, meter } = this;
    const view = viewOf(out);
    const bitmapAt = this.streams.writeCredits(view, Ack.size);
    const room = Math.min(MAX_BITMAP_BYTES, this.datagramBytes - SEALED_OVERHEAD_BYTES - bitmapAt);
    const bitmapBytes = arrivals.writeBitmap(out.subarray(bitmapAt, bitmapAt + (room & ~7)));
    const { loss, burst } = meter.estimate();
    Ack.encode(view, 0, {
      kind: INNER.ack,
      streams: this.streams.count,
      bitmapBytes,
      baseId: arrivals.baseId,
      endId: arrivals.endId,
      echoId: this.echoId,
      echoValid: this.echoMicros < 0 ? 0 : 1,
      echoDelayMicros: this.echoMicros < 0 ? 0 : Math.round(nowMicros - this.echoMicros) >>> 0,
      lostPackets: this.rebuilt + arrivals.unrecoverable,
      rebuiltPackets: this.rebuilt,
      unrecoverablePackets: arrivals.unrecoverable,
      loss,
      burst,
      ...this.pathReport,
    });
    this.unacknowledged = 0;
    this.dueMicros = arrivals.hasHoles ? nowMicros + this.holeAckMicros(nowMicros) : Infinity;
    return bitmapAt + bitmapBytes;
  }
}
