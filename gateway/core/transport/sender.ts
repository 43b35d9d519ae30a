/**
 * The sending half of a session: stream bytes in, data and repair packets out.
 *
 * `poll` gives, as fast as the pacer lets it, in this order: repairs that are due, segments that
 * were lost, new data, copies for a waiter. Repairs go first because the encoder's memory is
 * bounded and because they age; copies only use what the line has to spare. Bytes stay in the ring until the peer has them in order.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { TransportConfig } from "./config.ts";
import type { CodeParameters } from "../code/code.ts";
import { CodeControl, codeLevels } from "./code-control.ts";
import { CopyPlan } from "./copies.ts";
import type { Counters } from "./counters.ts";
import { ErasureEncoder } from "../code/encoder.ts";
import { Flight, type LossRule } from "./flight.ts";
import { Hurry } from "./hurry.ts";
import { LossReports } from "./loss-reports.ts";
import { MessageQueue } from "./message-queue.ts";
import type { MessageHandler, MessageMode } from "./messages.ts";
import { BURST_DATAGRAMS, Pacer, RateControl } from "./pacer.ts";
import {
  type AckFields,
  BareHeader,
  DATA_OVERHEAD_BYTES,
  DataHeader,
  FRAME,
  INNER,
  MessageFrame,
  RepairHeader,
  SEALED_OVERHEAD_BYTES,
  type StreamCreditFields,
  StreamFrame,
} from "./packets.ts";
import { depthPackets, MAX_LEVELS } from "../code/parameters.ts";
import { ACK_DELAY_MICROS } from "./receiver.ts";
import { RoundTrip } from "./rtt.ts";
import { type CoverageEnds, Safety } from "./safety.ts";
import { type SendStream, SendStreams } from "./send-streams.ts";
import { Silence } from "./silence.ts";

/** Ids left when a session is ended for a new one: they must not wrap. */
const LAST_ID = 2 ** 32 - 2 ** 20;
/** Time for repairs to be made and taken in before a packet counts as lost, microseconds. */
const CODE_MICROS = 10_000;
/** In flight at most: two paths full at the present rate, but never less than a socket holds. */
const IN_FLIGHT_PATHS = 2;
const LEAST_IN_FLIGHT_BYTES = 2 ** 18;
/** What two busy processes may add to a round trip without it being a queue on the path. */
const ENDPOINT_MICROS = 5_000;
/**
 * When nobody waits, partial groups leave after a quarter of a round trip without data: soon enough
 * to come before what is lost is sent again, late enough that slow traffic fills its groups.
 */
const LEAST_IDLE_MICROS = 2_000;
const MOST_IDLE_MICROS = 25_000;
const MAX_PROBE_MICROS = 2_000_000;
/** What two busy processes may add to the answer of a ping, microseconds. */
const ANSWER_DELAY_MICROS = 25_000;
/** Packets that may still be overtaken when the code's horizon is over. */
const REORDER_PACKETS = 64;

export class Sender {
  private readonly roundTrip = new RoundTrip();
  private readonly rate: RateControl;
  private readonly counters: Counters;
  private readonly streams: SendStreams;
  private readonly link: SendStream;
  private readonly safety: Safety;
  private readonly flight: Flight;
  private readonly encoder: ErasureEncoder;
  private readonly pacer: Pacer;
  private readonly hurrying = new Hurry();
  private readonly coverage: CoverageEnds;
  private readonly copies: CopyPlan;
  private readonly code: CodeControl;
  private readonly reports: LossReports;
  private readonly silence: Silence;
  private readonly queue: MessageQueue;
  private readonly messages: MessageHandler;
  /** What the path takes at present. */
  private datagramBytes: number;
  /** Of a data packet: what the code takes at most. */
  private frameBytes: number;
  /** Ids below left before the path became narrower: their repairs may not have arrived. */
  private cutEndId = 0;
  /** The last new data packet was a message. */
  private wasMessage = false;
  /** By number of layers: what `onCovered` was told. */
  private readonly toldEnds = new Float64Array(MAX_LEVELS + 1);
  /** One object, filled anew: it is asked for with every packet. */
  private readonly rule = { horizonPackets: 0, horizonMicros: Infinity };
  private lastEchoId = -1;
  private probeBaseMicros = 0;
  private probes = 0;
  /** Since the last `noteLeft` something was polled, or somebody began to wait. */
  private hasNews = false;

