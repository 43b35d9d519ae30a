/**
 * Tunnel mode: packets that the kernel routes into the TUN device go to the peer whose prefix their
 * destination is in, as messages that the code protects; what a peer sends goes to the device, if
 * its source is in that peer's prefixes.
 *
 * Out: read, cut, clamp (SYNs), one message each. A packet that does not fit is answered with
 * "packet too big". When a peer's queue is full, reading stops while there is one peer only, so that
 * the device's own queue holds (and drops) what is too much; with several, the packet is dropped,
 * because one slow peer must not stop the others.
 * In: each message is one packet; those of TCP that come behind a gap in their connection wait for it
 * (`reorder.ts`).
 */
import { assert } from "../../lib/assert.ts";
import { nativeMemory } from "../../sys/libc.ts";
import { TunDevice } from "../../sys/tun.ts";
import type { MessageInfo } from "../core/transport/messages.ts";
import { MAX_PACKET_BYTES } from "../core/code/code.ts";
import { FlowOrder } from "../core/ip/flow-order.ts";
import { IpPacket } from "../core/ip/ip.ts";
import { clampMss } from "../core/ip/ip-mss.ts";
import { MAX_ANSWER_BYTES, writeTooBig } from "../core/ip/ip-too-big.ts";
import { isInPrefix, PrefixTable } from "../core/ip/prefixes.ts";
import { DEFAULT_CONFIG } from "../core/transport/config.ts";
import { horizonPackets } from "../core/code/parameters.ts";
import { Reorder } from "../core/ip/reorder.ts";
import { TUNNEL, TunnelMessage } from "../core/ip/tunnel-packets.ts";
import type { Path, PathContext } from "./path.ts";
import { Peer, type PeerTraffic } from "./peer.ts";
import type { DataPlaneSettings, PeerSettings, TunnelSettings } from "./settings.ts";
import { TunReader } from "./tun-reader.ts";
import { TunWriter } from "./tun-writer.ts";

/** Packets read before the loop looks at the sockets. */
const MAX_READS = 64;
/** Ids that may be held behind a gap: 16 ms at 1 Gbit/s, twice what the default code spans. */
const REORDER_SLOTS = 2048;
/** Connections whose order is known: more than share a path at a time. */
const ORDER_PLACES = 4096;
/** How long packets wait for the session of a peer that was just added or changed. */
const PATIENCE_MICROS = 2_000_000;
/** What every path that carries IPv6 through a tunnel must take (RFC 8200 §5). */
const LEAST_ROOM_BYTES = 1280;
/** Packets that the path itself may reorder. */
const REORDER_PACKETS = 64;
const FLAGS_THAT_WAIT = 0x07;

export class Tunnel implements Path {
  private readonly context: PathContext;
  private readonly reader: TunReader;
  private readonly writer: TunWriter;
  private settings: TunnelSettings;
  private readonly paths = new Map<string, TunnelPeer>();
  private table = new PrefixTable<TunnelPeer>([]);
  private readonly message = new Uint8Array(TunnelMessage.size + MAX_PACKET_BYTES);
  /** The packet in it. */
  private readonly messagePacket = this.message.subarray(TunnelMessage.size);
  private readonly answer = nativeMemory(64 + MAX_ANSWER_BYTES[6]);
  /** Whose packet waits for room in its queue. */
  private waiting: TunnelPeer | null = null;
  /** It has been cut and clamped; otherwise it has not got so far. */
  private isRouted = false;

  constructor(settings: TunnelSettings, context: PathContext, nowMicros: number) {
    const { descriptor, name, headerBytes } = settings.tun;
    const tun = new TunDevice(descriptor, name, headerBytes);
    this.context = context;
    this.reader = new TunReader(tun, context.counters);
    this.writer = new TunWriter(tun, context.counters);
    this.settings = settings;
    this.apply(settings, nowMicros);
  }

  get descriptor(): number {
    return this.settings.tun.descriptor;
  }

  /** Nothing more is read until a queue has room. */
  get isBlocked(): boolean {
    return this.waiting !== null;
  }

  peers: readonly Peer[] = [];

  apply(settings: DataPlaneSettings, nowMicros: number): void {
    assert(settings.mode === "tunnel", "a gateway keeps its mode");
    this.settings = settings;
    const names = new Set(settings.peers.map(({ name }) => name));
    for (const [name, path] of this.paths) {
      if (names.has(name)) continue;
      path.peer.channel.close(nowMicros);
      this.context.feed.forget(path.peer);
      this.paths.delete(name);
      if (this.waiting === path) this.waiting = null;
    }
    for (const peer of settings.peers) this.applyPeer(peer, nowMicros);
    const paths = [...this.paths.values()];
    this.peers = paths.map(({ peer }) => peer);
    this.table = new PrefixTable(
      paths.flatMap((value) => value.peer.prefixes.map((prefix) => ({ prefix, value }))),
    );
  }

