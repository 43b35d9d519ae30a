/**
 * Socket addresses as the kernel wants them: sockaddr_in, sockaddr_in6 and sockaddr_ll
 * (include/uapi/linux/in.h, in6.h, if_packet.h). Ports and protocols are big-endian.
 */
import { isIPv4, isIPv6 } from "node:net";
import { bytes, i32, reserved, struct, u16, u8, viewOf } from "../lib/codec.ts";
import { SmfsError } from "../lib/errors.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_PACKET = 17;

const InternetAddress = struct("sockaddr_in", {
  family: u16("AF_INET"),
  port: bytes(2, "big-endian"),
  address: bytes(4, "in the order of the wire"),
  padding: reserved(8),
});

const Internet6Address = struct("sockaddr_in6", {
  family: u16("AF_INET6"),
  port: bytes(2, "big-endian"),
  flow: reserved(4),
  address: bytes(16, "in the order of the wire"),
  scope: i32("interface index, for link-local addresses"),
});

/** What a packet socket is bound to, and says of each packet it gives. */
export const LinkAddress = struct("sockaddr_ll", {
  family: u16("AF_PACKET"),
  protocol: bytes(2, "Ethernet protocol, big-endian"),
  interfaceIndex: i32("if_nametoindex(3)"),
  hardwareType: u16("ARPHRD_"),
  packetType: u8("PACKET_: to whom it was, or that it leaves"),
  addressBytes: u8("of `address`"),
  address: bytes(8, "hardware address"),
});

/** sizeof(struct sockaddr_in6), the largest of the three. */
export const MAX_SOCKADDR_BYTES = Internet6Address.size;

export interface InternetEndpoint {
  /** An address, not a name. */
  readonly host: string;
  readonly port: number;
}

/** Throws `SmfsError` USAGE for what is no address. */
export function encodeSockaddr({ host, port }: InternetEndpoint): Uint8Array {
  const common = { port: bigEndian(port) };
  if (isIPv4(host)) {
    const out = new Uint8Array(InternetAddress.size);
    const address = Uint8Array.from(host.split("."), Number);
    InternetAddress.encode(viewOf(out), 0, { ...common, family: AF_INET, address });
    return out;
  }
  if (!isIPv6(host)) throw new SmfsError("USAGE", `'${host}' is not an IP address`);
  const out = new Uint8Array(Internet6Address.size);
  const address = parseIPv6(host);
  Internet6Address.encode(viewOf(out), 0, { ...common, family: AF_INET6, address, scope: 0 });
  return out;
}

/** `sockaddr` is AF_INET or AF_INET6. */
export function decodeSockaddr(sockaddr: Uint8Array): InternetEndpoint {
  const view = viewOf(sockaddr);
  const port = view.getUint16(Internet6Address.offsetOf("port"));
  if (view.getUint16(0, true) === AF_INET) {
    const at = InternetAddress.offsetOf("address");
    return { host: sockaddr.subarray(at, at + 4).join("."), port };
  }
  const at = Internet6Address.offsetOf("address");
  return { host: formatIPv6(viewOf(sockaddr.subarray(at, at + 16))), port };
}

export function bigEndian(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

/** The shortest form (RFC 5952), as the URL parser writes it. */
function formatIPv6(view: DataView): string {
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

/** 16 bytes of an address that `isIPv6` takes; the URL parser writes dotted tails as groups. */
function parseIPv6(text: string): Uint8Array {
  const plain = new URL(`http://[${text.replace(/%.*/, "")}]/`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const groupsOf = (part: string | undefined): string[] => (part ? part.split(":") : []);
  const [front, back] = [groupsOf(head), groupsOf(tail)];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => "0");
  const groups = [...front, ...zeros, ...back].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >>> 8, group & 0xff]));
}
