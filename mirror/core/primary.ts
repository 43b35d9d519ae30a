/**
 * The primary's side of one mirror: compares histories, then streams records from the log itself.
 *
 * - There is no queue of its own: what is not sent yet is in the log (DESIGN, "Mirroring"). At most
 *   one frame waits for room in the link, and at most the mirror's window is unacknowledged.
 * - `safeSequence` and `durableSequence` never go back while connected, and count for this
 *   connection only: after a break they start from what the mirror says it has.
 * - Histories are compared by (sequence, header checksum); the checksums chain, so one equal record
 *   means that everything before it is equal. Where they parted is found by bisection.
 * - Either side may have dropped old segments. That was after a checkpoint behind them had become
 *   durable at both, so what was dropped is common; a mirror without that checkpoint is another one.
 */
import { viewOf } from "../../lib/codec.ts";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Timers, Clock } from "../../lib/ports.ts";
import type { Link, LinkHandler } from "../../gateway/core/transport/link.ts";
import type { Address, LogReader, Position, RawRecord } from "../../logfs/core/log/api.ts";
import { termOf } from "../../logfs/core/log/epoch.ts";
import { RecordHeader } from "../../logfs/core/log/format.ts";
import {
  Ack,
  decodeRefuse,
  FOUND,
  FRAME,
  FrameReader,
  frame,
  Hello,
  PositionMessage,
  Probe,
  PROTOCOL_VERSION,
  recordsFrameHeader,
  REFUSAL,
  refuseFrame,
  Rewind,
} from "./messages.ts";
import { Away } from "./away.ts";
import { Copies } from "./copies.ts";
import { SentFrames } from "./sent.ts";

/** Bytes of records put into one frame: small, because `safeSequence` advances by whole frames. */
const FRAME_BYTES = 128 * 2 ** 10;
/** A refused primary offers its log again after this time: a full disk may have been emptied. */
const RETRY_MICROS = 5e6;

export type PrimaryState = "disconnected" | "comparing" | "streaming" | "refused" | "fenced";

export interface PrimaryOptions {
  readonly log: LogReader;
  readonly writerId: Uint8Array;
  readonly segmentBytes: number;
  readonly maxRecordBytes: number;
  readonly clock: Clock;
  readonly timers: Timers;
  /** The state, or one of the sequences, changed. */
  readonly onChange: () => void;
  /** A mirror knows a writer of a later term: this one must stop. */
  readonly onFenced: (reason: string) => void;
}

export class PrimarySession implements LinkHandler {
  state: PrimaryState = "disconnected";
  /** Why the state is what it is, for people. */
  reason = "not connected yet";
  /** Records up to here are on their way with the repair packets that the target risk asks for. */
  safeSequence = 0;
  /** Records up to here are durable at the mirror. */
  durableSequence = 0;
  readonly statistics = {
    recordsSent: 0,
    recordBytesSent: 0,
    connections: 0,
    refusals: 0,
    probes: 0,
  };

  private readonly options: PrimaryOptions;
  private link: Link | null = null;
  private readonly reader = new FrameReader();
  private readonly sent = new SentFrames();
  private readonly away = new Away();
  private readonly copies = new Copies({
    send: (bytes) => this.send(bytes),
    log: () => this.options.log,
    mayAsk: () => this.state === "streaming",
  });
  private outbox: Uint8Array | null = null;
  private queuedOffset = 0;
  /** Where the first record that was not sent stands, as far as is known. */
  private unsent: Address = { segment: 1, offset: 0 };
  /** When the newest record that was sent was appended. */
  private lastSentMicros: number | undefined;
  private nextSequence = 0;
  /** Sent before the connection broke, and not known to have arrived. */
  private inDoubtBytes = 0;
  private windowBytes = 0;
  private hurriedSequence = 0;
  private reading = false;
  private generation = 0;
  /** Bisection: records up to `low` are common; `high` is not. */
  private low = 0;
  private high = 0;
  private cancelRetry: (() => void) | null = null;

  constructor(options: PrimaryOptions) {
    this.options = options;
    options.log.subscribe(() => {
      this.away.note(options.log.head.sequence, options.clock.wallMicros());
      this.pump();
    });
  }

  attach(link: Link): void {
    this.link = link;
  }

  /** Somebody waits for the record at level network. */
  hurry(sequence: number): void {
    if (sequence <= this.hurriedSequence) return;
    this.hurriedSequence = sequence;
    this.pump();
    this.passHurryOn();
  }