  private applyPeer(settings: PeerSettings, nowMicros: number): void {
    const known = this.paths.get(settings.name);
    if (known !== undefined) {
      known.change(settings, nowMicros);
      return;
    }
    const path = new TunnelPeer(settings, this.context, this.writer, nowMicros);
    this.paths.set(settings.name, path);
  }

  // ---- out --------------------------------------------------------------------------------------

  /** Takes packets from the device. True when it stopped before they were all taken. */
  read(nowMicros: number): boolean {
    if (!this.resume(nowMicros)) return false;
    for (let i = 0; i < MAX_READS; i++) {
      const found = this.reader.read();
      if (found === "none") return false;
      if (found === "packet") this.route(nowMicros);
      if (this.waiting !== null) return false;
    }
    return true;
  }

  /** Sends what waited for room. False when it still does. */
  private resume(nowMicros: number): boolean {
    const { waiting } = this;
    if (waiting === null) return true;
    this.waiting = null;
    if (this.isRouted) this.sendParts(waiting, nowMicros);
    else this.route(nowMicros);
    return this.waiting === null;
  }

  private route(nowMicros: number): void {
    const { packet } = this.reader;
    const { counters } = this.context;
    const path = this.table.find(packet.bytes, packet.destinationAt, packet.addressBytes);
    if (path === null) {
      counters.packetsWithoutPeer++;
      return;
    }
    const room = path.fit();
    if (room < LEAST_ROOM_BYTES && this.waitForSession(path, nowMicros)) return;
    if (room <= 0) {
      path.peer.counters.packetsRefused++;
      return;
    }
    if (!this.reader.fit(room)) {
      this.refuse(room);
      return;
    }
    const { checksum } = this.reader;
    if (this.settings.clampMss && clampMss(packet, room, checksum)) counters.clampedSyns++;
    this.sendParts(path, nowMicros);
  }

  /**
   * A new session is a round trip away, and another until it is known what the path takes: what would
   * be lost, or refused for its size, waits in the device's queue. False: it has waited enough.
   */
  private waitForSession(path: TunnelPeer, nowMicros: number): boolean {
    if (this.paths.size > 1 || nowMicros >= path.openedMicros + PATIENCE_MICROS) return false;
    this.waiting = path;
    this.isRouted = false;
    return true;
  }

  private sendParts(path: TunnelPeer, nowMicros: number): void {
    const { reader, message } = this;
    message[0] = TUNNEL[reader.checksum];
    const { counters } = path.peer;
    while (reader.hasMore) {
      const length = TunnelMessage.size + reader.write(message, TunnelMessage.size);
      if (path.send(message, this.messagePacket, length, nowMicros)) counters.packetsSent++;
      else if (this.paths.size === 1 && path.peer.channel.association.up) {
        this.waiting = path;
        this.isRouted = true;
        return;
      } else counters.packetsRefused++;
      reader.advance();
    }
  }

  /** Tells the sender what fits. */
  private refuse(packetBytes: number): void {
    const { counters } = this.context;
    counters.tooLongPackets++;
    const length = writeTooBig(this.reader.packet, packetBytes, null, this.answer.bytes);
    if (length === 0) return;
    counters.tooBigAnswers++;
    this.writer.writeBytes(this.answer.bytes.subarray(0, length));
  }

  // ---- in ---------------------------------------------------------------------------------------

  /** What arrived by now goes to the device; called after each batch. */
  flush(): void {
    this.writer.flush();
  }

  handleTimeout(nowMicros: number): void {
    for (const path of this.paths.values()) path.handleTimeout(nowMicros);
    this.writer.flush();
  }

  nextTimeoutMicros(): number {
    let next = Infinity;
    for (const path of this.paths.values()) next = Math.min(next, path.nextTimeoutMicros);
    return next;
  }
}

/** One peer of a tunnel. */
class TunnelPeer implements PeerTraffic {
  readonly peer: Peer;
  /** When it was added, or its session began. */
  openedMicros: number;
  private readonly context: PathContext;
  private readonly writer: TunWriter;
  private readonly reorder: Reorder;
  private readonly order = new FlowOrder(ORDER_PLACES);
  private readonly packet = new IpPacket();
  /** Of one that had waited. */
  private readonly delivered = new IpPacket();
  /** The message whose packet is in `packet`. */
  private current: Uint8Array | null = null;
  private prefixes: Peer["prefixes"];
  private nowMicros: number;

