/**
 * A bound UDP socket that takes and gives datagrams by the batch where the platform can
 * (`datagrams.ts`), and one by one through Node where it cannot: same calls, same order.
 *
 * - `send` collects; `flush` hands over. What the kernel has no room for goes through Node, which
 *   waits, and so does everything behind it until Node's queue is empty: the order stays.
 * - Datagrams given to `onDatagram` are valid during the call.
 * - With SMFS_DATAGRAMS=plain in the environment it works as on a platform without batches.
 */
import type { RemoteInfo, Socket } from "node:dgram";
import { EMPTY, equalBytes } from "../lib/bytes.ts";
import { SmfsError } from "../lib/errors.ts";
import { Receiver, Sender } from "./datagrams.ts";
import { SystemError } from "./libc.ts";
import { decodeSockaddr } from "./sockaddr.ts";
import { forbidFragments, setReceiveBuffer, setSendBuffer } from "./socket.ts";

/** Datagrams a system call. */
const BATCH = 64;
/** System calls before the event loop may look at something else. */
const MAX_BATCHES = 8;

/** Where a datagram came from, or goes to. One object as long as it does not change. */
export interface Peer {
  readonly host: string;
  readonly port: number;
  /** The kernel's sockaddr; empty while only Node has told of this peer. */
  readonly name: Uint8Array;
}

/** What a user of datagrams needs of a socket; benchmarks put a lossy one in between. */
export interface Datagrams {
  readonly queuedDatagrams: number;
  readonly isBlocked: boolean;
  send(datagram: Uint8Array, to: Peer | null): void;
  flush(): void;
}

interface Batches {
  readonly fd: number;
  readonly receiver: Receiver;
  readonly sender: Sender;
}

export class DatagramSocket implements Datagrams {
  readonly statistics = { datagramsReceived: 0, datagramsSent: 0, batches: 0, sendErrors: 0 };
  private readonly socket: Socket;
  private readonly batches: Batches | null;
  private readonly onDatagram: (datagram: Uint8Array, from: Peer) => void;
  private readonly onBatchEnd: () => void;
  /** Hears of a datagram that was not sent because it is too long for the interface, bytes. */
  onTooLong: (bytes: number) => void = () => {};
  private lastPeer: Peer | null = null;
  private destination: Peer | null = null;

  /** `maxBytes`: the longest datagram that is legal. `onBatchEnd` follows the last of a batch. */
  constructor(
    socket: Socket,
    maxBytes: number,
    onDatagram: (datagram: Uint8Array, from: Peer) => void,
    onBatchEnd: () => void,
  ) {
    this.socket = socket;
    this.onDatagram = onDatagram;
    this.onBatchEnd = onBatchEnd;
    this.batches = openBatches(socket, maxBytes);
    socket.on("message", (datagram, from) => this.receive(datagram, from));
  }

  /** False: datagrams go one by one through Node. */
  get isBatched(): boolean {
    return this.batches !== null;
  }

  /** Datagrams that have not left this process. */
  get queuedDatagrams(): number {
    return this.socket.getSendQueueCount() + (this.batches?.sender.waiting ?? 0);
  }

  /** The kernel had no room: more should not be sent before Node's queue is empty. */
  get isBlocked(): boolean {
    return this.socket.getSendQueueCount() > 0;
  }

  /** Copies. `to` is null on a connected socket. */
  send(datagram: Uint8Array, to: Peer | null): void {
    this.statistics.datagramsSent++;
    const { batches } = this;
    const cannotBatch = to !== null && to.name.length === 0;
    if (batches === null || cannotBatch || this.socket.getSendQueueCount() > 0) {
      this.flush();
      this.sendByNode(datagram, to);
      return;
    }
    if (batches.sender.isFull || to !== this.destination) this.flush();
    this.destination = to;
    batches.sender.push(datagram, to === null ? null : to.name);
  }

  flush(): void {
    const { batches } = this;
    if (batches === null || batches.sender.waiting === 0) return;
    this.statistics.batches++;
    const refused = (datagram: Uint8Array): void => this.sendByNode(datagram, this.destination);
    this.statistics.sendErrors += batches.sender.flush(batches.fd, refused);
    const { tooLongBytes } = batches.sender;
    if (tooLongBytes > 0) this.onTooLong(tooLongBytes);
  }

