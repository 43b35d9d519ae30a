/**
 * Packet sockets (packet(7)): everything that passes one interface, coming and going. Read with
 * `Receiver`, whose `source` is then a `LinkAddress`; `PacketDirection` tells the directions apart.
 *
 * - `cooked` packets begin with their IP header, `raw` ones with the link's.
 * - What this machine sends may be seen before the kernel has cut it and summed it: up to 64 KB
 *   where the interface cuts (ethtool(8): tso and gso off on it).
 */
import { closeSync } from "node:fs";
import { SmfsError } from "../lib/errors.ts";
import { viewOf } from "../lib/codec.ts";
import { declareRaw } from "./libc.ts";
import { AF_PACKET, bigEndian, LinkAddress } from "./sockaddr.ts";
import {
  bindSocket,
  openSocket,
  setReceiveBuffer,
  SOCK_DGRAM,
  SOCK_RAW,
  socketFailure,
} from "./socket.ts";

/** include/uapi/linux/if_ether.h: the only protocol of which a socket sees what leaves, too. */
const ETH_P_ALL = 0x0003;

const PACKET_TYPE_AT = LinkAddress.offsetOf("packetType");

export interface PacketSocketOptions {
  readonly interfaceName: string;
  readonly link: "cooked" | "raw";
  readonly bufferBytes?: number;
}

/** PACKET_ values, in their order. */
const DIRECTIONS = ["to-us", "broadcast", "multicast", "to-others", "outgoing"] as const;
export type PacketDirection = (typeof DIRECTIONS)[number];

export class PacketSocket {
  readonly fd: number;
  readonly interfaceIndex: number;

  /** Throws `SmfsError` NOT_FOUND, NOT_PERMITTED (it needs CAP_NET_RAW), UNSUPPORTED. */
  constructor(options: PacketSocketOptions) {
    this.interfaceIndex = indexOf(options.interfaceName);
    const type = options.link === "raw" ? SOCK_RAW : SOCK_DGRAM;
    try {
      // Protocol 0 hears nothing: what other interfaces carry must not be in the queue before `bind`.
      this.fd = openSocket(AF_PACKET, type, 0, (fd) => {
        if (options.bufferBytes !== undefined) setReceiveBuffer(fd, options.bufferBytes);
        bindSocket(fd, nameOf(this.interfaceIndex));
      });
    } catch (error) {
      throw socketFailure(`no packet socket on ${options.interfaceName}`, error);
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Of a packet's `source`. */
export function directionOf(source: Uint8Array): PacketDirection {
  const direction = DIRECTIONS[source[PACKET_TYPE_AT] ?? -1];
  // PACKET_LOOPBACK and later are the kernel's own.
  return direction ?? "to-others";
}

function nameOf(interfaceIndex: number): Uint8Array {
  const name = new Uint8Array(LinkAddress.size);
  LinkAddress.encode(viewOf(name), 0, {
    family: AF_PACKET,
    protocol: bigEndian(ETH_P_ALL),
    interfaceIndex,
    hardwareType: 0,
    packetType: 0,
    addressBytes: 0,
    address: new Uint8Array(8),
  });
  return name;
}

const ifNameToIndex = declareRaw("if_nametoindex", "unsigned int if_nametoindex(const char *name)");

function indexOf(name: string): number {
  const index = ifNameToIndex(name);
  if (index !== 0) return index;
  throw new SmfsError("NOT_FOUND", `there is no interface ${name} in this network namespace`);
}
