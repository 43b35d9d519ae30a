/**
 * TCP packets larger than the path takes, as the kernel hands them over to be cut (TSO), and the
 * opposite. One system call then moves many packets, and the kernel's stack sees few.
 *
 * Cutting is what a network card does: each segment gets the headers with its own length,
 * sequence number and IP id; FIN and PSH stand in the last, CWR in the first (RFC 3168 §6.1.2).
 * Checksums are left undone: who writes the packets to a device lets the kernel fill them in.
 */
import { setHeaderChecksum, undoneChecksum } from "./ip-checksum.ts";
import { type IpPacket, IPV4, IPV6, TCP } from "./ip.ts";
import { readU16, writeU16, writeU32 } from "./network-order.ts";

const FIN_AND_PSH = 0x09;
const CWR = 0x80;

/** How many segments of at most `segmentBytes` payload a TCP packet is cut into. */
export function segmentCount(packet: IpPacket, segmentBytes: number): number {
  return Math.max(1, Math.ceil(packet.payloadBytes / segmentBytes));
}

/** Writes segment `index` of a TCP packet into `out` from `at`; its length. */
export function writeSegment(
  packet: IpPacket,
  segmentBytes: number,
  index: number,
  out: Uint8Array,
  at: number,
): number {
  const { bytes, transportAt, payloadBytes } = packet;
  const headers = transportAt + packet.tcpHeaderBytes;
  const from = index * segmentBytes;
  const payload = Math.min(segmentBytes, payloadBytes - from);
  for (let i = 0; i < headers; i++) out[at + i] = bytes[i] ?? 0;
  out.set(bytes.subarray(headers + from, headers + from + payload), at + headers);
  const length = headers + payload;
  const tcp = at + transportAt;
  writeU32(out, tcp + TCP.sequenceAt, packet.sequence + from);
  const isLast = from + payload === payloadBytes;
  const cleared = (isLast ? 0 : FIN_AND_PSH) | (index === 0 ? 0 : CWR);
  out[tcp + TCP.flagsAt] = packet.flags & ~cleared;
  writeU16(out, tcp + TCP.checksumAt, undoneChecksum(packet, length - transportAt));
  if (packet.version === 6) writeU16(out, at + IPV6.payloadBytesAt, length - IPV6.headerBytes);
  else {
    writeU16(out, at + IPV4.lengthAt, length);
    writeU16(out, at + IPV4.idAt, (readU16(bytes, IPV4.idAt) + index) & 0xffff);
    setHeaderChecksum(out, packet.headerBytes, at);
  }
  return length;
}

/** A packet of this length is the most that an IP header can say. */
export const MAX_IP_BYTES = 65_535;

/**
 * Puts packets together that follow one another in one connection, for the kernel to take in at once
 * (what Linux calls GRO). Steps: `start` with a packet, `append` while it gives true, `finish`.
 *
 * Only packets that could have been cut from one are joined: same addresses, ports, options,
 * acknowledgement; no flags but ACK and a PSH at the end; each but the last of the first's length.
 */
export class Joiner {
  /** The joined packet, in memory of the user's. */
  private readonly out: Uint8Array;
  private readonly offset: number;
  private headerBytes = 0;
  private transportAt = 0;
  private version: 4 | 6 = 4;
  private nextSequence = 0;
  private isClosed = true;
  /** So far; 0 while there is none. */
  length = 0;
  /** Payload of every packet in it but the last. */
  segmentBytes = 0;
  count = 0;

  /** Joined packets are built in `out` from `offset`, with room for MAX_IP_BYTES. */
  constructor(out: Uint8Array, offset: number) {
    this.out = out;
    this.offset = offset;
  }

  /** Where the checksummed bytes begin in the joined packet. */
  get checksumStart(): number {
    return this.transportAt;
  }

  get headersBytes(): number {
    return this.headerBytes;
  }

  get isIpv6(): boolean {
    return this.version === 6;
  }

