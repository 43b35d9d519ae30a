/**
 * The Internet checksum (RFC 1071): of headers, of transports with their pseudo-header, and its
 * change when one word changes (RFC 1624).
 */
import { type IpPacket, IPV4, PROTOCOL, TCP, UDP } from "./ip.ts";
import { readU16, writeU16 } from "./network-order.ts";

/** One's-complement sum of 16-bit words, not folded; `length` below 64 KiB keeps it in 32 bits. */
function sumWords(bytes: Uint8Array, at: number, length: number): number {
  const end = at + (length & ~1);
  let sum = 0;
  for (let i = at; i < end; i += 2) sum += readU16(bytes, i);
  return (length & 1) === 0 ? sum : sum + ((bytes[end] ?? 0) << 8);
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/** Of what stands there, the checksum field included: 0 when that is right. */
export function checksum(bytes: Uint8Array, at: number, length: number): number {
  return ~fold(sumWords(bytes, at, length)) & 0xffff;
}

/** Writes the header checksum of an IPv4 packet that stands at `at`. */
export function setHeaderChecksum(bytes: Uint8Array, headerBytes: number, at: number = 0): void {
  writeU16(bytes, at + IPV4.checksumAt, 0);
  writeU16(bytes, at + IPV4.checksumAt, checksum(bytes, at, headerBytes));
}

/** Of the transport with its pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1): 0 when it is right. */
export function transportChecksum(packet: IpPacket): number {
  const { bytes, transportAt } = packet;
  const length = packet.length - transportAt;
  return ~fold(pseudoHeaderSum(packet, length) + sumWords(bytes, transportAt, length)) & 0xffff;
}

/** Of a transport of `length` bytes, not folded. */
function pseudoHeaderSum(packet: IpPacket, length: number): number {
  const { bytes, sourceAt, destinationAt, addressBytes, protocol } = packet;
  const source = sumWords(bytes, sourceAt, addressBytes);
  return source + sumWords(bytes, destinationAt, addressBytes) + protocol + length;
}

/**
 * What stands in the checksum field of a transport of `length` bytes while the checksum is left for
 * somebody else to fill in: the pseudo-header's sum (virtio 1.2 §5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM).
 */
export function undoneChecksum(packet: IpPacket, length: number): number {
  return fold(pseudoHeaderSum(packet, length));
}

/** Where the transport's checksum stands; −1 when it has none that we know. */
export function transportChecksumAt(packet: IpPacket): number {
  const { transportAt, protocol } = packet;
  if (transportAt < 0 || packet.isFragment) return -1;
  if (packet.isTcp) return transportAt + TCP.checksumAt;
  return protocol === PROTOCOL.udp ? transportAt + UDP.checksumAt : -1;
}

/**
 * A word of the checksummed bytes changed from `before` to `after` (RFC 1624, equation 3). `isOdd`:
 * it stands at an odd distance from where the sum begins, so that its bytes belong to two words.
 */
export function updateChecksum(
  bytes: Uint8Array,
  checksumAt: number,
  before: number,
  after: number,
  isOdd: boolean,
): void {
  const old = isOdd ? swapBytes(before) : before;
  const now = isOdd ? swapBytes(after) : after;
  const sum = (~readU16(bytes, checksumAt) & 0xffff) + (~old & 0xffff) + now;
  writeU16(bytes, checksumAt, ~fold(sum) & 0xffff);
}

function swapBytes(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}

/** Finishes an undone checksum: what belongs into the field of `packet`, where its sum stands now. */
export function sumTransport({ bytes, transportAt, length }: IpPacket): number {
  const sum = checksum(bytes, transportAt, length - transportAt);
  // RFC 768: a UDP checksum of zero says that there is none; both are zero in one's complement.
  return sum === 0 ? 0xffff : sum;
}
