/**
 * The embedded transport between two peers, without I/O: one session at a time, and the way to it.
 *
 * The shell gives datagrams and the time, and after every call drains `pollReply` (to where the
 * datagram came from) and `pollTransmit` (to the peer), says `noteLeft` when the socket's queue is
 * empty, and wakes it at `nextTimeoutMicros`. Time is integer microseconds that only go forward.
 *
 * Steps: the initiator sends inits until answered; the responder takes a new session when its first
 * sealed packet verifies, whatever it had before. Silence ends a session, and the initiator begins
 * again. A responder that restarted does not know the session: its notice makes the initiator begin
 * at once, beside the live session, which ends only when an authentic response says that the
 * responder does not have it. So a forged notice costs a handshake a second at most.
 * Whatever arrives that is not authentic is counted and changes nothing else; a wrong key only
 * leads to a sentence for people.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { CryptoPort } from "../../../lib/ports.ts";
import { Answers } from "./answers.ts";
import { Acceptor, type Candidate, type InitAnswer } from "./acceptor.ts";
import type { CodeParameters } from "../code/code.ts";
import { MAX_DATAGRAM_BYTES, type TransportConfig, transportConfig } from "./config.ts";
import { Connector } from "./connector.ts";
import { type Counters, makeCounters } from "./counters.ts";
import { type Credentials, keyAdvice } from "./credentials.ts";
import { type HandshakeSecrets, handshakeSecrets, initNames } from "./handshake.ts";
import { guarded, guardedMessages, HandlerFailure } from "./handler-failure.ts";
import type { Link, LinkHandler, LinkStatistics } from "./link.ts";
import type { MessageHandler, MessageMode } from "./messages.ts";
import {
  DATAGRAM,
  DatagramAddress,
  DatagramPrefix,
  NOTICE,
  Notice,
  PROTOCOL_VERSION,
  SealedHeader,
} from "./packets.ts";
import { SealedChannel } from "./sealed.ts";
import { Session, type Taken } from "./session.ts";
import type { OrderedStream, StreamHandler } from "./streams.ts";

export interface AssociationOptions {
  readonly role: "initiator" | "responder";
  /** What the two peers know each other by. */
  readonly key: Credentials;
  /** Of the socket, when other associations are on it. */
  readonly answers?: Answers;
  readonly crypto: CryptoPort;
  readonly handler: LinkHandler;
  /** Whoever sends or wants more streams than the link. */
  readonly streams?: StreamHandler;
  /** Whoever sends or wants messages. */
  readonly messages?: MessageHandler;
  readonly config?: Partial<TransportConfig>;
  /** Wall clock minus the monotonic clock, microseconds: orders handshakes across restarts. */
  readonly wallOffsetMicros: number;
}

/** Whether a datagram came from the peer for certain; then its source is the peer's address. */
export type Verdict = "authentic" | "unknown";

/** A pause before the next handshake after the peer closed the link. */
const RECONNECT_MICROS = 250_000;

/** Notices lead to a handshake at most this often. */
const RESUME_MICROS = 1_000_000;

export class Association implements Link {
  private readonly options: AssociationOptions;
  private readonly config: TransportConfig;
  private readonly secrets: HandshakeSecrets;
  private readonly counters: Counters;
  private readonly acceptor: Acceptor;
  private readonly messages: MessageHandler;
  private readonly opened = new Uint8Array(MAX_DATAGRAM_BYTES);
  private connector: Connector | null = null;
  private session: Session | null = null;
  private sessionId = 0;
  private nextResumeMicros = -Infinity;
  private reply: Uint8Array | null = null;
  private isClosed = false;
  /** The user was told why there is no session, and nothing has changed since. */
  private hasReportedRefusal = false;
  private toldOffsets = 0;
  private wantsWritable = false;

  constructor(options: AssociationOptions, nowMicros: number) {
    this.options = options;
    this.config = transportConfig(options.config ?? {});
    this.secrets = handshakeSecrets(options.crypto, options.key);
    this.counters = makeCounters(this.config.rateBitsPerSecond);
    this.acceptor = new Acceptor(options.crypto, this.secrets, options.answers ?? new Answers());
    this.messages = guardedMessages(options.messages);
    if (options.role === "initiator") this.connect(nowMicros);
  }

  // ---- Link -----------------------------------------------------------------------------------

  get up(): boolean {
    return this.session !== null && !this.isClosed;
  }

  get writableBytes(): number {
    return this.stream(0)?.writableBytes ?? 0;
  }

  get writtenOffset(): number {
    return this.session?.sender.stream(0).writtenOffset ?? 0;
  }

  get safeOffset(): number {
    return this.session?.sender.safeOffset ?? 0;
  }

