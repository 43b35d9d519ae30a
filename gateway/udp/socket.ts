/**
 * A UDP socket as the transport wants it: bound (and connected when there is one peer only), large
 * buffers, datagrams by the batch, and no error that ends the process.
 */
import { createSocket, type Socket, type SocketOptions } from "node:dgram";
import { once } from "node:events";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import {
  DatagramSocket,
  type Datagrams,
  type Peer,
  sendWhole,
  widenBuffers,
} from "../../sys/datagram-socket.ts";
import type { Verdict } from "../core/transport/association.ts";
import { MAX_DATAGRAM_BYTES } from "../core/transport/config.ts";
import { type Address, formatAddress } from "./address.ts";

/** Takes in 60 ms at 1 Gbit/s while the process is busy with something else. */
const BUFFER_BYTES = 8 * 2 ** 20;

export interface SocketStatistics {
  readonly sendErrors: number;
  readonly receiveErrors: number;
  /** System calls that sent several datagrams; 0 where the platform has no such call. */
  readonly batches: number;
}

type OnDatagram = (datagram: Uint8Array, from: Peer) => Verdict;

/** What a link needs of a socket; benchmarks put a lossy one in between. */
export interface LinkSocket extends Datagrams {
  readonly statistics: SocketStatistics;
  readonly localPort: number;
  /** `onBatchEnd` follows the last of the datagrams that were there. */
  listen(onDatagram: OnDatagram, onBatchEnd: () => void): void;
  /** `onTooLong` hears of datagrams that the interface does not carry, bytes. */
  watchLength(onTooLong: (bytes: number) => void): void;
  close(): void;
}

export class TransportSocket implements LinkSocket {
  private readonly errors = { sendErrors: 0, receiveErrors: 0 };
  private readonly socket: Socket;
  private readonly datagrams: DatagramSocket;
  private readonly logger: Logger;
  private readonly isConnected: boolean;
  private onDatagram: OnDatagram = () => "unknown";
  private onBatchEnd = (): void => {};

  private constructor(socket: Socket, isConnected: boolean, logger: Logger) {
    this.socket = socket;
    this.isConnected = isConnected;
    this.logger = logger;
    socket.on("error", (error) => this.noteError(error));
    const receiveBytes = widenBuffers(socket, BUFFER_BYTES);
    const isWhole = sendWhole(socket, socket.address().family === "IPv6" ? 6 : 4);
    this.datagrams = new DatagramSocket(
      socket,
      MAX_DATAGRAM_BYTES,
      (datagram, from) => this.onDatagram(datagram, from),
      () => this.onBatchEnd(),
    );
    logger.debug({ receiveBytes, batched: this.datagrams.isBatched, isWhole }, "udp socket");
  }

  /** Bound to `local` when given, and talking to `peer` only when given. Throws `SmfsError`. */
  static async open(
    local: Address | null,
    peer: Address | null,
    logger: Logger,
  ): Promise<TransportSocket> {
    const family = (local ?? peer)?.family ?? 4;
    const socket = createSocket(optionsFor(family));
    try {
      // Both events can come before the call returns.
      const listening = once(socket, "listening");
      socket.bind(local?.port ?? 0, local?.host);
      await listening;
      if (peer !== null) await connect(socket, peer);
    } catch (error) {
      socket.close();
      const where = formatAddress(local ?? peer ?? { host: "0.0.0.0", port: 0, family: 4 });
      throw new SmfsError("UNREACHABLE", `UDP ${where}: ${messageOf(error)}`, error);
    }
    return new TransportSocket(socket, peer !== null, logger);
  }

  get statistics(): SocketStatistics {
    const { batches, sendErrors } = this.datagrams.statistics;
    return { ...this.errors, sendErrors: this.errors.sendErrors + sendErrors, batches };
  }

  get localPort(): number {
    return this.socket.address().port;
  }

  get queuedDatagrams(): number {
    return this.datagrams.queuedDatagrams;
  }

  get isBlocked(): boolean {
    return this.datagrams.isBlocked;
  }

  listen(onDatagram: OnDatagram, onBatchEnd: () => void): void {
    this.onDatagram = onDatagram;
    this.onBatchEnd = onBatchEnd;
  }

  watchLength(onTooLong: (bytes: number) => void): void {
    this.datagrams.onTooLong = onTooLong;
  }

  /** Copies. `to` is ignored on a socket that talks to one peer only. */
  send(datagram: Uint8Array, to: Peer | null): void {
    if (this.isConnected) this.datagrams.send(datagram, null);
    else if (to !== null) this.datagrams.send(datagram, to);
  }

  flush(): void {
    this.datagrams.flush();
  }

  close(): void {
    this.datagrams.flush();
    this.socket.close();
  }

  /** ECONNREFUSED of a peer that is not there yet, and the like: the handshake goes on. */
  private noteError(error: Error): void {
    const isSend = (error as NodeJS.ErrnoException).syscall === "send";
    if (isSend) this.errors.sendErrors++;
    else this.errors.receiveErrors++;
    this.logger.debug({ error: messageOf(error) }, "udp socket error");
  }
}

async function connect(socket: Socket, peer: Address): Promise<void> {
  const connected = once(socket, "connect");
  socket.connect(peer.port, peer.host);
  await connected;
}

/** Addresses are resolved before: without this, each send would wait a turn for the resolver. */
function optionsFor(family: 4 | 6): SocketOptions {
  return {
    type: family === 6 ? "udp6" : "udp4",
    lookup: (host, _options, callback) => callback(null, host, family),
  };
}
