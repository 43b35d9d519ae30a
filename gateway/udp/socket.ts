/**
 * A UDP socket as the transport wants it: sends that take effect at once, large buffers, and no
 * error that ends the process.
 *
 * Node gives a datagram to the kernel inside `send` when nothing is queued, and queues it (holding
 * on to the buffer) when the kernel has no room. So `send` is done with the buffer unless
 * `queuedDatagrams` is above zero afterwards.
 */
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { once } from "node:events";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { setReceiveBuffer, setSendBuffer } from "../../sys/socket.ts";
import { type Address, formatAddress } from "./address.ts";

/** Takes in 60 ms at 1 Gbit/s while the process is busy with something else. */
const BUFFER_BYTES = 8 * 2 ** 20;

export interface SocketStatistics {
  sendErrors: number;
  receiveErrors: number;
}

/** What a link needs of a socket; benchmarks put a lossy one in between. */
export interface DatagramSocket {
  readonly statistics: Readonly<SocketStatistics>;
  readonly localPort: number;
  readonly queuedDatagrams: number;
  onMessage(handle: (datagram: Uint8Array, source: RemoteInfo) => void): void;
  send(buffer: Uint8Array, length: number, to: { address: string; port: number } | null): void;
  close(): void;
}

export class TransportSocket implements DatagramSocket {
  readonly statistics: SocketStatistics = { sendErrors: 0, receiveErrors: 0 };
  private readonly socket: Socket;
  private readonly logger: Logger;
  private readonly connected: boolean;

  private constructor(socket: Socket, connected: boolean, logger: Logger) {
    this.socket = socket;
    this.connected = connected;
    this.logger = logger;
    socket.on("error", (error) => this.noteError(error));
    enlargeBuffers(socket, logger);
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

  onMessage(handle: (datagram: Uint8Array, source: RemoteInfo) => void): void {
    this.socket.on("message", handle);
  }

  get localPort(): number {
    return this.socket.address().port;
  }

  get queuedDatagrams(): number {
    return this.socket.getSendQueueCount();
  }

  /** `to` is ignored on a socket that talks to one peer only. */
  send(buffer: Uint8Array, length: number, to: { address: string; port: number } | null): void {
    if (this.connected) this.socket.send(buffer, 0, length);
    else if (to !== null) this.socket.send(buffer, 0, length, to.port, to.address);
  }

  close(): void {
    this.socket.close();
  }

  /** ECONNREFUSED of a peer that is not there yet, and the like: the handshake goes on. */
  private noteError(error: Error): void {
    const isSend = (error as NodeJS.ErrnoException).syscall === "send";
    if (isSend) this.statistics.sendErrors++;
    else this.statistics.receiveErrors++;
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

function enlargeBuffers(socket: Socket, logger: Logger): void {
  const fd = descriptorOf(socket);
  try {
    if (fd === null) throw new SmfsError("UNSUPPORTED", "no descriptor to set buffers on");
    const receiveBytes = setReceiveBuffer(fd, BUFFER_BYTES);
    const sendBytes = setSendBuffer(fd, BUFFER_BYTES);
    logger.debug({ receiveBytes, sendBytes }, "udp socket buffers");
  } catch (error) {
    socket.setRecvBufferSize(BUFFER_BYTES);
    socket.setSendBufferSize(BUFFER_BYTES);
    logger.debug({ error: messageOf(error) }, "udp socket buffers only up to the system's limit");
  }
}

/** Node keeps the descriptor to itself, in a state object under a symbol; null when it moved. */
function descriptorOf(socket: Socket): number | null {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state = (socket as unknown as Record<symbol, unknown>)[symbol];
    const fd = (state as { handle?: { fd?: number } | null } | null)?.handle?.fd ?? -1;
    if (fd >= 0) return fd;
  }
  return null;
}