  /** Log bytes that the mirror does not have; before it has said where it stands, all of them. */
  get bytesBehind(): number {
    const { log, segmentBytes } = this.options;
    const { segment, offset } = log.endAddress;
    const unsent = (segment - this.unsent.segment) * segmentBytes + offset - this.unsent.offset;
    return this.nothingUnsent
      ? this.sent.unacknowledgedBytes
      : unsent + this.sent.unacknowledgedBytes + this.inDoubtBytes;
  }

  /**
   * Age of the oldest record that the mirror does not have, microseconds; 0 when it has all, null
   * when it has never said where it stands.
   */
  get lagMicros(): number | null {
    const now = this.options.clock.wallMicros();
    if (this.nextSequence === 0) return this.away.lagMicros(now);
    const oldest = this.oldestMissingMicros;
    return oldest === undefined ? 0 : Math.max(0, now - oldest);
  }

  /** When the oldest record that was not acknowledged, or else not sent, was appended. */
  private get oldestMissingMicros(): number | undefined {
    return this.sent.oldestTimeMicros ?? (this.nothingUnsent ? undefined : this.lastSentMicros);
  }

  private get nothingUnsent(): boolean {
    return this.nextSequence > this.options.log.head.sequence;
  }

  onUp(): void {
    this.forgetConnection();
    this.statistics.connections++;
    this.offer();
  }

  onDown(_code: "lost" | "closed" | "refused", reason: string): void {
    this.forgetConnection();
    this.enter("disconnected", reason);
  }

  onWritable(): void {
    this.pump();
  }

  onProgress(): void {
    const { link } = this;
    if (link === null) return;
    const safe = this.sent.safeThrough(link.safeOffset);
    if (safe <= this.safeSequence) return;
    this.safeSequence = safe;
    this.options.onChange();
  }

  onData(bytes: Uint8Array): void {
    if (this.state === "fenced") return;
    try {
      this.reader.push(bytes, (type, payload) => this.takeFrame(type, payload));
    } catch (error) {
      this.reader.reset();
      this.refuseAnswer(error);
    }
  }

  /** A frame that makes no sense does not take away the place in the stream. */
  private takeFrame(type: number, payload: Uint8Array): void {
    try {
      this.handleFrame(type, payload);
    } catch (error) {
      this.refuseAnswer(error);
    }
  }

  private refuseAnswer(error: unknown): void {
    this.refused(`the mirror sent something that is not our protocol: ${messageOf(error)}`);
  }

  stop(): void {
    this.cancelRetry?.();
    this.forgetConnection();
  }

  /** What the mirror has at an address of the log, not verified; null when it cannot say. */
  readCopy(at: Address, length: number): Promise<Uint8Array | null> {
    return this.copies.read(at, length);
  }

  private offer(): void {
    this.forgetConversation();
    const { log, writerId, segmentBytes, maxRecordBytes } = this.options;
    this.queuedOffset = (this.link?.writtenOffset ?? 0) + (this.outbox?.length ?? 0);
    this.enter("comparing", "comparing histories");
    this.send(
      frame(FRAME.hello, Hello, {
        version: PROTOCOL_VERSION,
        logId: log.id,
        writerId,
        epoch: log.epoch,
        headSequence: log.head.sequence,
        segmentBytes,
        maxRecordBytes,
      }),
    );
  }

  private forgetConnection(): void {
    this.forgetConversation();
    this.reader.reset();
    this.outbox = null;
  }

  /** On the same connection frames go on where they were: one that was cut off still goes out whole. */
  private forgetConversation(): void {
    this.generation++;
    this.copies.cancel();
    this.cancelRetry?.();
    this.cancelRetry = null;
    if (this.nextSequence > 0) {
      this.away.begin(this.options.log.head.sequence, this.oldestMissingMicros);
    }
    this.inDoubtBytes += this.sent.unacknowledgedBytes;
    this.sent.clear();
    this.queuedOffset = 0;
    this.nextSequence = 0;
    this.hurriedSequence = 0;
    this.safeSequence = 0;
    this.reading = false;
    this.high = 0;
  }