  constructor(
    config: TransportConfig,
    counters: Counters,
    messages: MessageHandler,
    nowMicros: number,
  ) {
    this.counters = counters;
    this.streams = new SendStreams(config);
    this.link = this.streams.link;
    const flight = new Flight(() => this.safety);
    this.flight = flight;
    const onMessageLost = (id: number): void => this.noteMessageLost(id);
    this.safety = new Safety(flight, codeLevels(config.code), config.targetRisk, onMessageLost);
    this.queue = new MessageQueue(config.messageQueuePackets);
    this.messages = messages;
    this.encoder = new ErasureEncoder({ parameters: config.code });
    this.pacer = new Pacer(BURST_DATAGRAMS * config.datagramBytes);
    this.rate = new RateControl(config.rateBitsPerSecond);
    this.coverage = new EncoderCoverage(this.encoder);
    this.copies = new CopyPlan(flight, this.safety, config.targetRisk);
    this.code = new CodeControl(config, this.encoder, this.safety, counters);
    this.reports = new LossReports(this.code, this.rate, counters, nowMicros);
    this.silence = new Silence(config.keepAliveMicros, nowMicros);
    this.datagramBytes = config.datagramBytes;
    this.frameBytes = largestFrameBytes(config.datagramBytes, this.encoder);
    this.probeBaseMicros = nowMicros;
  }

  /** Stream 0 is the link. */
  stream(number: number): SendStream {
    return this.streams.open(number);
  }

  tellProgress(tell: (stream: number) => void): void {
    this.streams.tellProgress(tell);
  }

  /** Of the link, as all offsets that say no stream. */
  get safeOffset(): number {
    return Math.max(this.link.acknowledgedOffset, this.safety.safeOffset);
  }

  get codesInUse(): readonly CodeParameters[] {
    return this.code.inUse;
  }

  /** Nothing below is waited for. */
  get settledId(): number {
    return this.flight.settledId;
  }

  /** The session has used up its packet numbers. */
  get isExhausted(): boolean {
    return this.flight.nextId >= LAST_ID;
  }

  /** The longest message that fits a datagram. */
  messageBytes(mode: MessageMode): number {
    if (mode === "protected") return this.frameBytes - MessageFrame.size;
    return this.datagramBytes - SEALED_OVERHEAD_BYTES - BareHeader.size;
  }

  /**
   * The path takes other sizes now. Nothing becomes safe by repairs that were made for a wider path
   * until the fate of the packets they protect is known.
   */
  fit(datagramBytes: number): void {
    if (datagramBytes < this.datagramBytes) {
      this.cutEndId = this.flight.nextId;
      if (!this.flight.isEmpty) this.safety.hold();
    }
    this.datagramBytes = datagramBytes;
    this.frameBytes = largestFrameBytes(datagramBytes, this.encoder);
  }

  /** False when the queue is full. */
  sendMessage(message: Uint8Array, mode: MessageMode, token: number): boolean {
    const isTaken = this.queue.push(message, mode, token);
    if (!isTaken) this.counters.messagesRefused++;
    return isTaken;
  }

  hurry(offset: number): void {
    this.hurrying.want(Math.min(offset, this.link.writtenOffset));
    this.code.noteWaiter();
    this.hasNews = true;
  }

  riskBelow(offset: number): number {
    return offset <= this.link.acknowledgedOffset ? 0 : this.safety.riskBelow(offset);
  }

