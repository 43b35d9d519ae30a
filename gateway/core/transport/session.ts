/**
 * One session: a sealed channel with a sender and a receiver in it, and the keep-alive.
 *
 * The session is dead when nothing authentic arrived for `deadAfterMicros`. Pings make sure that
 * something does: one leaves every `keepAliveMicros`, and many once a sign of life is overdue
 * (`silence.ts`). The first leaves at once: it confirms the keys. Padded pings find out how long
 * datagrams may be (`path-mtu.ts`), and everything that leaves is made to fit.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { viewOf } from "../../../lib/codec.ts";
import { MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES, type TransportConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { KeyUpdate } from "./key-update.ts";
import type { MessageHandler } from "./messages.ts";
import {
  Ack,
  Close,
  Echo,
  INNER,
  SEALED_OVERHEAD_BYTES,
  StreamCredit,
  type StreamCreditFields,
} from "./packets.ts";
import { PathMtu } from "./path-mtu.ts";
import { Receiver } from "./receiver.ts";
import type { SealedChannel } from "./sealed.ts";
import { Sender } from "./sender.ts";
import { doubtPingMicros } from "./silence.ts";

/** What an inner packet did to the session. */
export type Taken = "taken" | "closed";

export class Session {
  readonly sender: Sender;
  private readonly receiver: Receiver;
  private readonly config: TransportConfig;
  private readonly channel: SealedChannel;
  private readonly keyUpdate: KeyUpdate;
  private readonly plain: Uint8Array;
  private readonly opened = new Uint8Array(MAX_DATAGRAM_BYTES);
  private lastPingMicros = -Infinity;
  private lastReceivedMicros: number;
  /** Time in the ping to be answered, or −1. */
  private pongMicros = -1;
  /** Of the padded ping to be answered: its time, or −1, and the length of its datagram. */
  private probePongMicros = -1;
  private probePongBytes = 0;
  readonly pathMtu: PathMtu;
  private closeStep: "open" | "closing" | "closed" = "open";

  constructor(
    channel: SealedChannel,
    config: TransportConfig,
    counters: Counters,
    deliver: (stream: number, bytes: Uint8Array) => void,
    messages: MessageHandler,
    nowMicros: number,
  ) {
    this.channel = channel;
    this.keyUpdate = new KeyUpdate(channel, config, nowMicros);
    this.config = config;
    this.plain = new Uint8Array(config.datagramBytes);
    this.sender = new Sender(config, counters, messages, nowMicros);
    this.receiver = new Receiver(config, counters, deliver, messages);
    this.lastReceivedMicros = nowMicros;
    const { datagramBytes: mostBytes, keepAliveMicros: confirmMicros } = config;
    const bounds = { leastBytes: MIN_DATAGRAM_BYTES, mostBytes, confirmMicros };
    this.pathMtu = new PathMtu(bounds, nowMicros);
    this.fit();
  }

  private fit(): void {
    this.sender.fit(this.pathMtu.bytes);
    this.receiver.fit(this.pathMtu.bytes);
  }

  /** The session's id at the peer. */
  get peerId(): number {
    return this.channel.peerId;
  }

  /** Null when the datagram is not authentic. Throws `SmfsError` for a malformed inner packet. */
  handleDatagram(datagram: Uint8Array, nowMicros: number): Taken | null {
    if (datagram.length > MAX_DATAGRAM_BYTES) return null;
    const length = this.channel.open(datagram, this.opened);
    return length < 0 ? null : this.handleInner(this.opened.subarray(0, length), nowMicros);
  }

  /** `inner` was opened by this session's channel. */
  handleInner(inner: Uint8Array, nowMicros: number): Taken {
    this.lastReceivedMicros = nowMicros;
    this.keyUpdate.noteOpened(nowMicros);
    const kind = inner[0] ?? 0;
    switch (kind) {
      case INNER.data:
        this.receiver.handleData(inner, nowMicros);
        return "taken";
      case INNER.repair:
        this.receiver.handleRepair(inner, nowMicros);
        return "taken";
      case INNER.ack:
        this.handleAck(inner, nowMicros);
        return "taken";
      case INNER.bare:
        this.receiver.handleBare(inner);
        return "taken";
      case INNER.ping:
        this.handlePing(inner);
        return "taken";
      case INNER.pong:
        this.handlePong(inner, nowMicros);
        return "taken";
      case INNER.keyRequest:
        this.keyUpdate.handleRequest(inner);
        return "taken";
      case INNER.keyAnswer:
        this.keyUpdate.handleAnswer(inner, nowMicros);
        return "taken";
      case INNER.close:
        return "closed";
      default:
        throw new SmfsError("DAMAGED", `inner packet of unknown kind ${kind}`);
    }
  }

  private handleAck(inner: Uint8Array, nowMicros: number): void {
    const ack = Ack.decode(viewOf(inner), 0);
    const bitmapAt = Ack.size + ack.streams * StreamCredit.size;
    if (inner.length !== bitmapAt + ack.bitmapBytes) {
      throw new SmfsError("DAMAGED", "ack of a wrong length");
    }
    const credits: StreamCreditFields[] = [];
    for (let at = Ack.size; at < bitmapAt; at += StreamCredit.size) {
      credits.push(StreamCredit.decode(viewOf(inner), at));
    }
    this.sender.handleAck(ack, credits, inner.subarray(bitmapAt), nowMicros);
  }

  private handlePing(inner: Uint8Array): void {
    const { sentMicros, settledId } = Echo.decode(viewOf(inner), 0);
    this.receiver.handleSettled(settledId);
    if (inner.length === Echo.size) {
      this.pongMicros = sentMicros;
      return;
    }
    this.probePongMicros = sentMicros;
    this.probePongBytes = inner.length + SEALED_OVERHEAD_BYTES;
  }