  private handleFrame(type: number, payload: Uint8Array): void {
    const view = viewOf(payload);
    switch (type) {
      case FRAME.position:
        this.handlePosition(PositionMessage.decode(view, 0));
        return;
      case FRAME.ack:
        this.handleAck(Ack.decode(view, 0));
        return;
      case FRAME.refuse:
        this.handleRefuse(decodeRefuse(payload));
        return;
      case FRAME.read:
        this.copies.handleQuestion(payload);
        return;
      case FRAME.copy:
        this.copies.handleAnswer(payload);
        return;
      case FRAME.hello:
        this.handleOtherPrimary(Hello.decode(view, 0));
        return;
      default:
        throw new SmfsError("DAMAGED", `frame type ${type} is not for a primary`);
    }
  }

  private handlePosition(position: PositionMessage): void {
    if (this.state !== "comparing") return;
    this.windowBytes = position.windowBytes;
    if (this.high === 0) this.compareNewest(position);
    else this.continueBisection(position);
  }

  /** The mirror's newest record is in our history: stream on. Otherwise find where we parted. */
  private compareNewest(position: PositionMessage): void {
    const { head, firstSequence } = this.options.log;
    const common = firstSequence > 1 ? firstSequence : 0;
    if (position.sequence < common) {
      this.refused(lacksWhatWasDropped(position.sequence, firstSequence));
      return;
    }
    if (position.sequence === 0) {
      this.startStreaming(0);
      return;
    }
    if (position.sequence > head.sequence) {
      this.bisect(common, head.sequence + 1);
      return;
    }
    this.lookUp(position.sequence, (ours) => {
      if (ours !== null && ours.checksum === position.checksum) this.startStreaming(ours.sequence);
      else this.bisect(common, position.sequence);
    });
  }

  private bisect(low: number, high: number): void {
    this.low = low;
    this.high = high;
    if (high - low > 1) {
      this.statistics.probes++;
      const sequence = low + Math.floor((high - low) / 2);
      this.send(frame(FRAME.probe, Probe, { sequence }));
      return;
    }
    this.lookUp(low, (ours) => {
      this.send(frame(FRAME.rewind, Rewind, { sequence: low, checksum: ours?.checksum ?? 0 }));
    });
  }

  private continueBisection(position: PositionMessage): void {
    if (this.high - this.low <= 1) {
      // The answer to our rewind: the mirror now ends at the common point.
      if (position.sequence === this.low) this.startStreaming(this.low);
      else this.refused("the mirror did not return to the common point");
      return;
    }
    if (position.found === FOUND.dropped) {
      this.bisect(position.sequence, this.high);
      return;
    }
    this.lookUp(position.sequence, (ours) => {
      const common = position.found === FOUND.yes && ours?.checksum === position.checksum;
      if (common) this.bisect(position.sequence, this.high);
      else this.bisect(this.low, position.sequence);
    });
  }

  private startStreaming(common: number): void {
    this.nextSequence = common + 1;
    this.inDoubtBytes = 0;
    this.safeSequence = common;
    this.durableSequence = common;
    this.enter("streaming", "");
    this.pump();
  }

  private handleAck(ack: Ack): void {
    if (this.state !== "streaming") return;
    if (ack.durableSequence >= this.nextSequence || ack.writtenSequence >= this.nextSequence) {
      throw new SmfsError("DAMAGED", "the mirror acknowledges records that were never sent");
    }
    this.sent.acknowledge(ack.writtenSequence);
    this.durableSequence = Math.max(this.durableSequence, ack.durableSequence);
    this.safeSequence = Math.max(this.safeSequence, ack.writtenSequence);
    this.options.onChange();
    this.pump();
  }

  private handleRefuse({ code, reason }: { code: number; reason: string }): void {
    this.statistics.refusals++;
    if (code === REFUSAL.fenced) {
      this.enter("fenced", reason);
      this.options.onFenced(reason);
    } else {
      this.refused(reason);
    }
  }

  /** Two primaries meet: the one of the earlier term was superseded by a promotion, and stops. */
  private handleOtherPrimary(hello: Hello): void {
    const [ours, theirs] = [termOf(this.options.log.epoch), termOf(hello.epoch)];
    if (theirs > ours) {
      const reason = superseded(ours, theirs);
      this.enter("fenced", reason);
      this.options.onFenced(reason);
      return;
    }
    // The peer reads this as being about itself.
    const toPeer =
      theirs < ours
        ? refuseFrame(REFUSAL.fenced, superseded(theirs, ours))
        : refuseFrame(REFUSAL.splitBrain, `both sites are primaries of term ${ours}`);
    this.send(toPeer);
    this.refused(`the peer is a primary too, of term ${theirs}; this site's term is ${ours}`);
  }

