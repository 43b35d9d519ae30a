/**
 * The mirror's side: takes the primary's records, appends them at their own addresses, acknowledges
 * what is durable, and refuses whatever does not continue its history, saying why.
 *
 * - Records are acknowledged as what they are: written, durable. The file system that shows them
 *   follows the log by itself (`logfs/core/fs/follower.ts`).
 * - A refusal ends the conversation until the next hello; nothing is ever applied behind a gap.
 * - A tail of an older incarnation of the same term gives way to the new one (ARCHITECTURE, "Epochs")
 *   after it was set aside; a tail of another term never does.
 */
import { viewOf } from "../../lib/codec.ts";
import { equalBytes, toHex } from "../../lib/bytes.ts";
import { type ErrorCode, messageOf, SmfsError } from "../../lib/errors.ts";
import type { Link, LinkHandler } from "../../gateway/core/transport/link.ts";
import type { Address, LogFollower, Position } from "../../logfs/core/log/api.ts";
import { termOf } from "../../logfs/core/log/epoch.ts";
import { peekRecordBytes, RECORD_HEADER_BYTES } from "../../logfs/core/log/record.ts";
import { Copies } from "./copies.ts";
import {
  Ack,
  FOUND,
  FRAME,
  FrameHeader,
  FrameReader,
  frame,
  Hello,
  PositionMessage,
  Probe,
  PROTOCOL_VERSION,
  REFUSAL,
  refuseFrame,
  Rewind,
} from "./messages.ts";

/** Record bytes taken before they are acknowledged as written; covers 1 Gbit/s × 200 ms and disks. */
const WINDOW_BYTES = 48 * 2 ** 20;
const NO_LOG = new Uint8Array(16);

export type FollowerState = "disconnected" | "comparing" | "following" | "refusing" | "closed";

/** The mirror's store, as this machine needs it. */
export interface FollowerStore {
  /** null until the first primary has said which log it offers. */
  readonly log: LogFollower | null;
  create(hello: Hello): LogFollower;
  /** Keeps the records behind `position` in a file of their own and cuts them from the log. */
  setAside(position: Position, done: (error: Error | null) => void): void;
}

export interface FollowerOptions {
  readonly store: FollowerStore;
}

export class FollowerSession implements LinkHandler {
  state: FollowerState = "disconnected";
  reason = "no primary has connected yet";
  /** As the primary said when it connected. */
  private primaryEpoch = 0;
  readonly statistics = { recordsReceived: 0, recordBytesReceived: 0, refusals: 0, setAside: 0 };

  private readonly options: FollowerOptions;
  private link: Link | null = null;
  private readonly reader = new FrameReader();
  private readonly copies = new Copies({
    send: (bytes) => this.send(bytes),
    log: () => this.options.store.log,
    mayAsk: () => this.state === "following" && this.link?.up === true,
  });
  private generation = 0;
  private unsubscribe: () => void = () => {};
  private acknowledged = { written: 0, durable: 0 };
  /** Acks and answers that the link had no room for; bounded by one answer per request. */
  private outbox: Uint8Array[] = [];

  constructor(options: FollowerOptions) {
    this.options = options;
    this.watchLog();
  }

  attach(link: Link): void {
    this.link = link;
  }

  onUp(): void {
    this.forgetConnection();
    this.enter("comparing", "waiting for the primary's hello");
  }

  onDown(_code: "lost" | "closed" | "refused", reason: string): void {
    this.forgetConnection();
    if (this.state !== "closed") this.enter("disconnected", reason);
  }

  onWritable(): void {
    const waiting = this.outbox;
    this.outbox = [];
    for (const bytes of waiting) this.send(bytes);
    this.acknowledge();
  }

  onProgress(): void {
    // Nobody here waits for what we send.
  }

  onData(bytes: Uint8Array): void {
    if (this.state === "closed") return;
    try {
      this.reader.push(bytes, (type, payload) => this.takeFrame(type, payload));
    } catch (error) {
      this.reader.reset();
      this.refuse(refusalOf(error), messageOf(error));
    }
  }

  /** A frame that is refused does not take away the place in the stream: more follow on this link. */
  private takeFrame(type: number, payload: Uint8Array): void {
    try {
      this.handleFrame(type, payload);
    } catch (error) {
      this.refuse(refusalOf(error), messageOf(error));
    }
  }