  private handlePong(inner: Uint8Array, nowMicros: number): void {
    const { bytes, sentMicros } = Echo.decode(viewOf(inner), 0);
    if (sentMicros > Math.round(nowMicros)) {
      throw new SmfsError("DAMAGED", "a pong from the future");
    }
    const { pathMtu } = this;
    const before = pathMtu.bytes;
    if (bytes > SEALED_OVERHEAD_BYTES + Echo.size) {
      pathMtu.noteAnswer(bytes, sentMicros, nowMicros);
    } else pathMtu.noteAlive(sentMicros);
    const isSign = !pathMtu.isDoubtful;
    this.sender.handlePong(Math.max(0, nowMicros - sentMicros), { isSign }, nowMicros);
    if (pathMtu.bytes !== before) this.fit();
  }

  /** Writes the next datagram; its length, or 0 when none may leave now. */
  poll(out: Uint8Array, nowMicros: number): number {
    if (this.channel.isExhausted) return 0;
    const length = this.pollInner(nowMicros);
    if (length === 0) return 0;
    const sealedBytes = this.channel.seal(this.plain.subarray(0, length), out);
    // The close was the last of this session.
    if (this.closeStep === "closed") this.erase();
    return sealedBytes;
  }

  private pollInner(nowMicros: number): number {
    const { plain } = this;
    if (this.closeStep !== "open") return this.pollClose();
    if (this.receiver.ackDueMicros <= nowMicros) return this.receiver.writeAck(plain, nowMicros);
    if (this.probePongMicros >= 0) {
      const sentMicros = this.probePongMicros;
      this.probePongMicros = -1;
      return this.writeEcho(INNER.pong, sentMicros, this.probePongBytes);
    }
    if (this.pongMicros >= 0) {
      const sentMicros = this.pongMicros;
      this.pongMicros = -1;
      return this.writeEcho(INNER.pong, sentMicros);
    }
    const probeBytes = this.pollProbe(nowMicros);
    if (probeBytes > 0) return probeBytes;
    const keyBytes = this.keyUpdate.poll(plain, nowMicros);
    if (keyBytes > 0) return keyBytes;
    const length = this.sender.poll(plain, nowMicros);
    if (length > 0) return length;
    if (this.pingMicros > nowMicros) return 0;
    this.lastPingMicros = nowMicros;
    return this.writeEcho(INNER.ping, Math.round(nowMicros));
  }

  private pollClose(): number {
    if (this.closeStep === "closed") return 0;
    this.closeStep = "closed";
    Close.encode(viewOf(this.plain), 0, { kind: INNER.close });
    return Close.size;
  }

  /** The system refused a datagram of so many bytes: EMSGSIZE. */
  noteTooLong(bytes: number, nowMicros: number): void {
    const before = this.pathMtu.bytes;
    this.pathMtu.noteTooLong(bytes, nowMicros);
    if (this.pathMtu.bytes !== before) this.fit();
  }

  /** A probe stands for the keep-alive, unless a plain ping must show what it can not. */
  private pollProbe(nowMicros: number): number {
    const { pathMtu, sender } = this;
    const before = pathMtu.bytes;
    if (sender.doubtMicros <= nowMicros) pathMtu.suspect(nowMicros);
    pathMtu.noteAlive(sender.echoedMicros);
    const bytes = pathMtu.poll(nowMicros, sender.answerMicros);
    if (pathMtu.bytes !== before) this.fit();
    if (bytes === 0) return 0;
    this.lastPingMicros = pathMtu.needsCompanion ? -Infinity : nowMicros;
    const length = bytes - SEALED_OVERHEAD_BYTES;
    this.plain.fill(0, Echo.size, length);
    this.writeEcho(INNER.ping, Math.round(nowMicros));
    return length;
  }

  private writeEcho(kind: number, sentMicros: number, bytes = 0): number {
    const settledId = kind === INNER.ping ? this.sender.settledId : 0;
    Echo.encode(viewOf(this.plain), 0, { kind, bytes, settledId, sentMicros });
    return Echo.size;
  }

  private get pingMicros(): number {
    const { lastPingMicros } = this;
    const { doubtMicros } = this.sender;
    const interval = doubtPingMicros(lastPingMicros - doubtMicros);
    const doubt = Math.max(doubtMicros, lastPingMicros + interval);
    return Math.min(lastPingMicros + this.config.keepAliveMicros, doubt);
  }

  /** The next datagram is the last: it tells the peer that we leave. */
  close(): void {
    if (this.closeStep === "open") this.closeStep = "closing";
  }

  get deadMicros(): number {
    return this.lastReceivedMicros + this.config.deadAfterMicros;
  }

  /** Its ids or its keys are used up: it has to end. */
  get isExhausted(): boolean {
    return this.channel.isExhausted || this.sender.isExhausted;
  }

  /** Epoch of the keys that seal now; counts from 0. */
  get keyEpoch(): number {
    return this.channel.epoch;
  }

  /** The session is over: its keys are overwritten. */
  erase(): void {
    this.keyUpdate.erase();
  }

  handleTimeout(nowMicros: number): void {
    this.keyUpdate.handleTimeout(nowMicros);
    this.sender.handleTimeout(nowMicros);
  }

  nextTimeoutMicros(): number {
    return Math.min(
      this.receiver.ackDueMicros,
      this.pongMicros >= 0 || this.probePongMicros >= 0 ? 0 : Infinity,
      this.pathMtu.nextTimeoutMicros(this.sender.answerMicros),
      this.pingMicros,
      this.deadMicros,
      this.sender.nextTimeoutMicros(),
      this.keyUpdate.nextTimeoutMicros(),
    );
  }
}
