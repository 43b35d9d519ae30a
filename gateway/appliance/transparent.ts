/**
 * Transparent mode (SMFS §5): the kernel forwards the packets, and goes on when we die. We see
 * copies of what leaves and comes at the interface towards the WAN: what leaves for a peer's
 * prefixes enters its code, what comes from them enters its window, and only repairs are sent.
 * What is rebuilt goes to the control thread, which has the raw socket.
 *
 * Our own datagrams pass the same interface and are left out: a repair must not need repairs.
 */
import { assert } from "../../lib/assert.ts";
import { SmfsError } from "../../lib/errors.ts";
import { viewOf } from "../../lib/codec.ts";
import { Receiver } from "../../sys/datagrams.ts";
import { systemTime } from "../../sys/time.ts";
import { directionOf } from "../../sys/packet-socket.ts";
import type { LossEstimate } from "../core/code/code.ts";
import type { Credentials } from "../core/transport/credentials.ts";
import { makeSendable } from "../core/ip/fingerprint.ts";
import { handshakeSecrets } from "../core/transport/handshake.ts";
import { transportChecksum, transportChecksumAt } from "../core/ip/ip-checksum.ts";
import { IpPacket, PROTOCOL } from "../core/ip/ip.ts";
import type { MessageInfo } from "../core/transport/messages.ts";
import { isInPrefix, PrefixTable } from "../core/ip/prefixes.ts";
import { TransparentEgress } from "../core/ip/transparent-egress.ts";
import { TransparentIngress } from "../core/ip/transparent-ingress.ts";
import { TRANSPARENT, TransparentReport } from "../core/ip/transparent-packets.ts";
import { transportCrypto } from "../udp/fast-crypto.ts";
import { latin1, EMPTY } from "../../lib/bytes.ts";
import { Peer, type PeerTraffic } from "./peer.ts";
import type { Path, PathContext } from "./path.ts";
import type { DataPlaneSettings, PeerSettings, TransparentSettings } from "./settings.ts";

const BATCH = 64;
const MAX_BATCHES = 4;
/** Longer than any packet that can be protected; what is cut off makes a packet malformed. */
const SLOT_BYTES = 2048;
/** How often a side tells the other what it missed. */
const REPORT_MICROS = 500_000;
const SECRET_BYTES = 8;
/** Idle time of the code: as the sender's of streams (core/sender.ts). */
const LEAST_IDLE_MICROS = 2_000;
const MOST_IDLE_MICROS = 25_000;
/** What counts of a line that nobody has measured: a poor one. */
const INITIAL_LOSS: LossEstimate = { loss: 0.02, burst: 1.5 };

export class Transparent implements Path {
  private readonly context: PathContext;
  private readonly receiver = new Receiver(BATCH, SLOT_BYTES);
  private readonly packet = new IpPacket();
  private settings: TransparentSettings;
  private readonly paths = new Map<string, TransparentPeer>();
  private table = new PrefixTable<TransparentPeer>([]);

  constructor(settings: TransparentSettings, context: PathContext, nowMicros: number) {
    this.context = context;
    this.settings = settings;
    this.apply(settings, nowMicros);
  }

  get descriptor(): number {
    return this.settings.capture;
  }

  /** Copies that are not read are dropped by the kernel: there is nothing to wait for. */
  readonly isBlocked = false;

  peers: readonly Peer[] = [];

  apply(settings: DataPlaneSettings, nowMicros: number): void {
    assert(settings.mode === "transparent", "a gateway keeps its mode");
    this.settings = settings;
    const names = new Set(settings.peers.map(({ name }) => name));
    for (const [name, { peer }] of this.paths) {
      if (names.has(name)) continue;
      peer.channel.close(nowMicros);
      this.context.feed.forget(peer);
      this.paths.delete(name);
    }
    for (const each of settings.peers) {
      const known = this.paths.get(each.name);
      if (known !== undefined) known.change(each, nowMicros);
      else {
        const catchUp = (): void => void this.read(systemTime.nowMicros());
        const { windowPackets } = settings;
        const path = new TransparentPeer(each, windowPackets, this.context, catchUp, nowMicros);
        this.paths.set(each.name, path);
      }
    }
    const paths = [...this.paths.values()];
    this.peers = paths.map(({ peer }) => peer);
    this.table = new PrefixTable(
      paths.flatMap((value) => value.peer.prefixes.map((prefix) => ({ prefix, value }))),
    );
  }

  /** Takes the copies that are there. True when it stopped before they were all taken. */
  read(nowMicros: number): boolean {
    for (let batch = 0; batch < MAX_BATCHES; batch++) {
      const count = this.receiver.receive(this.settings.capture);
      for (let i = 0; i < count; i++) {
        this.route(this.receiver.datagram(i), this.receiver.source(i), nowMicros);
      }
      if (count < BATCH) return false;
    }
    return true;
  }