  private refused(reason: string): void {
    this.forgetConversation();
    this.enter("refused", reason);
    const { clock, timers } = this.options;
    this.cancelRetry = timers.at(clock.nowMicros() + RETRY_MICROS, () => {
      if (this.link?.up === true) this.offer();
    });
  }

  private enter(state: PrimaryState, reason: string): void {
    this.state = state;
    this.reason = reason;
    this.options.onChange();
  }

  private lookUp(sequence: number, then: (position: Position | null) => void): void {
    const generation = this.generation;
    this.options.log.positionOf(sequence, (error, position) => {
      if (generation !== this.generation) return;
      if (error === null) then(position);
      else this.refused(`our own log cannot be read: ${error.message}`);
    });
  }

  /** Moves records from the log into the link while both have room. */
  private pump(): void {
    for (;;) {
      this.flushOutbox();
      if (this.state !== "streaming" || this.reading || this.outbox !== null) return;
      if (this.nextSequence > this.options.log.head.sequence) return;
      if (this.sent.unacknowledgedBytes >= this.windowBytes) return;
      if ((this.link?.writableBytes ?? 0) === 0) return;
      this.readNext();
      if (this.reading) return;
    }
  }

  private readNext(): void {
    const generation = this.generation;
    let returned = false;
    this.reading = true;
    this.options.log.readRecords(this.nextSequence, FRAME_BYTES, (error, records) => {
      if (generation !== this.generation) return;
      this.reading = false;
      if (error === null) this.sendRecords(records);
      else this.refused(`records from ${this.nextSequence} on cannot be read: ${error.message}`);
      if (returned) this.pump();
    });
    returned = true;
  }

  private sendRecords(records: readonly RawRecord[]): void {
    const [first, last] = [records[0], records.at(-1)];
    if (first === undefined || last === undefined) return;
    const length = records.reduce((sum, record) => sum + record.bytes.length, 0);
    this.send(recordsFrameHeader(length));
    for (const record of records) this.send(record.bytes);
    const { timeMicros } = RecordHeader.decode(viewOf(first.bytes), 0);
    const endOffset = this.queuedOffset;
    this.sent.push({
      lastSequence: last.sequence,
      endOffset,
      recordBytes: length,
      firstTimeMicros: timeMicros,
    });
    const newest = RecordHeader.decode(viewOf(last.bytes), 0);
    this.unsent = { segment: newest.segment, offset: newest.offset + last.bytes.length };
    this.lastSentMicros = newest.timeMicros;
    this.nextSequence = last.sequence + 1;
    this.statistics.recordsSent += records.length;
    this.statistics.recordBytesSent += length;
    this.passHurryOn();
  }

  private passHurryOn(): void {
    if (this.hurriedSequence <= this.safeSequence) return;
    const offset = this.sent.endOffsetOf(Math.min(this.hurriedSequence, this.nextSequence - 1));
    if (offset !== null) this.link?.hurry(offset);
  }

  /** Copies what the link does not take now; records are views into the log's memory. */
  private send(bytes: Uint8Array): void {
    const { link } = this;
    if (link === null) return;
    this.queuedOffset += bytes.length;
    if (this.outbox !== null) {
      const joined = new Uint8Array(this.outbox.length + bytes.length);
      joined.set(this.outbox);
      joined.set(bytes, this.outbox.length);
      this.outbox = joined;
      return;
    }
    const taken = Math.min(link.writableBytes, bytes.length);
    if (taken > 0) link.write(bytes.subarray(0, taken));
    if (taken < bytes.length) this.outbox = bytes.slice(taken);
  }

  private flushOutbox(): void {
    const { link, outbox } = this;
    if (link === null || outbox === null) return;
    const taken = Math.min(link.writableBytes, outbox.length);
    if (taken > 0) link.write(outbox.subarray(0, taken));
    this.outbox = taken === outbox.length ? null : outbox.subarray(taken);
  }
}

function lacksWhatWasDropped(sequence: number, firstSequence: number): string {
  const stands = sequence === 0 ? "the mirror is empty" : `the mirror ends at record ${sequence}`;
  return `${stands}, and records before ${firstSequence} were dropped here: copy this store to the mirror, and run 'smfs mirror adopt' there`;
}

function superseded(term: number, laterTerm: number): string {
  return `the peer is primary in term ${laterTerm}, this site wrote in term ${term}: it was superseded by a promotion`;
}