  /** Writes the next data or repair packet; its length, or 0 when none may leave now. */
  poll(out: Uint8Array, nowMicros: number): number {
    this.hurrying.update(this.link.sentOffset, this.safeOffset);
    if (this.hurrying.flushMicros <= nowMicros) this.flush(nowMicros);
    if (this.hurrying.isFlushing && this.encoder.nextTimeoutMicros() > nowMicros) {
      this.hurrying.noteDrained(this.packetMicros, nowMicros);
    }
    if (this.pacer.readyMicros > nowMicros) return 0;
    const length =
      this.pollRepair(out, nowMicros) ||
      this.pollLost(out, nowMicros) ||
      this.pollInTurn(out, nowMicros) ||
      this.pollCopy(out);
    if (length === 0) return 0;
    this.hasNews = true;
    const bytes = length + SEALED_OVERHEAD_BYTES;
    this.pacer.noteSent(bytes, this.rate.bitsPerSecond, nowMicros);
    return length;
  }

  private flush(nowMicros: number): void {
    this.encoder.flushThrough((this.flight.nextId - 1) >>> 0, nowMicros);
    this.hurrying.noteFlush(this.link.sentOffset);
  }

  private pollRepair(out: Uint8Array, nowMicros: number): number {
    // While data waits for the pacer the line is not idle, however slow it is.
    const isIdle = !this.hasData;
    const repair = out.subarray(RepairHeader.size);
    const idleMicros = isIdle ? nowMicros : -Infinity;
    let length = this.pollFitting(repair, idleMicros);
    if (length === 0 && this.code.noteDrained(nowMicros)) {
      length = this.pollFitting(repair, idleMicros);
    }
    if (length === 0) return 0;
    RepairHeader.encode(viewOf(out), 0, { kind: INNER.repair });
    this.hurrying.noteRepair();
    this.safety.noteRepairSent();
    this.counters.repairPacketsSent++;
    return RepairHeader.size + length;
  }

  /** Repairs of packets that the path took before it became narrower would not arrive. */
  private pollFitting(repair: Uint8Array, idleMicros: number): number {
    const mostBytes = this.datagramBytes - SEALED_OVERHEAD_BYTES - RepairHeader.size;
    let length = 0;
    do length = this.encoder.poll(repair, idleMicros);
    while (length > mostBytes);
    return length;
  }

  /** Waking later by so much costs nothing: nobody waits, and a burst makes up for it. */
  get lateMicros(): number {
    const isWaited = this.hurrying.wantedOffset > this.safeOffset;
    return isWaited ? 0 : BURST_DATAGRAMS * this.packetMicros;
  }

  private get packetMicros(): number {
    return (8e6 * this.datagramBytes) / this.rate.bitsPerSecond;
  }

  private pollCopy(out: Uint8Array): number {
    const id = this.copies.next();
    if (id < 0 || this.flight.pieceOf(this.flight.segmentOf(id)) > this.pieceBytes) return 0;
    this.safety.noteCopySent(id);
    this.counters.repairPacketsSent++;
    return this.writeData(out, id);
  }

  private pollLost(out: Uint8Array, nowMicros: number): number {
    const segment = this.flight.nextLost();
    if (segment < 0 || !this.flight.hasRoom) return 0;
    const id = this.flight.resend(segment, this.pieceBytes, nowMicros);
    this.counters.retransmittedPackets++;
    this.hurrying.noteResent();
    return this.protect(out, id, nowMicros);
  }

  /** Messages and stream take turns, so that neither waits for the other's end. */
  private pollInTurn(out: Uint8Array, nowMicros: number): number {
    return this.wasMessage
      ? this.pollNew(out, nowMicros) || this.pollMessage(out, nowMicros)
      : this.pollMessage(out, nowMicros) || this.pollNew(out, nowMicros);
  }

  private pollNew(out: Uint8Array, nowMicros: number): number {
    const stream = this.nextStream;
    if (stream === null || !this.flight.hasRoom) return 0;
    const length = stream.newBytes(this.pieceBytes);
    this.wasMessage = false;
    this.noteNew(nowMicros);
    const id = this.flight.sendNew(stream.number, stream.sentOffset, length, nowMicros);
    stream.sentOffset += length;
    this.streams.pass(stream);
    return this.protect(out, id, nowMicros);
  }

