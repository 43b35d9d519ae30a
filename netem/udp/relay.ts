/**
 * The emulated path as a UDP relay on this machine: site A sends to the relay's listening address,
 * the relay forwards to site B's and back, with what `netem/core` does to packets in between.
 *
 * A's address is learned from its latest datagram, so a site A that restarts is followed; B's is
 * given, and datagrams of anybody else on that side are dropped by the kernel. Datagrams are stamped
 * when the event loop reads them: on a machine that is too busy the delay grows, and
 * `statistics().lateMicrosTotal` says by how much deliveries were behind.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import type { EmulatedLink } from "../core/link.ts";
import { EmulatedPath } from "../core/path.ts";
import type { ControlledPath, ShellStatistics } from "../control/controlled.ts";
import type { LinkChanges, LinkSettings } from "../core/settings.ts";
import type { Direction, PathAction, TimelineEvent } from "../core/timeline.ts";
import { DatagramSocket, type Peer, widenBuffers } from "../../sys/datagram-socket.ts";
import { MAX_DATAGRAM_BYTES, type Packet, PacketPool } from "./packet-pool.ts";
import { nowMicros, Wakeup } from "./wakeup.ts";

/** 1 Gbit/s for 140 ms (the kernel counts 2.3 KB for a packet of 1,400 B): a busy machine's pause. */
const BUFFER_BYTES = 32 * 1024 * 1024;
/** Below this a pause of the event loop loses packets at the rates of the presets. */
const ENOUGH_BYTES = 1024 * 1024;

export interface Endpoint {
  /** An address, not a name. */
  readonly host: string;
  readonly port: number;
}

export interface RelayOptions {
  /** Where site A sends to; port 0 for any. */
  readonly listenA: Endpoint;
  readonly peerB: Endpoint;
  readonly settingsAtoB: LinkSettings;
  readonly settingsBtoA: LinkSettings;
  readonly seed: number;
  /** Starts when the relay does. */
  readonly timeline?: readonly TimelineEvent[];
  readonly logger: Logger;
}

interface RelayStatistics extends ShellStatistics {
  /** For site A before it was heard of. */
  readonly unaddressedDatagrams: number;
  /** Longer than `MAX_DATAGRAM_BYTES`. */
  readonly oversizedDatagrams: number;
}

export interface Relay extends ControlledPath<RelayStatistics> {
  /** Where site A sends to. */
  readonly address: Endpoint;
  close(): Promise<void>;
}

/** Rejects with `SmfsError` IO when an address cannot be had, USAGE for wrong settings. */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const relay = new UdpRelay(options);
  await relay.open(options);
  return relay;
}

/** Addresses are literal: what would be a name lookup per datagram answers at once. */
type Lookup = (
  host: string,
  options: unknown,
  answer: (error: null, host: string, family: number) => void,
) => void;
const answerAtOnce: Lookup = (host, _options, answer) => answer(null, host, isIPv6(host) ? 6 : 4);

class UdpRelay implements Relay {
  private readonly path: EmulatedPath<Packet>;
  private readonly pool = new PacketPool();
  private readonly logger: Logger;
  private readonly socketA: Socket;
  private readonly socketB: Socket;
  private readonly wakeup = new Wakeup(() => this.run());
  private batchedA: DatagramSocket | null = null;
  private batchedB: DatagramSocket | null = null;
  private siteA: Peer | null = null;
  private isClosed = false;
  private readonly counts = {
    unaddressedDatagrams: 0,
    oversizedDatagrams: 0,
    sendErrors: 0,
    lateMicrosTotal: 0,
    lateMicrosMax: 0,
  };

  constructor(options: RelayOptions) {
    const { settingsAtoB: aToB, settingsBtoA: bToA, seed, timeline = [] } = options;
    this.logger = options.logger;
    this.path = new EmulatedPath({ aToB, bToA, seed, timeline }, nowMicros(), (packet) =>
      this.pool.copy(packet),
    );
    this.socketA = newSocket(options.listenA.host);
    this.socketB = newSocket(options.peerB.host);
  }

  async open({ listenA, peerB }: RelayOptions): Promise<void> {
    try {
      // Both may answer at once: listen first.
      const listening = once(this.socketA, "listening");
      this.socketA.bind(listenA.port, listenA.host);
      const connected = once(this.socketB, "connect");
      this.socketB.connect(peerB.port, peerB.host);
      await Promise.all([listening, connected]);
    } catch (error) {
      this.socketA.close();
      this.socketB.close();
      const addresses = `${listenA.host}:${listenA.port} and to ${peerB.host}:${peerB.port}`;
      throw new SmfsError("IO", `cannot relay from ${addresses}: ${messageOf(error)}`, error);
    }
    for (const socket of [this.socketA, this.socketB]) this.widen(socket);
    this.listen();
    this.run();
  }

