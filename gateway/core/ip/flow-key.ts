/**
 * The two ends of a TCP connection, seen from this site: 36 bytes that identify a flow, the same
 * for what leaves and what comes. IPv4 addresses are mapped into IPv6 (RFC 4291 §2.5.5.2).
 */
import type { IpPacket } from "./ip.ts";
import { writeU16 } from "./network-order.ts";

export const FLOW_KEY_BYTES = 36;
const LOCAL_AT = 0;
const REMOTE_AT = 16;
const LOCAL_PORT_AT = 32;
const REMOTE_PORT_AT = 34;
const ADDRESS_BYTES = 16;

/** Which way a packet goes: out of our site, or into it. */
export type Direction = "out" | "in";

/** Writes the key of a TCP packet into `key`. */
export function writeFlowKey(packet: IpPacket, direction: Direction, key: Uint8Array): void {
  const isOut = direction === "out";
  const { sourceAt, destinationAt, sourcePort, destinationPort } = packet;
  writeAddress(packet, isOut ? sourceAt : destinationAt, key, LOCAL_AT);
  writeAddress(packet, isOut ? destinationAt : sourceAt, key, REMOTE_AT);
  writeU16(key, LOCAL_PORT_AT, isOut ? sourcePort : destinationPort);
  writeU16(key, REMOTE_PORT_AT, isOut ? destinationPort : sourcePort);
}

function writeAddress(packet: IpPacket, from: number, key: Uint8Array, at: number): void {
  const { bytes, addressBytes } = packet;
  const start = at + ADDRESS_BYTES - addressBytes;
  if (addressBytes === 4) {
    key.fill(0, at, start - 2);
    key.fill(0xff, start - 2, start);
  }
  for (let i = 0; i < addressBytes; i++) key[start + i] = bytes[from + i] ?? 0;
}

/** FNV-1a over the key, 32 bits. The table's buckets bound what collisions cost. */
export function hashFlowKey(key: Uint8Array, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < FLOW_KEY_BYTES; i++) hash = Math.imul(hash ^ (key[i] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** One end as people write it, with the port: "10.1.0.2:7000", "[fd00::2]:7000". */
export function formatEnd(key: Uint8Array, end: "local" | "remote"): string {
  const at = end === "local" ? LOCAL_AT : REMOTE_AT;
  const portAt = end === "local" ? LOCAL_PORT_AT : REMOTE_PORT_AT;
  const port = ((key[portAt] ?? 0) << 8) | (key[portAt + 1] ?? 0);
  const address = key.subarray(at, at + ADDRESS_BYTES);
  const isMapped = address[10] === 0xff && address[11] === 0xff && isZero(address.subarray(0, 10));
  return isMapped
    ? `${address.subarray(12).join(".")}:${port}`
    : `[${formatIpv6(address)}]:${port}`;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** RFC 5952: the longest run of two or more zero groups is "::", the first when there are several. */
export function formatIpv6(address: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0)).toString(16),
  );
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return groups.join(":");
  const before = groups.slice(0, start).join(":");
  return `${before}::${groups.slice(start + length).join(":")}`;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [i, group] of groups.entries()) {
    length = group === "0" ? length + 1 : 0;
    if (length > best.length) best = { start: i - length + 1, length };
  }
  return best;
}