  private noteNew(nowMicros: number): void {
    if (this.flight.inFlightBytes === 0) this.probeBaseMicros = nowMicros;
    if (this.flight.isEmpty) this.silence.noteWaiting(nowMicros);
  }

  private pollMessage(out: Uint8Array, nowMicros: number): number {
    const { queue } = this;
    this.dropLongMessages();
    if (!this.canPollMessage) return 0;
    this.wasMessage = true;
    this.counters.messagesSent++;
    const { length } = queue;
    if (queue.mode === "bare") {
      BareHeader.encode(viewOf(out), 0, { kind: INNER.bare });
      queue.take(out, BareHeader.size);
      return BareHeader.size + length;
    }
    const { token } = queue;
    this.noteNew(nowMicros);
    const id = this.flight.sendMessage(length, nowMicros);
    this.safety.noteSent(id);
    MessageFrame.encode(viewOf(out), this.writeHeader(out, id), { type: FRAME.message });
    queue.take(out, DataHeader.size + MessageFrame.size);
    this.encode(out, id, DataHeader.size + MessageFrame.size + length, nowMicros);
    this.messages.onMessageSent(id, token);
    return DataHeader.size + MessageFrame.size + length;
  }

  /** They were queued when the path was wider. */
  private dropLongMessages(): void {
    const { queue } = this;
    for (; !queue.isEmpty && queue.length > this.messageBytes(queue.mode); queue.drop()) {
      this.counters.messagesRefused++;
    }
  }

  private get canPollMessage(): boolean {
    const { queue, flight } = this;
    if (queue.isEmpty || queue.mode === "bare") return !queue.isEmpty;
    return flight.hasRoom && flight.inFlightBytes + queue.length <= this.inFlightLimitBytes;
  }

  private noteMessageLost(id: number): void {
    this.counters.messagesLost++;
    this.messages.onMessageLost(id);
  }

  /** Stream bytes in a full packet. */
  private get pieceBytes(): number {
    return this.frameBytes - StreamFrame.size;
  }

  /** Whose turn it is, when something new may leave. */
  private get nextStream(): SendStream | null {
    const fits = this.flight.inFlightBytes + this.pieceBytes <= this.inFlightLimitBytes;
    return fits ? this.streams.next(this.pieceBytes) : null;
  }

  /** More than this in flight stands in queues and does not come sooner. */
  private get inFlightLimitBytes(): number {
    const bytesPerMicro = this.rate.bitsPerSecond / 8e6;
    const pathMicros = this.roundTrip.leastMicros + ENDPOINT_MICROS;
    return Math.max(LEAST_IN_FLIGHT_BYTES, IN_FLIGHT_PATHS * bytesPerMicro * pathMicros);
  }

  private get hasData(): boolean {
    const hasStream = this.flight.nextLost() >= 0 || this.nextStream !== null;
    return (this.flight.hasRoom && hasStream) || this.canPollMessage;
  }

  /** A data packet that enters the code. */
  private protect(out: Uint8Array, id: number, nowMicros: number): number {
    this.safety.noteSent(id);
    const length = this.writeData(out, id);
    this.encode(out, id, length, nowMicros);
    return length;
  }

  private encode(packet: Uint8Array, id: number, length: number, nowMicros: number): void {
    this.encoder.push(id, packet.subarray(DataHeader.size, length), nowMicros);
    this.counters.dataPacketsSent++;
  }

  private writeData(out: Uint8Array, id: number): number {
    const { flight } = this;
    const segment = flight.segmentOf(id);
    const stream = flight.streamOf(segment);
    const offset = flight.offsetOf(segment);
    const length = flight.pieceOf(segment);
    const frame = { type: FRAME.stream, stream, offset };
    StreamFrame.encode(viewOf(out), this.writeHeader(out, id), frame);
    this.streams.of(stream).ring.read(offset, length, out, DATA_OVERHEAD_BYTES);
    return DATA_OVERHEAD_BYTES + length;
  }