  get acknowledgedOffset(): number {
    return this.session?.sender.stream(0).acknowledgedOffset ?? 0;
  }

  /** Epoch of the session's keys; 0 at first, and while there is no session. */
  get keyEpoch(): number {
    return this.session?.keyEpoch ?? 0;
  }

  /** Of what we send: one, or two while the code changes. */
  get codesInUse(): readonly CodeParameters[] {
    return this.session?.sender.codesInUse ?? [this.config.code];
  }

  get statistics(): LinkStatistics {
    return this.counters;
  }

  write(bytes: Uint8Array): void {
    assert(bytes.length <= this.writableBytes, "write() was given more than writableBytes");
    this.stream(0)?.write(bytes);
    if (this.writableBytes < this.config.sendBufferBytes / 2) this.wantsWritable = true;
  }

  hurry(offset: number): void {
    this.session?.sender.hurry(offset);
  }

  riskBelow(offset: number): number {
    return this.session?.sender.riskBelow(offset) ?? 1;
  }

  // ---- streams ----------------------------------------------------------------------------------

  /**
   * Stream `number` of this session, below MAX_STREAMS, for sending; null while the association is
   * down. It is valid until `onDown`. What the peer sends on it comes to `onStreamData`.
   */
  stream(number: number): OrderedStream | null {
    return this.isClosed ? null : (this.session?.sender.stream(number) ?? null);
  }

  // ---- messages ---------------------------------------------------------------------------------

  /** The longest message that `sendMessage` takes now, bytes; 0 while the association is down. */
  messageBytes(mode: MessageMode): number {
    return this.isClosed ? 0 : (this.session?.sender.messageBytes(mode) ?? 0);
  }

  /** UDP payload that the path takes, as far as it was explored; 0 while the association is down. */
  get datagramBytes(): number {
    return this.session?.pathMtu.bytes ?? 0;
  }

  /** The system refused a datagram of so many bytes: EMSGSIZE. */
  noteTooLong(bytes: number, nowMicros: number): void {
    this.session?.noteTooLong(bytes, nowMicros);
  }

  /**
   * Queues a copy of `message`; false when the queue is full, the association down, or the message
   * longer than `messageBytes`, which falls when the path becomes narrower. `token` comes back with `onMessageSent`.
   */
  sendMessage(message: Uint8Array, mode: MessageMode, token = 0): boolean {
    if (this.session === null || this.isClosed) return false;
    if (message.length > this.messageBytes(mode)) {
      this.counters.messagesRefused++;
      return false;
    }
    return this.session.sender.sendMessage(message, mode, token);
  }

  /** One more datagram tells the peer; after that there is nothing to poll. */
  close(): void {
    this.isClosed = true;
    this.connector = null;
    this.session?.close();
  }

  // ---- input ----------------------------------------------------------------------------------

  /** Whether the datagram names this association, by its session or its key; proves nothing. */
  claims(datagram: Uint8Array): boolean {
    if (this.isClosed || datagram.length < DatagramAddress.size) return false;
    const { type, sessionId } = DatagramAddress.decode(viewOf(datagram), 0);
    switch (type) {
      case DATAGRAM.sealed:
        if (this.session !== null && sessionId === this.sessionId) return true;
        return this.acceptor.find(sessionId) !== undefined;
      case DATAGRAM.init:
        return this.options.role === "responder" && initNames(this.secrets, datagram);
      case DATAGRAM.response:
        return sessionId === this.connector?.ownId;
      case DATAGRAM.notice:
        return sessionId === this.connector?.ownId || sessionId === this.session?.peerId;
      default:
        return false;
    }
  }

  handleDatagram(datagram: Uint8Array, nowMicros: number): Verdict {
    this.reply = null;
    if (this.isClosed) return "unknown";
    this.counters.datagramsReceived++;
    const verdict = this.dispatchSafely(datagram, nowMicros);
    if (verdict === "unknown" && this.reply === null) this.counters.rejectedDatagrams++;
    this.tellProgress();
    return verdict;
  }

  private dispatchSafely(datagram: Uint8Array, nowMicros: number): Verdict {
    try {
      return this.dispatch(datagram, nowMicros);
    } catch (error) {
      if (error instanceof HandlerFailure) throw error.cause;
      // A layout that does not decode, from outside or from a peer that has the key.
      if (error instanceof SmfsError) return "unknown";
      throw error;
    }
  }

