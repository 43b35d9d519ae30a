/**
 * One peer on the data plane's thread: an association over a UDP socket, without an event loop.
 *
 * `take` handles a datagram that `wire.ts` has for it, `pump` sends what may leave and says `noteLeft` when the kernel has
 * taken all of it. What the kernel has no room for waits here, at most one batch, and nothing more
 * is asked of the association until it is gone. A side that is called learns the peer's address from
 * authentic datagrams, and follows it when it changes.
 */
import { equalBytes } from "../../lib/bytes.ts";
import { type Receiver, Sender } from "../../sys/datagrams.ts";
import { decodeSockaddr } from "../../sys/sockaddr.ts";
import { systemTime } from "../../sys/time.ts";
import type { Answers } from "../core/transport/answers.ts";
import { Association, type Verdict } from "../core/transport/association.ts";
import type { CodeParameters } from "../core/code/code.ts";
import { MAX_DATAGRAM_BYTES } from "../core/transport/config.ts";
import type { LinkHandler, LinkStatistics } from "../core/transport/link.ts";
import type { MessageHandler } from "../core/transport/messages.ts";
import { transportCrypto } from "../udp/fast-crypto.ts";
import type { PeerSettings } from "./settings.ts";

/** Datagrams a system call. */
const BATCH = 64;
/** Batches before the loop looks at something else. */
const MAX_BATCHES = 4;

export interface ChannelHandler {
  /** Datagrams were taken, and are handled next. */
  onBatch(): void;
  onUp(): void;
  onDown(code: string, reason: string): void;
  /** The peer is at another address now, "host:port". */
  onAddress(address: string): void;
}

export class Channel {
  private settings: PeerSettings;
  readonly association: Association;
  private readonly handler: ChannelHandler;
  private readonly sender = new Sender(BATCH, MAX_DATAGRAM_BYTES);
  private readonly buffer = new Uint8Array(MAX_DATAGRAM_BYTES);
  /** What the kernel had no room for, oldest first. */
  private backlog: Uint8Array[] = [];
  private remote: Uint8Array | null;
  /** Of the newest authentic datagram in this batch; −1: none yet. */
  private authenticPlace = -1;
  sendErrors = 0;

  constructor(
    settings: PeerSettings,
    handler: ChannelHandler,
    messages: MessageHandler,
    answers: Answers,
    nowMicros: number,
  ) {
    this.settings = settings;
    this.handler = handler;
    this.remote = settings.remote;
    this.association = new Association(
      {
        role: settings.remote === null ? "responder" : "initiator",
        wallOffsetMicros: systemTime.wallMicros() - nowMicros,
        crypto: transportCrypto(),
        handler: linkHandler(handler),
        messages,
        key: settings.key,
        answers,
        config: settings.transport,
      },
      nowMicros,
    );
  }

  get codesInUse(): readonly CodeParameters[] {
    return this.association.codesInUse;
  }

  get statistics(): LinkStatistics {
    return this.association.statistics;
  }

  /** Of the peer's datagrams; 0 while it has not called. */
  get remotePort(): number {
    return this.remote === null ? 0 : ((this.remote[2] ?? 0) << 8) | (this.remote[3] ?? 0);
  }

  /** What the association can change while it is up. */
  change(settings: PeerSettings, _nowMicros: number): void {
    this.settings = settings;
  }

  /** The kernel takes nothing now: wait until the socket is writable. */
  get isBlocked(): boolean {
    return this.backlog.length > 0;
  }

  /** Datagrams were taken off the socket, perhaps some of ours. */
  beginBatch(): void {
    this.authenticPlace = -1;
    this.handler.onBatch();
  }

  /** The datagram at `place` of the batch in `receiver`. */
  take(datagram: Uint8Array, receiver: Receiver, place: number, nowMicros: number): Verdict {
    const verdict = this.association.handleDatagram(datagram, nowMicros);
    if (verdict === "authentic") this.authenticPlace = place;
    const length = this.association.pollReply(this.buffer);
    if (length === 0) return verdict;
    this.flush();
    this.sender.push(this.buffer.subarray(0, length), receiver.source(place));
    this.flush();
    return verdict;
  }

  /** Of a batch the newest tells where the peer is. */
  endBatch(receiver: Receiver): void {
    if (this.authenticPlace >= 0) this.learn(receiver.source(this.authenticPlace));
  }

  private learn(source: Uint8Array): void {
    if (this.remote !== null && equalBytes(this.remote, source)) return;
    this.flush();
    this.remote = source.slice();
    const { host, port } = decodeSockaddr(this.remote);
    this.handler.onAddress(host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
  }

  /** Sends what may leave now. True when it stopped before the association did. */
  pump(nowMicros: number): boolean {
    this.association.handleTimeout(nowMicros);
    this.sendBacklog();
    let hasMore = true;
    for (let i = 0; i < BATCH * MAX_BATCHES && !this.isBlocked; i++) {
      const length = this.association.pollTransmit(this.buffer, nowMicros);
      hasMore = length > 0;
      if (!hasMore) break;
      this.send(length);
    }
    this.flush();
    if (!this.isBlocked) this.association.noteLeft();
    return hasMore && !this.isBlocked;
  }

  private send(length: number): void {
    // Nobody has called yet: there is nowhere to send to.
    if (this.remote === null) return;
    if (this.sender.isFull) this.flush();
    this.sender.push(this.buffer.subarray(0, length), this.remote);
  }

  private flush(): void {
    const { sender } = this;
    if (sender.waiting === 0) return;
    this.sendErrors += sender.flush(this.settings.socket, this.keep);
    if (sender.tooLongBytes === 0) return;
    this.association.noteTooLong(sender.tooLongBytes, systemTime.nowMicros());
  }

  private readonly keep = (datagram: Uint8Array): void => {
    this.backlog.push(datagram.slice());
  };

  private sendBacklog(): void {
    if (this.backlog.length === 0 || this.remote === null) return;
    const waiting = this.backlog;
    this.backlog = [];
    for (const datagram of waiting) {
      if (this.sender.isFull) this.flush();
      this.sender.push(datagram, this.remote);
    }
    this.flush();
  }

  nextTimeoutMicros(): number {
    return this.association.nextTimeoutMicros();
  }

  /** Tells the peer that we leave. */
  close(nowMicros: number): void {
    this.association.close();
    this.pump(nowMicros);
  }
}

function linkHandler(handler: ChannelHandler): LinkHandler {
  return {
    onUp: () => handler.onUp(),
    onDown: (code, reason) => handler.onDown(code, reason),
    // The appliance uses messages only: streams have nothing to say here.
    onData: () => {},
    onWritable: () => {},
    onProgress: () => {},
  };
}
