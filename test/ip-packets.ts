/** Builds IP packets for tests, with right lengths and checksums. */
import { isIPv4 } from "node:net";
import { setHeaderChecksum, transportChecksum } from "../gateway/core/ip/ip-checksum.ts";
import { IpPacket, IPV4, IPV6, PROTOCOL, TCP, UDP } from "../gateway/core/ip/ip.ts";
import { writeU16, writeU32 } from "../gateway/core/ip/network-order.ts";
import { parsePrefix } from "../gateway/core/ip/prefixes.ts";

export interface Ends {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

export interface Segment extends Ends {
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** TCP_FLAG bits. */
  readonly flags?: number;
  /** TCP options; a multiple of 4 bytes. */
  readonly options?: Uint8Array;
  readonly payload?: Uint8Array;
}

const NONE = new Uint8Array(0);

/** A whole packet around a transport. `mayFragment` leaves DF clear. */
export function ipPacket(
  ends: Ends,
  protocol: number,
  transport: Uint8Array,
  { mayFragment = false, id = 1 }: { mayFragment?: boolean; id?: number } = {},
): Uint8Array {
  const isFour = isIPv4(ends.source);
  const header = isFour ? IPV4.leastHeaderBytes : IPV6.headerBytes;
  const packet = new Uint8Array(header + transport.length);
  packet.set(transport, header);
  const [source, destination] = [addressOf(ends.source), addressOf(ends.destination)];
  if (isFour) {
    packet[0] = 0x45;
    writeU16(packet, IPV4.lengthAt, packet.length);
    writeU16(packet, IPV4.idAt, id);
    writeU16(packet, IPV4.fragmentAt, mayFragment ? 0 : 0x4000);
    packet[IPV4.ttlAt] = 64;
    packet[IPV4.protocolAt] = protocol;
    packet.set(source, IPV4.sourceAt);
    packet.set(destination, IPV4.destinationAt);
    setHeaderChecksum(packet, header);
  } else {
    packet[0] = 0x60;
    writeU16(packet, IPV6.payloadBytesAt, transport.length);
    packet[IPV6.nextHeaderAt] = protocol;
    packet[IPV6.hopLimitAt] = 64;
    packet.set(source, IPV6.sourceAt);
    packet.set(destination, IPV6.destinationAt);
  }
  return packet;
}

function addressOf(text: string): Uint8Array {
  return parsePrefix(text).address;
}

export function tcpPacket(segment: Segment): Uint8Array {
  const { options = NONE, payload = NONE } = segment;
  const headerBytes = TCP.leastHeaderBytes + options.length;
  const transport = new Uint8Array(headerBytes + payload.length);
  writePorts(transport, segment);
  writeU32(transport, TCP.sequenceAt, segment.sequence ?? 0);
  writeU32(transport, TCP.acknowledgmentAt, segment.acknowledgment ?? 0);
  transport[TCP.dataOffsetAt] = (headerBytes / 4) << 4;
  transport[TCP.flagsAt] = segment.flags ?? 16;
  transport.set(options, TCP.leastHeaderBytes);
  transport.set(payload, headerBytes);
  return summed(ipPacket(segment, PROTOCOL.tcp, transport), TCP.checksumAt);
}

export function udpPacket(ends: Ends, payload: Uint8Array, id = 1): Uint8Array {
  const transport = new Uint8Array(UDP.headerBytes + payload.length);
  writePorts(transport, ends);
  writeU16(transport, 4, transport.length);
  transport.set(payload, UDP.headerBytes);
  return summed(ipPacket(ends, PROTOCOL.udp, transport, { id }), UDP.checksumAt);
}

function writePorts(transport: Uint8Array, { sourcePort, destinationPort }: Ends): void {
  writeU16(transport, 0, sourcePort ?? 40_000);
  writeU16(transport, 2, destinationPort ?? 7000);
}

function summed(bytes: Uint8Array, checksumAt: number): Uint8Array {
  const packet = parsed(bytes);
  writeU16(bytes, packet.transportAt + checksumAt, transportChecksum(packet));
  return bytes;
}

/** Throws for what is no IP packet. */
export function parsed(bytes: Uint8Array): IpPacket {
  const packet = new IpPacket();
  if (!packet.parse(bytes)) throw new Error("not an IP packet");
  return packet;
}
