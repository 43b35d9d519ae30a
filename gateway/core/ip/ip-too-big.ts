/**
 * "Packet too big" towards a sender (RFC 792 and RFC 1191 §4, RFC 4443 §3.2): what does not fit the
 * tunnel is refused so that its sender learns the size, instead of being cut.
 */
import { checksum, setHeaderChecksum, transportChecksum } from "./ip-checksum.ts";
import { IpPacket, IPV4, IPV6, PROTOCOL } from "./ip.ts";
import { writeU16, writeU32 } from "./network-order.ts";

const ICMP_HEADER_BYTES = 8;
const UNREACHABLE = 3;
const FRAGMENTATION_NEEDED = 4;
const PACKET_TOO_BIG = 2;
/** As much of the packet as the answer may quote: RFC 1812 §4.3.2.3 and RFC 4443 §3.2. */
export const MAX_ANSWER_BYTES = { 4: 576, 6: 1280 } as const;
const HOP_LIMIT = 64;
/** Types of ICMPv4 that are themselves errors (RFC 1122 §3.2.2); of ICMPv6 all below 128. */
const ICMP_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const FIRST_ICMP6_INFORMATION = 128;

const answer = new IpPacket();

/**
 * Writes the answer to `packet` into `out`, from `source` (an address of the packet's family) or,
 * when that is null, from the packet's destination; its length, or 0 when none may be sent.
 */
export function writeTooBig(
  packet: IpPacket,
  mtu: number,
  source: Uint8Array | null,
  out: Uint8Array,
): number {
  if (!mayBeAnswered(packet)) return 0;
  const headerBytes = packet.version === 4 ? IPV4.leastHeaderBytes : IPV6.headerBytes;
  const room = MAX_ANSWER_BYTES[packet.version] - headerBytes - ICMP_HEADER_BYTES;
  const quoted = packet.bytes.subarray(0, Math.min(room, packet.length));
  const length = headerBytes + ICMP_HEADER_BYTES + quoted.length;
  const written = out.subarray(0, length);
  written.fill(0, 0, headerBytes + ICMP_HEADER_BYTES);
  written.set(quoted, headerBytes + ICMP_HEADER_BYTES);
  if (packet.version === 4) writeIpv4(packet, mtu, source, written);
  else writeIpv6(packet, mtu, source, written);
  return length;
}

function writeIpv4(packet: IpPacket, mtu: number, source: Uint8Array | null, out: Uint8Array) {
  out[0] = 0x45;
  writeU16(out, IPV4.lengthAt, out.length);
  out[IPV4.ttlAt] = HOP_LIMIT;
  out[IPV4.protocolAt] = PROTOCOL.icmp;
  writeAddresses(packet, source, out, IPV4.sourceAt, IPV4.destinationAt);
  setHeaderChecksum(out, IPV4.leastHeaderBytes);
  const at = IPV4.leastHeaderBytes;
  out[at] = UNREACHABLE;
  out[at + 1] = FRAGMENTATION_NEEDED;
  writeU16(out, at + 6, mtu);
  writeU16(out, at + 2, checksum(out, at, out.length - at));
}

function writeIpv6(packet: IpPacket, mtu: number, source: Uint8Array | null, out: Uint8Array) {
  out[0] = 0x60;
  writeU16(out, IPV6.payloadBytesAt, out.length - IPV6.headerBytes);
  out[IPV6.nextHeaderAt] = PROTOCOL.icmp6;
  out[IPV6.hopLimitAt] = HOP_LIMIT;
  writeAddresses(packet, source, out, IPV6.sourceAt, IPV6.destinationAt);
  const at = IPV6.headerBytes;
  out[at] = PACKET_TOO_BIG;
  writeU32(out, at + 4, mtu);
  answer.parse(out);
  writeU16(out, at + 2, transportChecksum(answer));
}

function writeAddresses(
  { bytes, sourceAt, destinationAt, addressBytes }: IpPacket,
  source: Uint8Array | null,
  out: Uint8Array,
  toSourceAt: number,
  toDestinationAt: number,
): void {
  const from = source ?? bytes.subarray(destinationAt, destinationAt + addressBytes);
  out.set(from, toSourceAt);
  out.set(bytes.subarray(sourceAt, sourceAt + addressBytes), toDestinationAt);
}

/** Not to errors, later fragments, or what was not sent by and to one host (RFC 1122 §3.2.2). */
function mayBeAnswered(packet: IpPacket): boolean {
  if (packet.transportAt < 0 || isIcmpError(packet)) return false;
  return packet.version === 4 ? hasUnicastIpv4(packet) : hasUnicastIpv6(packet);
}

function isIcmpError({ bytes, protocol, transportAt }: IpPacket): boolean {
  const type = bytes[transportAt] ?? 0;
  if (protocol === PROTOCOL.icmp) return ICMP_ERRORS.has(type);
  return protocol === PROTOCOL.icmp6 && type < FIRST_ICMP6_INFORMATION;
}

/** The source is a host, the destination no multicast; this includes 0/8 and 127/8 as sources. */
function hasUnicastIpv4({ bytes, sourceAt, destinationAt }: IpPacket): boolean {
  const source = bytes[sourceAt] ?? 0;
  const destination = bytes[destinationAt] ?? 0;
  return source !== 0 && source !== 127 && source < 224 && destination < 224;
}

function hasUnicastIpv6({ bytes, sourceAt, destinationAt }: IpPacket): boolean {
  const isUnspecified = bytes.subarray(sourceAt, sourceAt + 16).every((byte) => byte === 0);
  return !isUnspecified && bytes[sourceAt] !== 0xff && bytes[destinationAt] !== 0xff;
}
