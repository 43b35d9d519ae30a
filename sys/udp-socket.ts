/**
 * UDP sockets for threads without an event loop: a descriptor for `Receiver`, `Sender` and
 * `PollSet`. Opened in the network namespace that the thread is in (`netns.ts`).
 */
import { closeSync } from "node:fs";
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeSockaddr,
  type InternetEndpoint,
} from "./sockaddr.ts";
import {
  bindSocket,
  boundAddress,
  connectSocket,
  forbidFragments,
  openSocket,
  setReceiveBuffer,
  setSendBuffer,
  setSocketOption,
  SOCK_DGRAM,
  socketFailure,
} from "./socket.ts";

/** include/uapi/linux/udp.h */
const SOL_UDP = 17;
const UDP_GRO = 104;

export interface UdpOptions {
  /** Port 0 for any. */
  readonly local: InternetEndpoint;
  /** Only its datagrams are heard, and `Sender.push` needs no address. */
  readonly peer?: InternetEndpoint;
  /** Both buffers, past the system's limits where the process may. */
  readonly bufferBytes?: number;
  /** As `forbidFragments`; `may`: the system cuts what is too long. */
  readonly fragment?: "may" | "never" | "probe";
  /** `together`: neighbours of one length come as one message; needs a coalescing `Receiver`. */
  readonly arrive?: "one-by-one" | "together";
}

export class UdpSocket {
  readonly fd: number;

  /** Throws `SmfsError` IO or NOT_PERMITTED with the addresses in it, UNSUPPORTED. */
  constructor(options: UdpOptions) {
    const { local, peer } = options;
    const name = encodeSockaddr(local);
    const peerName = peer === undefined ? null : encodeSockaddr(peer);
    const family = local.host.includes(":") ? AF_INET6 : AF_INET;
    try {
      this.fd = openSocket(family, SOCK_DGRAM, 0, (fd) => {
        setOptions(fd, family, options);
        bindSocket(fd, name);
        if (peerName !== null) connectSocket(fd, peerName);
      });
    } catch (error) {
      const to = peer === undefined ? "" : ` and to ${peer.host}:${peer.port}`;
      throw socketFailure(`no UDP socket at ${local.host}:${local.port}${to}`, error);
    }
  }

  get address(): InternetEndpoint {
    return decodeSockaddr(boundAddress(this.fd));
  }

  close(): void {
    closeSync(this.fd);
  }
}

function setOptions(fd: number, family: number, options: UdpOptions): void {
  if (options.bufferBytes !== undefined) {
    setReceiveBuffer(fd, options.bufferBytes);
    setSendBuffer(fd, options.bufferBytes);
  }
  if (options.fragment !== undefined && options.fragment !== "may") {
    forbidFragments(fd, family === AF_INET ? 4 : 6, options.fragment);
  }
  if (options.arrive === "together") setSocketOption(fd, SOL_UDP, UDP_GRO, 1);
}