  /** Node reads a datagram that waits in its queue when it can: it must not be our memory. */
  private sendByNode(datagram: Uint8Array, to: Peer | null): void {
    const copy = datagram.slice();
    // Without a callback Node keeps to itself that the kernel has refused a datagram.
    const sent = (error: Error | null): void => this.noteSent(copy.length, error);
    if (to === null) this.socket.send(copy, sent);
    else this.socket.send(copy, to.port, to.host, sent);
  }

  private noteSent(bytes: number, error: NodeJS.ErrnoException | null): void {
    if (error === null) return;
    this.statistics.sendErrors++;
    if (error.code === "EMSGSIZE") this.onTooLong(bytes);
  }

  private receive(first: Uint8Array, from: RemoteInfo): void {
    this.statistics.datagramsReceived++;
    this.onDatagram(first, this.peerOfNode(from));
    if (this.batches !== null) this.drain(this.batches);
    this.onBatchEnd();
  }

  private drain({ fd, receiver }: Batches): void {
    for (let round = 0; round < MAX_BATCHES; round++) {
      const count = receiver.receive(fd);
      this.statistics.datagramsReceived += count;
      for (let i = 0; i < count; i++) {
        this.onDatagram(receiver.datagram(i), this.peerOfKernel(receiver.source(i)));
      }
      if (count < BATCH) return;
    }
  }

  private peerOfNode({ address: host, port }: RemoteInfo): Peer {
    const known = this.lastPeer;
    if (known !== null && known.port === port && known.host === host) return known;
    this.lastPeer = { host, port, name: EMPTY };
    return this.lastPeer;
  }

  private peerOfKernel(name: Uint8Array): Peer {
    const known = this.lastPeer;
    if (known !== null && equalBytes(known.name, name)) return known;
    this.lastPeer = peerOf(name);
    return this.lastPeer;
  }
}

function openBatches(socket: Socket, maxBytes: number): Batches | null {
  const fd = descriptorOf(socket);
  if (fd === null || process.env["SMFS_DATAGRAMS"] === "plain") return null;
  try {
    const sender = new Sender(BATCH, maxBytes);
    return { fd, sender, receiver: new Receiver(BATCH, maxBytes + 1) };
  } catch (error) {
    if (error instanceof SmfsError && error.code === "UNSUPPORTED") return null;
    throw error;
  }
}

function peerOf(sockaddr: Uint8Array): Peer {
  const name = sockaddr.slice();
  return { ...decodeSockaddr(name), name };
}

/**
 * Datagrams leave whole, so that the path's MTU can be found (RFC 8899). False where the platform
 * has no such option: there longer ones are cut by the system, and the path seems wider than it is.
 */
export function sendWhole(socket: Socket, ip: 4 | 6): boolean {
  const fd = descriptorOf(socket);
  if (fd === null) return false;
  try {
    forbidFragments(fd, ip, "probe");
    return true;
  } catch (error) {
    if (error instanceof SystemError || error instanceof SmfsError) return false;
    throw error;
  }
}

/** Asks for buffers past the system's limit where the process may. Gives the receive buffer's bytes. */
export function widenBuffers(socket: Socket, bytes: number): number {
  const fd = descriptorOf(socket);
  try {
    if (fd === null) throw new SmfsError("UNSUPPORTED", "no descriptor to set buffers on");
    setReceiveBuffer(fd, bytes);
    setSendBuffer(fd, bytes);
  } catch (error) {
    if (!(error instanceof SystemError || error instanceof SmfsError)) throw error;
    widenByNode(socket, bytes);
  }
  return socket.getRecvBufferSize();
}

/** The largest power of two that the system takes: some refuse instead of giving less. */
function widenByNode(socket: Socket, most: number): void {
  for (let bytes = most; bytes >= 64 * 1024; bytes /= 2) {
    try {
      socket.setRecvBufferSize(bytes);
      socket.setSendBufferSize(bytes);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_SOCKET_BUFFER_SIZE") throw error;
    }
  }
}

/** Node keeps the descriptor to itself, in a state object under a symbol; null when it moved. */
function descriptorOf(socket: Socket): number | null {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state = Reflect.get(socket, symbol) as { handle?: { fd?: unknown } | null } | null;
    const fd = state?.handle?.fd;
    if (typeof fd === "number" && fd >= 0) return fd;
  }
  return null;
}