  /** Takes a copy of a packet; there is none yet. */
  start(packet: IpPacket): void {
    this.out.set(packet.bytes.subarray(0, packet.length), this.offset);
    this.length = packet.length;
    this.count = 1;
    this.transportAt = packet.transportAt;
    this.version = packet.version;
    this.headerBytes = packet.transportAt + packet.tcpHeaderBytes;
    this.segmentBytes = packet.payloadBytes;
    this.nextSequence = (packet.sequence + packet.payloadBytes) >>> 0;
    this.isClosed = !isJoinable(packet);
  }

  /** Takes a copy of a packet that follows; false when it does not. */
  append(packet: IpPacket): boolean {
    if (this.isClosed || !this.fits(packet)) return false;
    const { bytes, payloadBytes } = packet;
    const from = packet.length - payloadBytes;
    this.out.set(bytes.subarray(from, packet.length), this.offset + this.length);
    this.length += payloadBytes;
    this.count++;
    this.nextSequence = (this.nextSequence + payloadBytes) >>> 0;
    this.isClosed = payloadBytes < this.segmentBytes || !isJoinable(packet);
    if ((packet.flags & PSH) !== 0) this.setFlag(PSH);
    return true;
  }

  private fits(packet: IpPacket): boolean {
    return (
      packet.isTcp &&
      packet.payloadBytes > 0 &&
      packet.payloadBytes <= this.segmentBytes &&
      this.length + packet.payloadBytes <= MAX_IP_BYTES &&
      packet.version === this.version &&
      packet.sequence === this.nextSequence &&
      (packet.flags & ~PSH) === ACK &&
      packet.transportAt + packet.tcpHeaderBytes === this.headerBytes &&
      this.hasSameHeaders(packet)
    );
  }

  /** All that must be equal: not lengths, ids, checksums, sequence, flags. */
  private hasSameHeaders({ bytes }: IpPacket): boolean {
    const { out, offset, transportAt } = this;
    const isFour = this.version === 4;
    // The hop limit, too: TTL and protocol for IPv4, DSCP and ECN with the version.
    if (readU16(bytes, 0) !== readU16(out, offset)) return false;
    const from = isFour ? IPV4.fragmentAt : IPV6.nextHeaderAt;
    const until = isFour ? IPV4.checksumAt : transportAt;
    if (!this.isSame(bytes, from, until)) return false;
    if (isFour && !this.isSame(bytes, IPV4.sourceAt, transportAt)) return false;
    const tcp = transportAt;
    return (
      this.isSame(bytes, tcp, tcp + TCP.sequenceAt) &&
      this.isSame(bytes, tcp + TCP.acknowledgmentAt, tcp + TCP.flagsAt) &&
      this.isSame(bytes, tcp + TCP.flagsAt + 1, tcp + TCP.checksumAt) &&
      this.isSame(bytes, tcp + TCP.leastHeaderBytes, this.headerBytes)
    );
  }

  private isSame(bytes: Uint8Array, from: number, until: number): boolean {
    for (let i = from; i < until; i++) if (bytes[i] !== this.out[this.offset + i]) return false;
    return true;
  }

  private setFlag(flag: number): void {
    const at = this.offset + this.transportAt + TCP.flagsAt;
    this.out[at] = (this.out[at] ?? 0) | flag;
  }

  /** Writes lengths, the header's checksum and the undone one of TCP. Empty again afterwards. */
  finish(packet: IpPacket): void {
    const { out, offset, length, transportAt } = this;
    const written = out.subarray(offset, offset + length);
    if (this.version === 4) {
      writeU16(written, IPV4.lengthAt, length);
      setHeaderChecksum(written, transportAt);
    } else {
      writeU16(written, IPV6.payloadBytesAt, length - IPV6.headerBytes);
    }
    packet.parse(written);
    const undone = undoneChecksum(packet, length - transportAt);
    writeU16(written, transportAt + TCP.checksumAt, undone);
    this.length = 0;
    this.count = 0;
    this.isClosed = true;
  }
}

const ACK = 0x10;
const PSH = 0x08;

/** Nothing may follow a packet with other flags; and one without payload is nothing to join. */
function isJoinable(packet: IpPacket): boolean {
  return packet.isTcp && packet.payloadBytes > 0 && packet.flags === ACK && !packet.isFragment;
}
