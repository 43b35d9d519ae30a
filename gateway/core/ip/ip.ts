/**
 * What the appliance needs to know of an IP packet (RFC 791, RFC 8200), found in one pass and kept
 * in one object that is filled anew for each packet: nothing is allocated.
 *
 * Invariants: `parse` takes any bytes and never throws. After it gave true, the packet is exactly
 * as long as its header says, `transportAt` lies inside it or is −1 (a later fragment, a protocol
 * cut short, too many extension headers), and ports and TCP fields are inside the packet when
 * `hasPorts` and `isTcp` say so.
 */
import { readU16, readU32 } from "./network-order.ts";

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;

/** RFC 791 §3.1 and RFC 8200 §3: where the fields stand. */
export const IPV4 = {
  leastHeaderBytes: 20,
  dscpAt: 1,
  lengthAt: 2,
  idAt: 4,
  fragmentAt: 6,
  ttlAt: 8,
  protocolAt: 9,
  checksumAt: 10,
  sourceAt: 12,
  destinationAt: 16,
} as const;
export const IPV6 = {
  headerBytes: 40,
  payloadBytesAt: 4,
  nextHeaderAt: 6,
  hopLimitAt: 7,
  sourceAt: 8,
  destinationAt: 24,
} as const;
/** RFC 9293 §3.1. */
export const TCP = {
  leastHeaderBytes: 20,
  sequenceAt: 4,
  acknowledgmentAt: 8,
  dataOffsetAt: 12,
  flagsAt: 13,
  checksumAt: 16,
} as const;
export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;
export const UDP = { headerBytes: 8, checksumAt: 6 } as const;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;

/** IPv6 extension headers that may stand before the transport (RFC 8200 §4). */
const EXTENSION = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  destination: 60,
  mobility: 135,
} as const;
const AUTHENTICATION = 51;
/** No sender of good will needs more; a chain of them must not cost time. */
const MAX_EXTENSIONS = 8;

export class IpPacket {
  /** What was given to `parse`: the packet stands at its beginning. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Of the packet. */
  length = 0;
  version: 4 | 6 = 4;
  /** Of the fixed header and its options; extension headers come after. */
  headerBytes = 0;
  /** Protocol behind the extension headers, or where the walk stopped. */
  protocol = 0;
  /** Where the transport's header begins; −1 when it is not in this packet. */
  transportAt = -1;
  sourceAt = 0;
  destinationAt = 0;
  addressBytes: 4 | 16 = 4;
  isFragment = false;
  /** IPv4 routers may cut it: DF is not set, and it is no IPv6. */
  mayBeFragmented = false;
  hasPorts = false;
  sourcePort = 0;
  destinationPort = 0;
  /** TCP with its whole header here. */
  isTcp = false;
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  tcpHeaderBytes = 0;
  /** TCP payload, bytes; 0 unless `isTcp`. */
  payloadBytes = 0;

  /** Whether the first `length` bytes are one whole IP packet. */
  parse(bytes: Uint8Array, length: number = bytes.length): boolean {
    this.bytes = bytes;
    this.length = length;
    this.transportAt = -1;
    this.isFragment = false;
    this.hasPorts = false;
    this.isTcp = false;
    this.flags = 0;
    this.payloadBytes = 0;
    if (length < IPV4.leastHeaderBytes) return false;
    const version = (bytes[0] ?? 0) >> 4;
    if (version === 4) return this.parseIpv4(bytes);
    return version === 6 && this.parseIpv6(bytes);
  }