  private route(bytes: Uint8Array, source: Uint8Array, nowMicros: number): void {
    const { counters } = this.context;
    const direction = directionOf(source);
    const isOut = direction === "outgoing";
    if (!isOut && direction !== "to-us") return;
    counters.packetsRead++;
    counters.bytesRead += bytes.length;
    const { packet } = this;
    // Short frames come padded to what Ethernet asks for.
    if (!packet.parse(bytes, lengthOf(bytes))) {
      counters.malformedPackets++;
      return;
    }
    const at = isOut ? packet.destinationAt : packet.sourceAt;
    const path = this.table.find(packet.bytes, at, packet.addressBytes);
    if (path === null) {
      counters.packetsWithoutPeer++;
      return;
    }
    if (path.isOurs(packet, isOut)) return;
    if (isOut) path.noteLeaving(packet, nowMicros);
    else path.noteComing(packet, nowMicros);
  }

  flush(): void {
    for (const path of this.paths.values()) path.flush();
  }

  handleTimeout(nowMicros: number): void {
    for (const path of this.paths.values()) path.handleTimeout(nowMicros);
  }

  nextTimeoutMicros(): number {
    let next = Infinity;
    for (const path of this.paths.values()) next = Math.min(next, path.nextTimeoutMicros);
    return next;
  }
}

/** What the IP header says; the bytes' own length where that is more. */
function lengthOf(bytes: Uint8Array): number {
  const isFour = (bytes[0] ?? 0) >> 4 === 4;
  const low = isFour ? 2 : 4;
  const said = (((bytes[low] ?? 0) << 8) | (bytes[low + 1] ?? 0)) + (isFour ? 0 : 40);
  return Math.min(said, bytes.length);
}

/** What the two sides share, besides the datagrams' keys, to name packets by. */
function fingerprintSecret(key: Credentials): Uint8Array {
  const crypto = transportCrypto();
  const { shared } = handshakeSecrets(crypto, key);
  return crypto.hkdf(shared, EMPTY, latin1("smfs packet fingerprint 1"), SECRET_BYTES);
}

class TransparentPeer implements PeerTraffic {
  readonly peer: Peer;
  private readonly context: PathContext;
  private readonly windowPackets: number;
  private readonly catchUp: () => void;
  private readonly secret: Uint8Array;
  private readonly message = new Uint8Array(SLOT_BYTES);
  private readonly rebuilt = new IpPacket();
  private readonly ownPort: number;
  /** Null while the association is down: nobody would take repairs. */
  private egress: TransparentEgress | null = null;
  private ingress: TransparentIngress | null = null;
  private inject: Uint8Array[] = [];
  private nextReportMicros = Infinity;
  /** Bare messages given to the association, and what they covered when so many had been. */
  private given = 0;
  private sentBefore = 0;
  private mark: { readonly given: number; readonly ends: readonly number[] } | null = null;

  constructor(
    settings: PeerSettings,
    windowPackets: number,
    context: PathContext,
    catchUp: () => void,
    nowMicros: number,
  ) {
    this.catchUp = catchUp;
    this.context = context;
    this.windowPackets = windowPackets;
    this.secret = fingerprintSecret(settings.key);
    this.ownPort = settings.localPort;
    this.peer = new Peer(
      settings,
      this,
      context.feed,
      context.tell,
      context.seed,
      context.answers,
      nowMicros,
    );
    this.peer.loss = INITIAL_LOSS;
  }

  change(settings: PeerSettings, nowMicros: number): void {
    this.peer.change(settings, nowMicros);
    if (this.egress === null) return;
    this.drainRepairs(nowMicros);
    this.egress.setParameters(this.peer.code, nowMicros);
    this.drainRepairs(nowMicros);
  }

  /** A datagram of this association. */
  isOurs(packet: IpPacket, isOut: boolean): boolean {
    if (packet.protocol !== PROTOCOL.udp || !packet.hasPorts) return false;
    const [own, other] = isOut
      ? [packet.sourcePort, packet.destinationPort]
      : [packet.destinationPort, packet.sourcePort];
    return own === this.ownPort && other === this.peer.channel.remotePort;
  }

  noteLeaving(packet: IpPacket, nowMicros: number): void {
    const { egress, peer } = this;
    if (egress === null) return;
    const token = peer.flows.notePassed(packet, nowMicros);
    const id = egress.push(packet.bytes.subarray(0, packet.length), nowMicros);
    if (id < 0) {
      this.context.counters.tooLongPackets++;
      return;
    }
    peer.counters.packetsSent++;
    peer.flows.noteSent(id, token);
    this.drainRepairs(nowMicros);
  }

  noteComing(packet: IpPacket, nowMicros: number): void {
    this.peer.counters.packetsReceived++;
    this.peer.flows.noteReceived(packet, nowMicros);
    this.ingress?.noteSeen(packet.bytes.subarray(0, packet.length));
    this.drainRebuilt();
  }

  private drainRepairs(nowMicros: number): void {
    const { egress, peer, message } = this;
    if (egress === null) return;
    for (;;) {
      const length = egress.poll(message, nowMicros);
      if (length === 0) return;
      if (this.send(length)) peer.counters.repairPacketsSent++;
    }
  }