  private writeHeader(out: Uint8Array, id: number): number {
    const unsettled = id - this.flight.settledId;
    DataHeader.encode(viewOf(out), 0, { kind: INNER.data, unsettled, id });
    return DataHeader.size;
  }

  /** Everything polled so far has left the machine. */
  noteLeft(): void {
    if (!this.hasNews) return;
    this.hasNews = false;
    this.safety.noteLeft(this.flight.nextId, this.coverage);
    this.tellCoverage();
    if (this.hurrying.isFlushed && this.hurrying.wantedOffset > this.safeOffset) {
      this.copies.plan(this.hurrying.wantedOffset);
    }
  }

  private tellCoverage(): void {
    const { toldEnds, flight } = this;
    for (let layers = 0; layers <= this.code.levels; layers++) {
      const end = layers === 0 ? flight.nextId : this.coverage.coveredEnd(layers);
      if (end <= (toldEnds[layers] ?? 0)) continue;
      toldEnds[layers] = end;
      this.messages.onCovered(layers, end);
    }
  }

  /** Throws `SmfsError` for an ack of something that was not sent. */
  handleAck(
    ack: AckFields,
    credits: readonly StreamCreditFields[],
    bitmap: Uint8Array,
    nowMicros: number,
  ): void {
    const { flight } = this;
    if (Math.max(ack.baseId, ack.endId) > flight.nextId) {
      throw new SmfsError("DAMAGED", "an ack of packets that were not sent");
    }
    this.streams.check(credits);
    const hasEcho = this.sampleEcho(ack, nowMicros);
    const arrivedBefore = flight.arrivedEndId;
    flight.acknowledgeBelow(ack.baseId);
    flight.acknowledgeBitmap(ack.baseId - (ack.baseId % 8), bitmap);
    let hasProgress = flight.arrivedEndId > arrivedBefore;
    for (const credit of credits) {
      flight.acknowledgeThrough(credit.stream, credit.deliveredOffset);
      if (this.streams.handleCredit(credit)) hasProgress = true;
    }
    if (hasProgress) this.noteProgress(nowMicros);
    if (hasProgress || hasEcho) this.noteHeard(nowMicros);
    this.settle(nowMicros);
    const openPackets = flight.nextSegment - flight.firstSegment;
    this.reports.handle(ack, this.roundTrip, openPackets, nowMicros);
    this.safety.advance();
  }

  /** Whether the ack tells of a packet that arrived since the ack before. */
  private sampleEcho(ack: AckFields, nowMicros: number): boolean {
    const { echoId } = ack;
    if (ack.echoValid !== 1 || echoId <= this.lastEchoId) return false;
    if (echoId < this.flight.settledId || echoId >= this.flight.nextId) return false;
    this.lastEchoId = echoId;
    const elapsed = nowMicros - this.flight.sentMicros(echoId);
    this.sampleRoundTrip(elapsed - ack.echoDelayMicros, nowMicros);
    return true;
  }

  /**
   * A ping of ours was answered after so long. `isSign`: packets as long as ours arrive as well, as
   * far as anybody knows.
   */
  handlePong(roundTripMicros: number, { isSign }: { isSign: boolean }, nowMicros: number): void {
    this.sampleRoundTrip(roundTripMicros, nowMicros);
    if (isSign) this.noteHeard(nowMicros);
  }

  private noteHeard(nowMicros: number): void {
    this.silence.noteHeard(nowMicros);
    if (this.flight.settledId >= this.cutEndId) this.safety.release();
  }

  /** By when a ping that arrived is answered, almost always. */
  get answerMicros(): number {
    const { smoothedMicros, variationMicros } = this.roundTrip;
    return smoothedMicros + 4 * variationMicros + ANSWER_DELAY_MICROS;
  }

