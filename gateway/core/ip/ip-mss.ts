/**
 * MSS clamping: a SYN that passes is told the longest segment that the tunnel carries whole, so that
 * TCP never sends a packet that would have to be cut (RFC 9293 §3.7.1, RFC 6691).
 */
import { updateChecksum } from "./ip-checksum.ts";
import { type IpPacket, IPV4, IPV6, TCP } from "./ip.ts";
import { readU16, writeU16 } from "./network-order.ts";

const OPTION = { end: 0, nothing: 1, mss: 2 } as const;
const MSS_OPTION_BYTES = 4;

/** The longest segment in packets of `packetBytes`; options are the sender's to subtract (RFC 6691). */
export function mssOf(version: 4 | 6, packetBytes: number): number {
  const header = version === 4 ? IPV4.leastHeaderBytes : IPV6.headerBytes;
  return packetBytes - header - TCP.leastHeaderBytes;
}

/**
 * Lowers the MSS option of a SYN in place, and its checksum with it unless that is `undone` (left
 * for the kernel to fill in). True when it did.
 */
export function clampMss(
  packet: IpPacket,
  packetBytes: number,
  checksum: "complete" | "undone" = "complete",
): boolean {
  if (!packet.isTcp || !packet.hasFlag("syn") || packet.isFragment) return false;
  const { bytes, transportAt } = packet;
  const at = findMss(packet);
  const most = mssOf(packet.version, packetBytes);
  if (at < 0 || readU16(bytes, at) <= most) return false;
  const before = readU16(bytes, at);
  writeU16(bytes, at, most);
  if (checksum === "undone") return true;
  const isOdd = ((at - transportAt) & 1) === 1;
  updateChecksum(bytes, transportAt + TCP.checksumAt, before, most, isOdd);
  return true;
}

/** Where the value of the MSS option stands; −1 when there is none. */
function findMss({ bytes, transportAt, tcpHeaderBytes }: IpPacket): number {
  const end = transportAt + tcpHeaderBytes;
  let at = transportAt + TCP.leastHeaderBytes;
  while (at < end) {
    const kind = bytes[at] ?? 0;
    if (kind === OPTION.end) return -1;
    if (kind === OPTION.nothing) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > end) return -1;
    if (kind === OPTION.mss) return length === MSS_OPTION_BYTES ? at + 2 : -1;
    at += length;
  }
  return -1;
}
