/**
 * What a network interface does for the kernel (ethtool(8), include/uapi/linux/ethtool.h): cutting,
 * joining and summing packets. Set by ioctl, so that no program of that name is needed.
 */
import { closeSync } from "node:fs";
import { bytes, reserved, struct, u32, u64, viewOf } from "../lib/codec.ts";
import { declare, nativeMemory, SystemError } from "./libc.ts";
import { openSocket, SOCK_DGRAM } from "./socket.ts";
import { AF_INET } from "./sockaddr.ts";

/** include/uapi/linux/sockios.h */
const SIOCETHTOOL = 0x8946;

/** Commands that read and that set a flag; LRO is one bit of several. */
const COMMANDS = {
  txChecksum: { get: 0x16, set: 0x17 },
  tso: { get: 0x1e, set: 0x1f },
  gso: { get: 0x23, set: 0x24 },
  gro: { get: 0x2b, set: 0x2c },
  lro: { get: 0x25, set: 0x26 },
} as const;
export type Offload = keyof typeof COMMANDS;
const LRO_FLAG = 0x8000;

const NAME_BYTES = 16;
const InterfaceRequest = struct("ifreq with a pointer", {
  name: bytes(NAME_BYTES, "zero-terminated"),
  data: u64("address of what the command wants"),
  padding: reserved(16),
});
const Value = struct("ethtool_value", {
  command: u32("ETHTOOL_"),
  data: u32("flags or a boolean"),
});

const ioctl = declare("ioctl", "int ioctl(int fd, unsigned long request, ...)");

/** How each stands; those that the interface does not have are left out. Throws `SystemError`. */
export function readOffloads(name: string, offloads: readonly Offload[]): Map<Offload, boolean> {
  const found = new Map<Offload, boolean>();
  for (const offload of offloads) {
    const value = tryCommand(name, COMMANDS[offload].get, 0);
    if (value === null) continue;
    found.set(offload, offload === "lro" ? (value & LRO_FLAG) !== 0 : value !== 0);
  }
  return found;
}

/** Those that the interface cannot change stay as they are. Throws `SystemError`. */
export function setOffloads(name: string, wanted: ReadonlyMap<Offload, boolean>): void {
  for (const [offload, isOn] of wanted) {
    if (offload === "lro") setLro(name, isOn);
    else tryCommand(name, COMMANDS[offload].set, isOn ? 1 : 0);
  }
}

function setLro(name: string, isOn: boolean): void {
  const flags = tryCommand(name, COMMANDS.lro.get, 0);
  if (flags === null || ((flags & LRO_FLAG) !== 0) === isOn) return;
  tryCommand(name, COMMANDS.lro.set, isOn ? flags | LRO_FLAG : flags & ~LRO_FLAG);
}

/** What the command left in its value; null when the interface does not know it. */
function tryCommand(name: string, command: number, data: number): number | null {
  const value = nativeMemory(Value.size);
  Value.encode(viewOf(value.bytes), 0, { command, data });
  const request = new Uint8Array(InterfaceRequest.size);
  const padded = new Uint8Array(NAME_BYTES);
  new TextEncoder().encodeInto(name, padded.subarray(0, NAME_BYTES - 1));
  InterfaceRequest.encode(viewOf(request), 0, { name: padded, data: value.address });
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0, () => {});
  try {
    ioctl(fd, SIOCETHTOOL, "void *", request);
    return Value.decode(viewOf(value.bytes), 0).data;
  } catch (error) {
    const isUnknown = error instanceof SystemError && UNKNOWN.has(error.code);
    if (isUnknown) return null;
    throw error;
  } finally {
    closeSync(fd);
  }
}

const UNKNOWN: ReadonlySet<string> = new Set(["EOPNOTSUPP", "EINVAL"]);
