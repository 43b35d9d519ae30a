/**
 * Puts rebuilt packets back on their way (SMFS §5: "through a raw socket to the intended
 * destination"), by the package `raw-socket`: it wraps sockets of protocol IPPROTO_RAW, whose users
 * write the IP header themselves (raw(7)), for IPv4 and for IPv6.
 *
 * The package is optional, because it has to be compiled: without it there is no transparent mode.
 * It works on the main thread's event loop only, so the data plane sends its packets over.
 */
import { createRequire } from "node:module";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { formatIpv6 } from "../core/ip/flow-key.ts";
import { IPV4, IPV6 } from "../core/ip/ip.ts";

interface RawSocket {
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    callback: (error: Error | null, bytes: number) => void,
  ): void;
  on(event: "error", listener: (error: Error) => void): void;
  close(): void;
}

interface RawSocketModule {
  readonly AddressFamily: { readonly IPv4: number; readonly IPv6: number };
  createSocket(options: { readonly addressFamily: number; readonly protocol: number }): RawSocket;
}

/** IPPROTO_RAW (include/uapi/linux/in.h): implies IP_HDRINCL. */
const PROTOCOL_RAW = 255;
/** Packets in the module's queue at most; more at once are given up, and counted. */
const MAX_WAITING = 1024;

export class Injector {
  readonly statistics = { injected: 0, errors: 0, dropped: 0 };
  private readonly four: RawSocket;
  private readonly six: RawSocket;
  private waiting = 0;

  /** Throws `SmfsError` UNSUPPORTED without the package, NOT_PERMITTED without CAP_NET_RAW. */
  constructor() {
    const raw = loadModule();
    this.four = open(raw, raw.AddressFamily.IPv4);
    this.six = open(raw, raw.AddressFamily.IPv6);
    for (const socket of [this.four, this.six]) socket.on("error", () => this.statistics.errors++);
  }

  /** Sends a whole IP packet to the address in its header. */
  inject(packet: Uint8Array): void {
    if (this.waiting >= MAX_WAITING) {
      this.statistics.dropped++;
      return;
    }
    this.waiting++;
    const isFour = (packet[0] ?? 0) >> 4 === 4;
    const address = isFour
      ? packet.subarray(IPV4.destinationAt, IPV4.destinationAt + 4).join(".")
      : formatIpv6(packet.subarray(IPV6.destinationAt, IPV6.destinationAt + 16));
    const buffer = Buffer.from(packet.buffer, packet.byteOffset, packet.length);
    const socket = isFour ? this.four : this.six;
    socket.send(buffer, 0, buffer.length, address, (error) => {
      this.waiting--;
      if (error === null) this.statistics.injected++;
      else this.statistics.errors++;
    });
  }

  close(): void {
    this.four.close();
    this.six.close();
  }
}

function loadModule(): RawSocketModule {
  try {
    return createRequire(import.meta.url)("raw-socket") as RawSocketModule;
  } catch (error) {
    const remedy =
      'install it (npm install raw-socket; it needs a C++ compiler) or use mode = "tunnel"';
    const message = `transparent mode needs the package raw-socket: ${remedy}`;
    throw new SmfsError("UNSUPPORTED", message, error);
  }
}

function open(raw: RawSocketModule, addressFamily: number): RawSocket {
  try {
    return raw.createSocket({ addressFamily, protocol: PROTOCOL_RAW });
  } catch (error) {
    const message = `no raw socket, which needs root or CAP_NET_RAW: ${messageOf(error)}`;
    throw new SmfsError("NOT_PERMITTED", message, error);
  }
}