  constructor(settings: PeerSettings, context: PathContext, writer: TunWriter, nowMicros: number) {
    this.context = context;
    this.writer = writer;
    this.nowMicros = nowMicros;
    this.openedMicros = nowMicros;
    this.reorder = new Reorder({
      slots: REORDER_SLOTS,
      slotBytes: MAX_PACKET_BYTES,
      holdMicros: settings.holdMicros,
      horizonPackets: horizonOf(settings),
      deliver: (message) => this.deliver(message),
    });
    this.peer = new Peer(
      settings,
      this,
      context.feed,
      context.tell,
      context.seed,
      context.answers,
      nowMicros,
    );
    this.prefixes = this.peer.prefixes;
  }

  change(settings: PeerSettings, nowMicros: number): void {
    this.reorder.holdMicros = settings.holdMicros;
    this.reorder.horizonPackets = horizonOf(settings);
    this.peer.change(settings, nowMicros);
    this.prefixes = this.peer.prefixes;
  }

  /** Queues the first `length` bytes of `message`, `packet` in them; false without room. */
  send(message: Uint8Array, packet: Uint8Array, length: number, nowMicros: number): boolean {
    const { channel, flows } = this.peer;
    const whole = message.subarray(0, length);
    if (!channel.association.sendMessage(whole, "protected", flows.nextToken)) return false;
    this.current = null;
    this.packet.parse(packet, length - TunnelMessage.size);
    flows.notePassed(this.packet, nowMicros);
    return true;
  }

  restart(): void {
    this.openedMicros = this.nowMicros;
    this.reorder.restart();
    this.peer.flows.restartIds();
  }

  fit(): number {
    return this.peer.channel.association.messageBytes("protected") - TunnelMessage.size;
  }

  onBatch(): void {
    // Everything of a tunnel is in the datagrams themselves.
  }

  onMessage(bytes: Uint8Array, { id, isRebuilt }: MessageInfo): void {
    const { counters } = this.peer;
    const { packet } = this;
    const isKnown = bytes[0] === TUNNEL.complete || bytes[0] === TUNNEL.undone;
    if (!isKnown || !packet.parse(bytes.subarray(TunnelMessage.size))) {
      this.context.counters.malformedPackets++;
      this.skip(id);
      return;
    }
    if (!this.isFromPeer(packet)) {
      this.context.counters.foreignPackets++;
      this.skip(id);
      return;
    }
    this.current = bytes;
    counters.packetsReceived++;
    if (isRebuilt) counters.packetsRebuiltHere++;
    this.peer.flows.noteReceived(packet, this.nowMicros);
    if (id < 0) this.deliver(bytes);
    else {
      const mustWait = mustBeInOrder(packet) && !this.order.isNext(packet);
      this.reorder.take(id, bytes, mustWait, this.nowMicros);
    }
  }

  private skip(id: number): void {
    if (id >= 0) this.reorder.skip(id, this.nowMicros);
  }

  private isFromPeer(packet: IpPacket): boolean {
    for (const prefix of this.prefixes) {
      const isFamily = prefix.address.length === packet.addressBytes;
      if (isFamily && isInPrefix(prefix, packet.bytes, packet.sourceAt)) return true;
    }
    return false;
  }

  private deliver(message: Uint8Array): void {
    let { packet } = this;
    if (message !== this.current) {
      packet = this.delivered;
      packet.parse(message.subarray(TunnelMessage.size));
    }
    if (packet.isTcp) this.order.note(packet);
    this.writer.write(packet, message[0] === TUNNEL.undone ? "undone" : "complete");
  }

  onMessageSent(id: number, token: number): void {
    this.peer.flows.noteSent(id, token);
  }

  onMessageLost(): void {
    // TCP sends it again, as a new packet; until then its flow's offset was told with its risk.
  }

  onCovered(layers: number, endId: number): void {
    this.peer.flows.noteCovered(layers, endId);
  }

  handleTimeout(nowMicros: number): void {
    this.nowMicros = nowMicros;
    this.reorder.handleTimeout(nowMicros);
    const { counters } = this.peer;
    counters.packetsHeld = this.reorder.statistics.held;
    counters.gapsAbandoned = this.reorder.statistics.abandonedGaps;
    counters.latePackets = this.reorder.statistics.late;
  }

  get nextTimeoutMicros(): number {
    return this.reorder.timeoutMicros;
  }
}

/**
 * Ids behind a gap after which it is given up. The other side's code counts and is not ours to know:
 * what the default code spans at least, and ours, because operators give both sides one code.
 */
function horizonOf({ transport }: PeerSettings): number {
  const codes = [DEFAULT_CONFIG.code, transport.code ?? DEFAULT_CONFIG.code];
  const horizon = Math.max(...codes.map(horizonPackets)) + REORDER_PACKETS;
  return Math.min(REORDER_SLOTS - 1, horizon);
}

/** Only TCP takes reordering for loss, and not of bare acknowledgements. */
function mustBeInOrder(packet: IpPacket): boolean {
  return packet.isTcp && (packet.payloadBytes > 0 || (packet.flags & FLAGS_THAT_WAIT) !== 0);
}
