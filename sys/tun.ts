/**
 * TUN devices (Documentation/networking/tuntap.rst): a network interface whose packets a process
 * reads and writes, one IP packet a call. Reading and writing never wait; `poll.ts` does.
 *
 * The device belongs to the network namespace in which it is opened (`netns.ts`) and goes away when
 * its last descriptor is closed, a killed process's too. It is down and has no addresses:
 * `iproute.ts` sets it up. Packets are read and written in place in native memory: nothing is
 * allocated for one.
 */
import { closeSync, constants, openSync } from "node:fs";
import { bytes, reserved, struct, u16, u8, viewOf } from "../lib/codec.ts";
import { ERRNO } from "../lib/errno.ts";
import { messageOf, SmfsError } from "../lib/errors.ts";
import { declare, type NativeMemory, SystemError } from "./libc.ts";
import { readInPlace, writeInPlace } from "./device.ts";

const DEVICE = "/dev/net/tun";

/** include/uapi/linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TUN = 0x0001;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_TUN_EXCL = 0x8000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;

/** include/uapi/linux/if.h: with the zero at the end. */
const IFNAMSIZ = 16;
const InterfaceRequest = struct("ifreq", {
  name: bytes(IFNAMSIZ, "zero-terminated"),
  flags: u16("IFF_"),
  padding: reserved(22),
});

/**
 * struct virtio_net_hdr (include/uapi/linux/virtio_net.h), in front of every packet of a device
 * that was opened with `offload`: what the kernel left undone, or need not do again.
 */
export const VirtioHeader = struct("virtio_net_hdr", {
  flags: u8("1 NEEDS_CSUM: the checksum is to be filled in; 2 DATA_VALID"),
  segmentation: u8("0 none, 1 TCP over IPv4, 4 TCP over IPv6; 0x80 with ECN"),
  headerBytes: u16("IP and TCP headers of a packet to be cut"),
  segmentBytes: u16("payload of each segment"),
  checksumStart: u16("where the checksummed bytes begin"),
  checksumOffset: u16("where the checksum is, from there"),
});

/**
 * `none`: whole packets with their checksums. `checksum`: packets of at most the MTU behind a
 * `VirtioHeader`, whose transport checksum may be left undone. `segmentation`: TCP packets of up to
 * 64 KB too, for the reader to cut.
 */
type TunOffload = "none" | "checksum" | "segmentation";

export interface TunOptions {
  /** At most 15 characters; a `%d` in it becomes the first free number. */
  readonly name: string;
  readonly offload: TunOffload;
  /** `only`: a new device. Opens of one name as `one-of-several` share its flows. */
  readonly queue: "only" | "one-of-several";
}

const ioctl = declare("ioctl", "int ioctl(int fd, unsigned long request, ...)");

export class TunDevice {
  readonly fd: number;
  readonly name: string;
  /** What stands in front of each packet. */
  readonly headerBytes: number;

  /** Use `openTun`. */
  constructor(fd: number, name: string, headerBytes: number) {
    this.fd = fd;
    this.name = name;
    this.headerBytes = headerBytes;
  }

  /**
   * One packet, its `VirtioHeader` first where there is one, into `memory` from `offset`; its length,
   * or 0 when none waits. A longer one is cut to `room`. Throws `SystemError` when the device is gone.
   */
  read(memory: NativeMemory, offset: number, room: number): number {
    return readInPlace(this.fd, memory, offset, room);
  }

  /** Gives a packet to the kernel: 0, or the errno with which it was refused (EIO: it is down). */
  write(memory: NativeMemory, offset: number, length: number): number {
    return writeInPlace(this.fd, memory, offset, length);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/**
 * Throws `SmfsError` UNSUPPORTED without the device file or on another system, NOT_PERMITTED,
 * BUSY when the name is taken, USAGE for a name that is none.
 */
export function openTun(options: TunOptions): TunDevice {
  const request = encodeRequest(options);
  const fd = openDevice();
  try {
    ioctl(fd, TUNSETIFF, "void *", request);
    if (options.offload !== "none") setOffload(fd, options.offload);
  } catch (error) {
    closeSync(fd);
    throw explained(error, options.name);
  }
  const name = nameOf(InterfaceRequest.decode(viewOf(request), 0).name);
  return new TunDevice(fd, name, options.offload === "none" ? 0 : VirtioHeader.size);
}

function encodeRequest({ name, offload, queue }: TunOptions): Uint8Array {
  if (!/^[\w%.:-]{1,15}$/.test(name)) {
    throw new SmfsError(
      "USAGE",
      `'${name}' is no name for an interface: 1 to 15 letters or digits`,
    );
  }
  const several = queue === "one-of-several" ? IFF_MULTI_QUEUE : 0;
  const exclusive = queue === "only" ? IFF_TUN_EXCL : 0;
  const header = offload === "none" ? 0 : IFF_VNET_HDR;
  const padded = new Uint8Array(IFNAMSIZ);
  new TextEncoder().encodeInto(name, padded);
  const request = new Uint8Array(InterfaceRequest.size);
  const flags = IFF_TUN | IFF_NO_PI | several | exclusive | header;
  InterfaceRequest.encode(viewOf(request), 0, { name: padded, flags });
  return request;
}

function openDevice(): number {
  try {
    return openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    if (/EACCES|EPERM/.test(messageOf(error))) {
      throw new SmfsError("NOT_PERMITTED", `${DEVICE} may not be opened by this user`, error);
    }
    const remedy = "load the module (modprobe tun), or give the container the device";
    throw new SmfsError("UNSUPPORTED", `no ${DEVICE} here: ${remedy}`, error);
  }
}

function setOffload(fd: number, offload: "checksum" | "segmentation"): void {
  const size = new Uint8Array(4);
  viewOf(size).setInt32(0, VirtioHeader.size, true);
  ioctl(fd, TUNSETVNETHDRSZ, "void *", size);
  const segmentation = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  const flags = TUN_F_CSUM | (offload === "segmentation" ? segmentation : 0);
  ioctl(fd, TUNSETOFFLOAD, "unsigned long", flags);
}

function explained(error: unknown, name: string): unknown {
  if (!(error instanceof SystemError)) return error;
  switch (error.errno) {
    case ERRNO.EPERM:
      return new SmfsError(
        "NOT_PERMITTED",
        `opening the TUN device ${name} needs root, or CAP_NET_ADMIN in this network namespace`,
        error,
      );
    case ERRNO.EBUSY:
      return new SmfsError("BUSY", `the TUN device ${name} is in use`, error);
    case ERRNO.EINVAL:
      return new SmfsError("BUSY", `${name} is another interface, or was opened otherwise`, error);
    default:
      return error;
  }
}

function nameOf(padded: Uint8Array): string {
  return new TextDecoder().decode(padded.subarray(0, padded.indexOf(0)));
}