  private parseIpv4(bytes: Uint8Array): boolean {
    const headerBytes = ((bytes[0] ?? 0) & 15) * 4;
    const length = readU16(bytes, IPV4.lengthAt);
    if (headerBytes < IPV4.leastHeaderBytes || length < headerBytes || length !== this.length) {
      return false;
    }
    this.setAddresses(4, headerBytes, IPV4.sourceAt, IPV4.destinationAt, 4);
    const fragment = readU16(bytes, IPV4.fragmentAt);
    this.protocol = bytes[IPV4.protocolAt] ?? 0;
    this.mayBeFragmented = (fragment & DONT_FRAGMENT) === 0;
    this.isFragment = (fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0;
    if ((fragment & FRAGMENT_OFFSET) === 0) this.parseTransport(headerBytes);
    return true;
  }

  private parseIpv6(bytes: Uint8Array): boolean {
    if (this.length < IPV6.headerBytes) return false;
    // Jumbograms (payload length 0, RFC 2675) are not taken: nothing here carries them.
    const length = IPV6.headerBytes + readU16(bytes, IPV6.payloadBytesAt);
    if (length !== this.length) return false;
    this.setAddresses(6, IPV6.headerBytes, IPV6.sourceAt, IPV6.destinationAt, 16);
    this.mayBeFragmented = false;
    const at = this.skipExtensions();
    if (at >= 0) this.parseTransport(at);
    return true;
  }

  private setAddresses(
    version: 4 | 6,
    headerBytes: number,
    sourceAt: number,
    destinationAt: number,
    addressBytes: 4 | 16,
  ): void {
    this.version = version;
    this.headerBytes = headerBytes;
    this.sourceAt = sourceAt;
    this.destinationAt = destinationAt;
    this.addressBytes = addressBytes;
  }

  /** Sets `protocol`; where its header begins, or −1 when it is not in this packet. */
  private skipExtensions(): number {
    const { bytes } = this;
    this.protocol = bytes[IPV6.nextHeaderAt] ?? 0;
    let at: number = IPV6.headerBytes;
    for (let count = 0; count < MAX_EXTENSIONS; count++) {
      const length = this.extensionBytes(at);
      if (length === 0) return at;
      if (at + length > this.length) return -1;
      if (this.protocol === EXTENSION.fragment) {
        this.isFragment = true;
        if (readU16(bytes, at + 2) >> 3 !== 0) return -1;
      }
      this.protocol = bytes[at] ?? 0;
      at += length;
    }
    return -1;
  }

  /** Of the extension header of type `protocol` at `at`; 0 when it is none. */
  private extensionBytes(at: number): number {
    const units = this.bytes[at + 1] ?? 0;
    switch (this.protocol) {
      case EXTENSION.hopByHop:
      case EXTENSION.routing:
      case EXTENSION.destination:
      case EXTENSION.mobility:
        return 8 * (units + 1);
      case EXTENSION.fragment:
        return 8;
      case AUTHENTICATION:
        return 4 * (units + 2);
      default:
        return 0;
    }
  }

  private parseTransport(at: number): void {
    const { protocol } = this;
    const available = this.length - at;
    this.transportAt = at;
    if (protocol === PROTOCOL.tcp) {
      if (available >= TCP.leastHeaderBytes) this.parseTcp(at);
      else this.transportAt = -1;
    } else if (protocol === PROTOCOL.udp) {
      if (available >= UDP.headerBytes) this.parsePorts(at);
      else this.transportAt = -1;
    }
  }

  private parsePorts(at: number): void {
    this.hasPorts = true;
    this.sourcePort = readU16(this.bytes, at);
    this.destinationPort = readU16(this.bytes, at + 2);
  }

  private parseTcp(at: number): void {
    const { bytes } = this;
    this.parsePorts(at);
    const headerBytes = ((bytes[at + TCP.dataOffsetAt] ?? 0) >> 4) * 4;
    if (headerBytes < TCP.leastHeaderBytes || at + headerBytes > this.length) return;
    this.isTcp = true;
    this.sequence = readU32(bytes, at + TCP.sequenceAt);
    this.acknowledgment = readU32(bytes, at + TCP.acknowledgmentAt);
    this.flags = bytes[at + TCP.flagsAt] ?? 0;
    this.tcpHeaderBytes = headerBytes;
    // What a first fragment carries is not all of the segment's payload, but it is in order.
    this.payloadBytes = this.length - at - headerBytes;
  }

  hasFlag(flag: keyof typeof TCP_FLAG): boolean {
    return (this.flags & TCP_FLAG[flag]) !== 0;
  }
}