  get address(): Endpoint {
    const { address: host, port } = this.socketA.address();
    return { host, port };
  }

  configure(direction: Direction, changes: LinkChanges): void {
    this.apply(direction, { kind: "configure", changes });
  }

  cut(direction: Direction = "both"): void {
    this.apply(direction, { kind: "cut" });
  }

  restore(direction: Direction = "both"): void {
    this.apply(direction, { kind: "restore" });
  }

  statistics(): RelayStatistics {
    const refused = [this.batchedA, this.batchedB].map((end) => end?.statistics.sendErrors ?? 0);
    const sendErrors = refused.reduce((sum, count) => sum + count, this.counts.sendErrors);
    return { ...this.path.statistics, ...this.counts, sendErrors };
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.wakeup.cancel();
    const closed = [this.socketA, this.socketB].map((socket) => once(socket, "close"));
    this.socketA.close();
    this.socketB.close();
    await Promise.all(closed);
  }

  /** The relay must not add losses of its own: while the loop is away, what arrives waits. */
  private widen(socket: Socket): void {
    const receiveBytes = widenBuffers(socket, BUFFER_BYTES);
    if (receiveBytes >= ENOUGH_BYTES) return;
    this.logger.warn(
      { receiveBytes, wantedBytes: BUFFER_BYTES },
      "small socket buffer: the relay may lose packets that it does not count (raise net.core.rmem_max)",
    );
  }

  private listen(): void {
    const { aToB, bToA } = this.path;
    const run = (): void => this.run();
    const fromA = (datagram: Uint8Array, from: Peer): void => {
      this.learn(from);
      this.enter(aToB, datagram);
    };
    const fromB = (datagram: Uint8Array): void => this.enter(bToA, datagram);
    this.batchedA = new DatagramSocket(this.socketA, MAX_DATAGRAM_BYTES, fromA, run);
    this.batchedB = new DatagramSocket(this.socketB, MAX_DATAGRAM_BYTES, fromB, run);
    for (const socket of [this.socketA, this.socketB]) {
      // A connected socket reports here that nobody listens at the peer's port.
      socket.on("error", () => this.counts.sendErrors++);
    }
  }

  private learn(from: Peer): void {
    if (this.siteA === from) return;
    const isNew = this.siteA?.port !== from.port || this.siteA.host !== from.host;
    this.siteA = from;
    if (isNew) this.logger.info({ host: from.host, port: from.port }, "site A is here");
  }

  private enter(link: EmulatedLink<Packet>, datagram: Uint8Array): void {
    if (datagram.length > MAX_DATAGRAM_BYTES) {
      this.counts.oversizedDatagrams++;
      return;
    }
    const packet = this.pool.take(datagram);
    if (link.send(packet, datagram.length, nowMicros()) !== "queued") this.pool.release(packet);
  }

  private apply(direction: Direction, action: PathAction): void {
    this.path.apply(direction, action, nowMicros());
    this.logger.info({ direction, ...action }, "the path changes");
    this.run();
  }

  /** Everything that is due now; then the alarm for what comes next. */
  private run(): void {
    if (this.isClosed) return;
    const now = nowMicros();
    for (const { direction, action } of this.path.runTimeline(now)) {
      this.logger.info({ direction, ...action }, "the path changes, as its timeline says");
    }
    this.deliver(this.path.aToB, now, this.sendToB);
    this.deliver(this.path.bToA, now, this.sendToA);
    this.batchedA?.flush();
    this.batchedB?.flush();
    this.wakeup.schedule(this.path.nextTimeoutMicros());
  }

  private deliver(link: EmulatedLink<Packet>, now: number, send: (packet: Packet) => void): void {
    for (;;) {
      const lateMicros = now - link.nextTimeoutMicros();
      const packet = link.poll(now);
      if (packet === null) return;
      this.counts.lateMicrosTotal += lateMicros;
      this.counts.lateMicrosMax = Math.max(this.counts.lateMicrosMax, lateMicros);
      send(packet);
    }
  }

  private readonly sendToB = (packet: Packet): void => {
    this.batchedB?.send(packet.datagram, null);
    this.pool.release(packet);
  };

  private readonly sendToA = (packet: Packet): void => {
    if (this.siteA === null) this.counts.unaddressedDatagrams++;
    else this.batchedA?.send(packet.datagram, this.siteA);
    this.pool.release(packet);
  };
}

function newSocket(host: string): Socket {
  return createSocket({ type: isIPv6(host) ? "udp6" : "udp4", lookup: answerAtOnce });
}