  /** When the youngest packet left of which is known that it arrived; −Infinity for none. */
  get echoedMicros(): number {
    return this.lastEchoId < 0 ? -Infinity : this.flight.sentMicros(this.lastEchoId);
  }

  /** From when on the peer must be asked whether it is there. */
  get doubtMicros(): number {
    return this.silence.doubtMicros(this.roundTrip.smoothedMicros);
  }

  private sampleRoundTrip(micros: number, nowMicros: number): void {
    this.roundTrip.sample(micros, nowMicros);
    const idleMicros = this.roundTrip.leastMicros / 4;
    this.encoder.idleMicros = Math.min(MOST_IDLE_MICROS, Math.max(LEAST_IDLE_MICROS, idleMicros));
    this.counters.roundTripMicros = Math.round(this.roundTrip.smoothedMicros);
  }

  private noteProgress(nowMicros: number): void {
    this.probes = 0;
    this.probeBaseMicros = nowMicros;
  }

  private settle(nowMicros: number): void {
    this.flight.settle(this.lossRule, nowMicros);
    this.safety.advance();
    if (this.flight.isEmpty) this.silence.noteAllAcknowledged();
    this.encoder.release((this.flight.settledId - 1) >>> 0);
  }

  private get lossRule(): LossRule {
    const { smoothedMicros, variationMicros, leastMicros } = this.roundTrip;
    const code = Math.max(CODE_MICROS, leastMicros / 4);
    this.rule.horizonPackets = this.code.horizonPackets + REORDER_PACKETS;
    this.rule.horizonMicros = smoothedMicros + 4 * variationMicros + ACK_DELAY_MICROS + code;
    return this.rule;
  }

  /** When the oldest packet is sent again though nothing was heard (RFC 9002 §6.2, probe timeout). */
  private get probeMicros(): number {
    const oldest = this.flight.oldestLiveId;
    if (oldest < 0) return Infinity;
    const wait = Math.min(this.lossRule.horizonMicros * 2 ** this.probes, MAX_PROBE_MICROS);
    return Math.max(this.probeBaseMicros, this.flight.sentMicros(oldest)) + wait;
  }

  handleTimeout(nowMicros: number): void {
    if (this.silence.endMicros(this.roundTrip.smoothedMicros) <= nowMicros) this.safety.hold();
    this.settle(nowMicros);
    if (this.probeMicros > nowMicros) return;
    this.probes++;
    this.probeBaseMicros = nowMicros;
    this.flight.declareOldestLost();
    this.settle(nowMicros);
  }

  nextTimeoutMicros(): number {
    const canSend = this.hasData || this.copies.isPending;
    const send = canSend ? 0 : this.encoder.nextTimeoutMicros();
    return Math.min(
      Math.max(send, this.pacer.readyMicros),
      this.hurrying.flushMicros,
      this.flight.nextLossMicros(this.lossRule),
      this.probeMicros,
    );
  }
}

/** The encoder's marks as ends: ids never wrap here, so "before the first" is 0. */
class EncoderCoverage implements CoverageEnds {
  private readonly encoder: ErasureEncoder;

  constructor(encoder: ErasureEncoder) {
    this.encoder = encoder;
  }

  get spanPackets(): number {
    return depthPackets(this.encoder.parameters);
  }

  coveredEnd(layers: number): number {
    return (this.encoder.coveredThrough(layers) + 1) >>> 0;
  }

  spreadEnd(layers: number): number {
    return (this.encoder.spreadThrough(layers) + 1) >>> 0;
  }
}

/** The longest frame that fits a datagram, as data and as the repair that covers it. */
function largestFrameBytes(datagramBytes: number, encoder: ErasureEncoder): number {
  const inner = datagramBytes - SEALED_OVERHEAD_BYTES;
  const repairOverhead = RepairHeader.size + encoder.repairBytes(0);
  return inner - Math.max(DataHeader.size, repairOverhead);
}