  private dispatch(datagram: Uint8Array, nowMicros: number): Verdict {
    const { type, version } = DatagramPrefix.decode(viewOf(datagram), 0);
    if (version !== PROTOCOL_VERSION && type !== DATAGRAM.notice) {
      return this.handleOtherVersion(type, datagram, nowMicros);
    }
    switch (type) {
      case DATAGRAM.sealed:
        return this.handleSealed(datagram, nowMicros);
      case DATAGRAM.init:
        return this.handleInit(datagram, nowMicros);
      case DATAGRAM.response:
        return this.handleResponse(datagram, nowMicros);
      case DATAGRAM.notice:
        return this.handleNotice(datagram, nowMicros);
      default:
        return "unknown";
    }
  }

  private handleSealed(datagram: Uint8Array, nowMicros: number): Verdict {
    const { receiver } = SealedHeader.decode(viewOf(datagram), 0);
    if (this.session !== null && receiver === this.sessionId) {
      return this.settle(this.session.handleDatagram(datagram, nowMicros), nowMicros);
    }
    const candidate = this.acceptor.find(receiver);
    if (candidate === undefined) return this.handleUnknownSession(receiver, nowMicros);
    if (datagram.length > MAX_DATAGRAM_BYTES) return "unknown";
    return this.confirm(candidate, datagram, nowMicros);
  }

  /** Only the initiator can begin anew, so only it is told. */
  private handleUnknownSession(sessionId: number, nowMicros: number): Verdict {
    if (this.options.role !== "responder") return "unknown";
    this.reply = this.acceptor.handleUnknownSession(sessionId, nowMicros);
    this.counters.rejectedDatagrams += this.reply === null ? 0 : 1;
    return "unknown";
  }

  private settle(taken: Taken | null, nowMicros: number): Verdict {
    if (taken === null) return "unknown";
    if (taken === "closed") {
      this.goDown("closed", "the peer closed the link", nowMicros + RECONNECT_MICROS);
    }
    return "authentic";
  }

  /** The initiator has the keys: its session is the one that counts now. */
  private confirm(candidate: Candidate, datagram: Uint8Array, nowMicros: number): Verdict {
    const length = candidate.channel.open(datagram, this.opened);
    if (length < 0) return "unknown";
    this.acceptor.confirm(candidate);
    if (this.session !== null) this.goDown("lost", "the peer began a new session", nowMicros);
    const session = this.goUp(candidate.channel, candidate.halfOpen.ownId, nowMicros);
    return this.settle(session.handleInner(this.opened.subarray(0, length), nowMicros), nowMicros);
  }

  private handleInit(datagram: Uint8Array, nowMicros: number): Verdict {
    if (this.options.role !== "responder") return "unknown";
    const heldId = this.session === null ? 0 : this.sessionId;
    return this.noteAnswer(this.acceptor.handleInit(datagram, nowMicros, heldId));
  }

  private handleOtherVersion(type: number, datagram: Uint8Array, nowMicros: number): Verdict {
    if (this.options.role !== "responder" || type !== DATAGRAM.init) return "unknown";
    return this.noteAnswer(this.acceptor.handleOtherVersion(datagram, nowMicros));
  }

  private noteAnswer({ verdict, reply }: InitAnswer): Verdict {
    this.reply = reply;
    switch (verdict) {
      case "wrongKey":
        this.counters.rejectedDatagrams += reply === null ? 0 : 1;
        this.reportRefusal(
          `somebody who does not have our key tried to connect: ${keyAdvice(this.secrets.statics)}`,
        );
        break;
      case "otherVersion":
        this.counters.rejectedDatagrams += reply === null ? 0 : 1;
        this.reportRefusal("somebody who speaks another protocol version tried to connect");
        break;
      case "answered":
      case "ignored":
    }
    return "unknown";
  }

  private handleResponse(datagram: Uint8Array, nowMicros: number): Verdict {
    const finished = this.connector?.handleResponse(datagram) ?? null;
    if (finished === null) return "unknown";
    this.connector = null;
    if (this.session !== null) {
      // The notice that made us ask was forged or late.
      if (finished.heldId === this.session.peerId) return "authentic";
      this.endSession();
      guarded(() => this.options.handler.onDown("lost", "the peer lost the session"));
      if (this.isClosed) return "authentic";
    }
    const channel = new SealedChannel(this.options.crypto, finished);
    this.goUp(channel, finished.ownId, nowMicros);
    return "authentic";
  }

  private handleNotice(datagram: Uint8Array, nowMicros: number): Verdict {
    if (datagram.length !== Notice.size) return "unknown";
    const { code, receiver } = Notice.decode(viewOf(datagram), 0);
    if (code === NOTICE.unknownSession && receiver === this.session?.peerId) {
      this.resume(nowMicros);
      return "unknown";
    }
    const reason = this.connector?.handleNotice(datagram) ?? null;
    if (reason !== null) this.reportRefusal(reason);
    return "unknown";
  }