  /** Promotion: from here on nothing of the old primary is taken. */
  close(reason: string): void {
    this.forgetConnection();
    this.unsubscribe();
    this.enter("closed", reason);
  }

  /** What the primary has at an address of the log, not verified; null when it cannot say. */
  readCopy(at: Address, length: number): Promise<Uint8Array | null> {
    return this.copies.read(at, length);
  }

  private forgetConnection(): void {
    this.generation++;
    this.copies.cancel();
    this.reader.reset();
    this.outbox = [];
    this.acknowledged = { written: 0, durable: 0 };
  }

  /** The store's log is another one. */
  watchLog(): void {
    this.unsubscribe();
    const { log } = this.options.store;
    if (log === null) return;
    this.unsubscribe = log.subscribe(() => this.acknowledge());
  }

  private handleFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.hello) {
      this.handleHello(Hello.decode(viewOf(payload), 0));
      return;
    }
    // What was on its way when we refused is not ours to act on.
    if (this.state === "refusing") return;
    switch (type) {
      case FRAME.probe:
        this.answerPosition(Probe.decode(viewOf(payload), 0).sequence);
        return;
      case FRAME.rewind:
        this.handleRewind(Rewind.decode(viewOf(payload), 0));
        return;
      case FRAME.records:
        this.handleRecords(payload);
        return;
      case FRAME.read:
        this.copies.handleQuestion(payload);
        return;
      case FRAME.copy:
        this.copies.handleAnswer(payload);
        return;
      default:
        throw new SmfsError("DAMAGED", `frame type ${type} is not for a mirror`);
    }
  }

  private handleHello(hello: Hello): void {
    const refusal = this.objectionTo(hello);
    if (refusal !== null) {
      this.refuse(refusal.code, refusal.reason);
      return;
    }
    this.primaryEpoch = hello.epoch;
    let { log } = this.options.store;
    if (log === null) {
      log = this.options.store.create(hello);
      this.watchLog();
    }
    this.enter("following", "");
    this.answerHead(log);
  }

  /** The primary takes the answer for what is durable here: so it waits until it is. */
  private answerHead(log: LogFollower): void {
    const { generation } = this;
    const { sequence } = log.head;
    log.whenDurable(sequence, (error) => {
      if (generation !== this.generation) return;
      if (error === null) this.answerPosition(sequence);
      else this.refuse(refusalOf(error), error.message);
    });
  }

  private objectionTo(hello: Hello): { code: number; reason: string } | null {
    if (hello.version !== PROTOCOL_VERSION) {
      const reason = `the primary speaks protocol version ${hello.version}, this mirror ${PROTOCOL_VERSION}: run the same smfs on both sides`;
      return { code: REFUSAL.version, reason };
    }
    const { log } = this.options.store;
    if (log === null) return null;
    if (!equalBytes(log.id, hello.logId)) {
      const reason = `this mirror follows log ${toHex(log.id)}, the primary offers log ${toHex(hello.logId)}: use an empty store for another file system`;
      return { code: REFUSAL.otherLog, reason };
    }
    if (termOf(log.epoch) > termOf(hello.epoch)) {
      const reason = `this mirror has seen term ${termOf(log.epoch)}, the primary writes in term ${termOf(hello.epoch)}: it was superseded by a promotion`;
      return { code: REFUSAL.fenced, reason };
    }
    return null;
  }

  private answerPosition(sequence: number): void {
    const { log } = this.options.store;
    const nothing = { sequence, epoch: 0, checksum: 0 };
    if (log === null) return this.sendPosition(NO_LOG, { ...nothing, sequence: 0 }, FOUND.no);
    if (sequence === 0) return this.sendPosition(log.id, nothing, FOUND.yes);
    if (sequence < log.firstSequence) return this.sendPosition(log.id, nothing, FOUND.dropped);
    const generation = this.generation;
    log.positionOf(sequence, (error, position) => {
      if (generation !== this.generation) return;
      if (error !== null) this.refuse(REFUSAL.damaged, error.message);
      else this.sendPosition(log.id, position ?? nothing, position === null ? FOUND.no : FOUND.yes);
    });
  }

  private sendPosition(logId: Uint8Array, position: Position, found: number): void {
    const message = { logId, ...position, found, windowBytes: WINDOW_BYTES };
    this.send(frame(FRAME.position, PositionMessage, message));
  }

  /** Our tail is not part of the primary's history. */
  private handleRewind({ sequence, checksum }: Rewind): void {
    const { store } = this.options;
    const { log } = store;
    if (log === null) throw new SmfsError("DAMAGED", "rewind of a mirror that has no log");
    const sameTerm = termOf(log.epoch) === termOf(this.primaryEpoch);
    if (!sameTerm || log.epoch >= this.primaryEpoch) {
      const reason = `split brain: both sites wrote after record ${sequence}, in epochs ${log.epoch} here and ${this.primaryEpoch} at the primary; nothing was changed`;
      this.refuse(REFUSAL.splitBrain, reason);
      return;
    }
    const generation = this.generation;
    log.positionOf(sequence, (error, position) => {
      if (generation !== this.generation) return;
      const common = position ?? { sequence: 0, epoch: 0, checksum: 0 };
      if (error !== null || common.checksum !== checksum) {
        this.refuse(REFUSAL.splitBrain, `record ${sequence} is not common to both sites`);
        return;
      }
      this.setAside(common, generation);
    });
  }

  private setAside(common: Position, generation: number): void {
    this.options.store.setAside(common, (error) => {
      if (generation !== this.generation) return;
      if (error !== null) {
        this.refuse(refusalOf(error), `the tail cannot be set aside: ${error.message}`);
        return;
      }
      this.statistics.setAside++;
      this.watchLog();
      this.answerPosition(common.sequence);
    });
  }

  private handleRecords(payload: Uint8Array): void {
    const { log } = this.options.store;
    if (log === null || this.state !== "following") {
      throw new SmfsError("DAMAGED", "records before a hello");
    }
    for (let at = 0; at < payload.length; ) {
      const length = recordLength(payload, at);
      log.appendRaw(payload.subarray(at, at + length));
      this.statistics.recordsReceived++;
      this.statistics.recordBytesReceived += length;
      at += length;
    }
    log.whenDurable(log.head.sequence, (error) => {
      if (error !== null) this.refuse(refusalOf(error), error.message);
    });
  }

  private acknowledge(): void {
    const { log } = this.options.store;
    if (log === null) return;
    if (this.state !== "following" || this.link?.up !== true) return;
    const { writtenSequence, durableSequence } = log;
    const last = this.acknowledged;
    if (durableSequence === last.durable && writtenSequence === last.written) return;
    if (this.outbox.length > 0 || this.link.writableBytes < ACK_FRAME_BYTES) return;
    this.acknowledged = { written: writtenSequence, durable: durableSequence };
    this.send(frame(FRAME.ack, Ack, { writtenSequence, durableSequence }));
  }

  private refuse(code: number, reason: string): void {
    if (this.state === "closed" || this.state === "disconnected") return;
    this.statistics.refusals++;
    this.send(refuseFrame(code, reason));
    this.enter("refusing", reason);
  }

  private send(bytes: Uint8Array): void {
    if (this.link === null) return;
    if (this.outbox.length === 0 && this.link.writableBytes >= bytes.length) this.link.write(bytes);
    else this.outbox.push(bytes);
  }

  private enter(state: FollowerState, reason: string): void {
    this.state = state;
    this.reason = reason;
  }
}

const ACK_FRAME_BYTES = FrameHeader.size + Ack.size;

/** Length of the record at `at`; what it says of itself is verified when it is appended. */
function recordLength(payload: Uint8Array, at: number): number {
  const rest = payload.length - at;
  const length = rest < RECORD_HEADER_BYTES ? Infinity : peekRecordBytes(viewOf(payload), at);
  if (length > rest) throw new SmfsError("DAMAGED", `a record of ${length} bytes in ${rest}`);
  return length;
}

const REFUSAL_OF: Partial<Record<ErrorCode, number>> = {
  FENCED: REFUSAL.fenced,
  OTHER_HISTORY: REFUSAL.otherLog,
  NEWER_VERSION: REFUSAL.version,
  NO_SPACE: REFUSAL.noSpace,
  DAMAGED: REFUSAL.damaged,
  SHORT: REFUSAL.damaged,
};

function refusalOf(error: unknown): number {
  return (error instanceof SmfsError ? REFUSAL_OF[error.code] : undefined) ?? REFUSAL.failed;
}
