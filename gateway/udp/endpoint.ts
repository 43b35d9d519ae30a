/**
 * `UdpLink`: an association over a UDP socket, with the event loop as its clock.
 *
 * Everything that happens (a write, a timer) asks for one `pump` at the end of this turn of the
 * loop, and each batch of datagrams ends with one: it sends as much as the pacer allows, says `noteLeft` when the socket has no
 * queue, and arms the timer. A side that listens learns the peer's address from authentic
 * datagrams, and follows it when it changes.
 */
import { isIPv6 } from "node:net";
import type { Logger } from "../../lib/ports.ts";
import type { Peer } from "../../sys/datagram-socket.ts";
import { systemTime } from "../../sys/time.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Answers } from "../core/transport/answers.ts";
import { Association, type Verdict } from "../core/transport/association.ts";
import { MAX_DATAGRAM_BYTES, type TransportConfig } from "../core/transport/config.ts";
import type { Credentials } from "../core/transport/credentials.ts";
import type { Link, LinkHandler, LinkStatistics } from "../core/transport/link.ts";
import type { MessageHandler, MessageMode } from "../core/transport/messages.ts";
import { formatAddress, resolveAddress } from "./address.ts";
import { transportCrypto } from "./fast-crypto.ts";
import { type LinkSocket, type SocketStatistics, TransportSocket } from "./socket.ts";

export interface UdpLinkOptions {
  /** host:port to bind to. Without `peer` this side waits to be called. */
  readonly listen?: string;
  /** host:port to call. */
  readonly peer?: string;
  readonly key: Credentials;
  /** Of the socket, when other links are on it. */
  readonly answers?: Answers;
  readonly config?: Partial<TransportConfig>;
  readonly handler: LinkHandler;
  /** Whoever sends or wants messages. */
  readonly messages?: MessageHandler;
  readonly logger: Logger;
}

/** Datagrams sent before the loop may look at what has arrived. */
const BATCH_DATAGRAMS = 64;
/** Resolution of Node's timers; one may come late by as much again. */
const TIMER_MICROS = 1000;

/** Opens the socket; the link comes up later. Throws `SmfsError` CONFIG, USAGE or UNREACHABLE. */
export async function openLink(options: UdpLinkOptions): Promise<UdpLink> {
  const { listen, peer, logger } = options;
  if (listen === undefined && peer === undefined) {
    throw new SmfsError("CONFIG", "a link needs listen or peer, host:port");
  }
  const local = listen === undefined ? null : await resolveAddress(listen);
  const remote = peer === undefined ? null : await resolveAddress(peer);
  const socket = await TransportSocket.open(local, remote, logger);
  return new UdpLink(options, socket, remote === null ? null : formatAddress(remote));
}

export class UdpLink implements Link {
  private readonly association: Association;
  private readonly socket: LinkSocket;
  private readonly logger: Logger;
  private readonly buffer = new Uint8Array(MAX_DATAGRAM_BYTES);
  private peer: Peer | null = null;
  /** Source of the datagram that is being handled: handlers are called only for authentic ones. */
  private source: Peer | null = null;
  private peerName: string | null;
  private askedPump: NodeJS.Immediate | null = null;
  private isClosed = false;
  private timer: NodeJS.Timeout | null = null;
  private timerMicros = Infinity;

  constructor(options: UdpLinkOptions, socket: LinkSocket, peerName: string | null) {
    const { key, config = {}, logger } = options;
    const nowMicros = systemTime.nowMicros();
    this.socket = socket;
    this.logger = logger;
    this.peerName = peerName;
    this.association = new Association(
      {
        role: peerName === null ? "responder" : "initiator",
        wallOffsetMicros: systemTime.wallMicros() - nowMicros,
        crypto: transportCrypto(),
        handler: this.named(options.handler),
        ...(options.answers === undefined ? {} : { answers: options.answers }),
        ...(options.messages === undefined ? {} : { messages: options.messages }),
        key,
        config,
      },
      nowMicros,
    );
    // A flood must not keep acknowledgements back until the end of the loop's turn.
    socket.listen((datagram, source) => this.handleDatagram(datagram, source), this.pump);
    socket.watchLength((bytes) => this.association.noteTooLong(bytes, systemTime.nowMicros()));
    this.askPump();
  }

  /** The association does not know addresses; people want them. */
  private named(handler: LinkHandler): LinkHandler {
    return {
      onUp: () => {
        this.logger.info({ peer: this.peerName }, "link up");
        handler.onUp();
      },
      onDown: (code, reason) => {
        const sentence = this.peerName === null ? reason : `peer at ${this.peerName}: ${reason}`;
        this.logger.warn({ code }, sentence);
        handler.onDown(code, sentence);
      },
      onData: (bytes) => handler.onData(bytes),
      onWritable: () => handler.onWritable(),
      onProgress: () => handler.onProgress(),
    };
  }

