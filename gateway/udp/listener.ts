/**
 * Several peers on one bound socket: each has a link of its own, and the demultiplexer says whose a
 * datagram is. What strangers and replays may cost is bounded for all of them together.
 */
import type { Logger } from "../../lib/ports.ts";
import type { Peer } from "../../sys/datagram-socket.ts";
import { systemTime } from "../../sys/time.ts";
import { Answers } from "../core/transport/answers.ts";
import type { Verdict } from "../core/transport/association.ts";
import { Demultiplexer, type DemultiplexerStatistics } from "../core/transport/demultiplexer.ts";
import { resolveAddress } from "./address.ts";
import { UdpLink, type UdpLinkOptions } from "./endpoint.ts";
import { type LinkSocket, type SocketStatistics, TransportSocket } from "./socket.ts";

export type PeerOptions = Omit<UdpLinkOptions, "listen" | "peer" | "logger" | "answers">;

export class UdpListener {
  private readonly socket: TransportSocket;
  private readonly logger: Logger;
  private readonly answers = new Answers();
  private readonly demultiplexer = new Demultiplexer<Place>(this.answers);

  private constructor(socket: TransportSocket, logger: Logger) {
    this.socket = socket;
    this.logger = logger;
    socket.listen(
      (datagram, from) => this.handleDatagram(datagram, from),
      () => this.handleBatchEnd(),
    );
    // The kernel does not say whose it was; each finds out for itself.
    socket.watchLength((bytes) => {
      for (const { onTooLong } of this.demultiplexer.all) onTooLong(bytes);
    });
  }

  /** `listen` is host:port. Throws `SmfsError` CONFIG or UNREACHABLE. */
  static async open(listen: string, logger: Logger): Promise<UdpListener> {
    const socket = await TransportSocket.open(await resolveAddress(listen), null, logger);
    return new UdpListener(socket, logger);
  }

  /** Waits for one more peer; each has a key of its own. Closing the link takes it away. */
  add(options: PeerOptions): UdpLink {
    const { logger, answers } = this;
    const place = new Place(this.socket, () => this.demultiplexer.remove(place));
    place.link = new UdpLink({ ...options, logger, answers }, place, null);
    this.demultiplexer.add(place);
    return place.link;
  }

  get localPort(): number {
    return this.socket.localPort;
  }

  get statistics(): Readonly<DemultiplexerStatistics> {
    return this.demultiplexer.statistics;
  }

  private handleDatagram(datagram: Uint8Array, from: Peer): Verdict {
    const reply = this.demultiplexer.dispatch(datagram, systemTime.nowMicros(), (place, bytes) =>
      place.onDatagram(bytes, from),
    );
    if (reply !== null) this.socket.send(reply, from);
    return "unknown";
  }

  private handleBatchEnd(): void {
    for (const place of this.demultiplexer.all) place.onBatchEnd();
    this.socket.flush();
  }

  /** Closes the links, too: each tells its peer. */
  close(): void {
    for (const { link } of this.demultiplexer.all) link?.close();
    this.socket.close();
  }
}

/** One link's share of the socket. */
class Place implements LinkSocket {
  link: UdpLink | null = null;
  onDatagram: Parameters<LinkSocket["listen"]>[0] = () => "unknown";
  onBatchEnd = (): void => {};
  onTooLong: Parameters<LinkSocket["watchLength"]>[0] = () => {};
  private readonly socket: TransportSocket;
  private readonly leave: () => void;

  constructor(socket: TransportSocket, leave: () => void) {
    this.socket = socket;
    this.leave = leave;
  }

  readonly association = { claims: (datagram: Uint8Array) => this.link?.claims(datagram) ?? false };

  get statistics(): SocketStatistics {
    return this.socket.statistics;
  }

  get localPort(): number {
    return this.socket.localPort;
  }

  get queuedDatagrams(): number {
    return this.socket.queuedDatagrams;
  }

  get isBlocked(): boolean {
    return this.socket.isBlocked;
  }

  listen(onDatagram: Place["onDatagram"], onBatchEnd: () => void): void {
    this.onDatagram = onDatagram;
    this.onBatchEnd = onBatchEnd;
  }

  send(datagram: Uint8Array, to: Peer | null): void {
    this.socket.send(datagram, to);
  }

  flush(): void {
    this.socket.flush();
  }

  watchLength(onTooLong: Place["onTooLong"]): void {
    this.onTooLong = onTooLong;
  }

  /** The socket stays for the others. */
  close(): void {
    this.socket.flush();
    this.leave();
  }
}