  private send(length: number): boolean {
    const { peer, message } = this;
    if (peer.channel.association.sendMessage(message.subarray(0, length), "bare")) {
      this.given++;
      return true;
    }
    peer.counters.packetsRefused++;
    return false;
  }

  restart(): void {
    const { association } = this.peer.channel;
    const messageBytes = association.messageBytes("bare");
    const { code } = this.peer;
    const { secret, windowPackets } = this;
    this.egress = new TransparentEgress({ code, secret, messageBytes });
    this.ingress = new TransparentIngress({ secret, windowPackets });
    this.peer.flows.restartIds();
    this.given = 0;
    this.sentBefore = association.statistics.messagesSent;
    this.mark = null;
    this.nextReportMicros = 0;
  }

  fit(): number {
    if (this.egress === null) return 0;
    this.egress.messageBytes = this.peer.channel.association.messageBytes("bare");
    return this.egress.packetBytes;
  }

  /** What left before these repairs passed the interface before them: its copies are read first. */
  onBatch(): void {
    this.catchUp();
  }

  onMessage(bytes: Uint8Array, { mode }: MessageInfo): void {
    if (mode !== "bare" || this.ingress === null) return;
    if (bytes[0] === TRANSPARENT.repair) {
      this.ingress.handleRepair(bytes);
      this.drainRebuilt();
    } else if (bytes[0] === TRANSPARENT.report) this.takeReport(bytes);
    else this.context.counters.malformedPackets++;
  }

  private takeReport(bytes: Uint8Array): void {
    const report = TransparentReport.decode(viewOf(bytes), 0);
    const { lostPackets, rebuiltPackets, loss, burst } = report;
    if (!(loss >= 0 && loss <= 1 && burst >= 1)) {
      throw new SmfsError("DAMAGED", "a report of an impossible loss");
    }
    const { counters } = this.peer;
    counters.lostPackets = lostPackets;
    counters.rebuiltPackets = rebuiltPackets;
    counters.unrecoverablePackets = Math.max(0, lostPackets - rebuiltPackets);
    this.peer.loss = { loss, burst };
  }

  private drainRebuilt(): void {
    const { ingress, rebuilt } = this;
    for (let packet = ingress?.pollRebuilt(); packet; packet = ingress?.pollRebuilt()) {
      const copy = packet.slice();
      if (!rebuilt.parse(copy) || !this.mayInject(rebuilt)) {
        this.context.counters.foreignPackets++;
        continue;
      }
      makeSendable(copy, rebuilt.headerBytes);
      this.peer.counters.packetsRebuiltHere++;
      this.inject.push(copy);
    }
  }

  /** From the peer's site, and whole: a checksum that is wrong now was right when it left. */
  private mayInject(packet: IpPacket): boolean {
    const isFromPeer = this.peer.prefixes.some(
      (prefix) =>
        prefix.address.length === packet.addressBytes &&
        isInPrefix(prefix, packet.bytes, packet.sourceAt),
    );
    const checksumAt = transportChecksumAt(packet);
    if (!isFromPeer || checksumAt < 0) return isFromPeer;
    const hasNone = packet.bytes[checksumAt] === 0 && packet.bytes[checksumAt + 1] === 0;
    return (hasNone && !packet.isTcp) || transportChecksum(packet) === 0;
  }

  onMessageSent(): void {
    // Only bare messages are sent: they have no ids.
  }

  onMessageLost(): void {
    // As `onMessageSent`.
  }

  onCovered(): void {
    // As `onMessageSent`: coverage is this code's, below.
  }

  flush(): void {
    if (this.inject.length === 0) return;
    this.context.tell({ kind: "inject", packets: this.inject });
    this.inject = [];
  }

  handleTimeout(nowMicros: number): void {
    this.drainRepairs(nowMicros);
    this.noteCovered();
    this.flush();
    const { ingress, egress, peer } = this;
    if (ingress === null || egress === null || nowMicros < this.nextReportMicros) return;
    this.nextReportMicros = nowMicros + REPORT_MICROS;
    this.send(ingress.writeReport(this.message));
    const idle = peer.channel.statistics.roundTripMicros / 4;
    egress.idleMicros = Math.min(MOST_IDLE_MICROS, Math.max(LEAST_IDLE_MICROS, idle));
    peer.counters.latePackets = ingress.statistics.latePackets;
  }

  /** Repairs have left when the association has sent all the messages that were given before. */
  private noteCovered(): void {
    const { egress, peer } = this;
    if (egress === null || peer.channel.isBlocked) return;
    const sent = peer.channel.statistics.messagesSent - this.sentBefore;
    if (this.mark !== null && sent >= this.mark.given) {
      for (const [level, end] of this.mark.ends.entries()) peer.flows.noteCovered(level, end);
      this.mark = null;
    }
    if (this.mark !== null) return;
    const ends = Array.from({ length: egress.levels + 1 }, (_, level) =>
      level === 0 ? egress.endId : egress.coveredEnd(level),
    );
    this.mark = { given: this.given, ends };
  }

  get nextTimeoutMicros(): number {
    return Math.min(this.nextReportMicros, this.egress?.nextTimeoutMicros() ?? Infinity);
  }
}