  get up(): boolean {
    return this.association.up;
  }

  get writableBytes(): number {
    return this.association.writableBytes;
  }

  get writtenOffset(): number {
    return this.association.writtenOffset;
  }

  get safeOffset(): number {
    return this.association.safeOffset;
  }

  get acknowledgedOffset(): number {
    return this.association.acknowledgedOffset;
  }

  get statistics(): LinkStatistics {
    return this.association.statistics;
  }

  get socketStatistics(): Readonly<SocketStatistics> {
    return this.socket.statistics;
  }

  get localPort(): number {
    return this.socket.localPort;
  }

  write(bytes: Uint8Array): void {
    this.association.write(bytes);
    this.askPump();
  }

  hurry(offset: number): void {
    this.association.hurry(offset);
    this.askPump();
  }

  riskBelow(offset: number): number {
    return this.association.riskBelow(offset);
  }

  /** As `Association.datagramBytes`. */
  get datagramBytes(): number {
    return this.association.datagramBytes;
  }

  messageBytes(mode: MessageMode): number {
    return this.association.messageBytes(mode);
  }

  /** As `Association.sendMessage`. */
  sendMessage(message: Uint8Array, mode: MessageMode, token = 0): boolean {
    const isTaken = this.association.sendMessage(message, mode, token);
    this.askPump();
    return isTaken;
  }

  /** Tells the peer, once, and closes the socket. */
  close(): void {
    if (this.isClosed) return;
    this.association.close();
    this.sendBatch(systemTime.nowMicros());
    this.isClosed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.socket.close();
  }

  /** As `Association.claims`. */
  claims(datagram: Uint8Array): boolean {
    return this.association.claims(datagram);
  }

  private handleDatagram(datagram: Uint8Array, source: Peer): Verdict {
    if (this.isClosed) return "unknown";
    this.source = source;
    const verdict = this.association.handleDatagram(datagram, systemTime.nowMicros());
    this.source = null;
    // The handler may have closed the link.
    if (this.isClosed) return verdict;
    const length = this.association.pollReply(this.buffer);
    if (length > 0) this.socket.send(this.buffer.subarray(0, length), source);
    if (verdict === "authentic") this.learn(source);
    return verdict;
  }

  private learn(source: Peer): void {
    if (this.peer === source) return;
    const isNew = this.peer?.port !== source.port || this.peer.host !== source.host;
    this.peer = source;
    if (!isNew) return;
    const family = isIPv6(source.host) ? 6 : 4;
    this.peerName = formatAddress({ host: source.host, port: source.port, family });
    this.logger.info({ peer: this.peerName }, "the peer's address");
  }

  private askPump(): void {
    if (this.askedPump !== null || this.isClosed) return;
    this.askedPump = setImmediate(this.pump);
  }

  private readonly pump = (): void => {
    if (this.askedPump !== null) clearImmediate(this.askedPump);
    this.askedPump = null;
    if (this.isClosed) return;
    const nowMicros = systemTime.nowMicros();
    this.association.handleTimeout(nowMicros);
    if (this.isClosed) return;
    const hasMore = this.sendBatch(nowMicros);
    this.socket.flush();
    if (this.socket.queuedDatagrams === 0) this.association.noteLeft();
    if (this.isClosed) return;
    if (hasMore || this.socket.queuedDatagrams > 0) this.askPump();
    else this.arm(this.association.nextTimeoutMicros(), nowMicros);
  };

  /** True when the batch ended before the association did. */
  private sendBatch(nowMicros: number): boolean {
    for (let i = 0; i < BATCH_DATAGRAMS; i++) {
      if (this.socket.isBlocked) return true;
      const length = this.association.pollTransmit(this.buffer, nowMicros);
      if (length === 0) return false;
      this.socket.send(this.buffer.subarray(0, length), this.source ?? this.peer);
    }
    return true;
  }

  private arm(atMicros: number, nowMicros: number): void {
    const waitMicros = atMicros - nowMicros;
    const isTooShort = waitMicros < TIMER_MICROS && this.association.lateMicros < 2 * TIMER_MICROS;
    if (waitMicros <= 0 || isTooShort) {
      // The loop turns without sleeping until then.
      this.askPump();
      return;
    }
    if (this.timer !== null && this.timerMicros === atMicros) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.timerMicros = atMicros;
    if (atMicros === Infinity) return;
    this.timer = setTimeout(this.wake, Math.ceil(waitMicros / 1000));
  }

  private readonly wake = (): void => {
    this.timer = null;
    this.pump();
  };
}