  /** Somebody says that the peer lost our session: asks it, beside the session. */
  private resume(nowMicros: number): void {
    if (this.connector !== null || nowMicros < this.nextResumeMicros) return;
    this.nextResumeMicros = nowMicros + RESUME_MICROS;
    this.connect(nowMicros);
  }

  /** Everything polled so far has left this machine: the socket's send queue is empty. */
  noteLeft(): void {
    this.session?.sender.noteLeft();
    this.tellProgress();
  }

  handleTimeout(nowMicros: number): void {
    const { session } = this;
    if (session === null || this.isClosed) return;
    if (session.deadMicros <= nowMicros) {
      const seconds = this.config.deadAfterMicros / 1e6;
      this.goDown("lost", `nothing was received for ${seconds} s`, nowMicros);
    } else if (session.isExhausted) {
      this.goDown("lost", "the session's numbers are used up", nowMicros);
    } else {
      session.handleTimeout(nowMicros);
    }
  }

  // ---- output ---------------------------------------------------------------------------------

  /** What answers the last datagram, for where it came from; its length, or 0. */
  pollReply(out: Uint8Array): number {
    const { reply } = this;
    if (reply === null) return 0;
    this.reply = null;
    out.set(reply);
    return this.countSent(reply.length);
  }

  /** The next datagram for the peer; its length, or 0 when none may leave now. */
  pollTransmit(out: Uint8Array, nowMicros: number): number {
    const length = this.connector?.poll(out, nowMicros) || this.session?.poll(out, nowMicros) || 0;
    return length === 0 ? 0 : this.countSent(length);
  }

  private countSent(length: number): number {
    this.counters.datagramsSent++;
    this.counters.bytesSent += length;
    return length;
  }

  /** When `pollTransmit` or `handleTimeout` has something to do; Infinity for never. */
  nextTimeoutMicros(): number {
    if (this.isClosed) return Infinity;
    return Math.min(
      this.connector?.nextTimeoutMicros ?? Infinity,
      this.session?.nextTimeoutMicros() ?? Infinity,
    );
  }

  /** How much later than `nextTimeoutMicros` the shell may wake it without harm, microseconds. */
  get lateMicros(): number {
    return this.session?.sender.lateMicros ?? Infinity;
  }

  // ---- sessions come and go ---------------------------------------------------------------------

  private connect(atMicros: number): void {
    const { crypto, wallOffsetMicros } = this.options;
    const timestampMicros = Math.max(0, Math.round(atMicros + wallOffsetMicros));
    this.connector = new Connector(crypto, this.secrets, timestampMicros, atMicros);
  }

  private goUp(channel: SealedChannel, ownId: number, nowMicros: number): Session {
    const { config, counters } = this;
    const session = new Session(channel, config, counters, this.deliver, this.messages, nowMicros);
    this.session = session;
    this.sessionId = ownId;
    this.hasReportedRefusal = false;
    this.toldOffsets = 0;
    this.wantsWritable = false;
    guarded(() => this.options.handler.onUp());
    return session;
  }

  private endSession(): void {
    this.session?.erase();
    this.session = null;
  }

  private goDown(code: "lost" | "closed", reason: string, reconnectMicros: number): void {
    this.endSession();
    if (this.options.role === "initiator") this.connect(reconnectMicros);
    guarded(() => this.options.handler.onDown(code, reason));
  }

  private reportRefusal(reason: string): void {
    if (this.session !== null || this.hasReportedRefusal) return;
    this.hasReportedRefusal = true;
    guarded(() => this.options.handler.onDown("refused", reason));
  }

  private readonly deliver = (stream: number, bytes: Uint8Array): void => {
    const { handler, streams } = this.options;
    guarded(() => (stream === 0 ? handler.onData(bytes) : streams?.onStreamData(stream, bytes)));
  };

  private readonly tellStreamProgress = (stream: number): void => {
    this.options.streams?.onStreamProgress(stream);
  };

  private tellProgress(): void {
    const { session } = this;
    if (session === null) return;
    const { streams } = this.options;
    if (streams !== undefined) session.sender.tellProgress(this.tellStreamProgress);
    const { safeOffset } = session.sender;
    const { acknowledgedOffset, writableBytes } = session.sender.stream(0);
    const offsets = safeOffset + acknowledgedOffset;
    const hasProgress = offsets > this.toldOffsets;
    this.toldOffsets = offsets;
    if (hasProgress) this.options.handler.onProgress();
    if (!hasProgress || !this.wantsWritable) return;
    this.wantsWritable = writableBytes < this.config.sendBufferBytes / 2;
    this.options.handler.onWritable();
  }
}
