/** Sockets as descriptors, and options that Node does not offer on its own (socket(2), socket(7)). */
import { closeSync } from "node:fs";
import { ERRNO } from "../lib/errno.ts";
import { messageOf, SmfsError } from "../lib/errors.ts";
import { SystemError, declare } from "./libc.ts";
import { MAX_SOCKADDR_BYTES } from "./sockaddr.ts";

/** Values of include/uapi/asm-generic/socket.h and net.h. */
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

const setsockopt = declare(
  "setsockopt",
  "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
);
const getsockopt = declare(
  "getsockopt",
  "int getsockopt(int fd, int level, int name, void *value, void *length)",
);

const socket = declare("socket", "int socket(int family, int type, int protocol)");
const bind = declare("bind", "int bind(int fd, const void *name, uint32_t length)");
const connect = declare("connect", "int connect(int fd, const void *name, uint32_t length)");
const getsockname = declare("getsockname", "int getsockname(int fd, void *name, void *length)");

/** A socket that never waits; `set` gives it its addresses and options, and it is closed if that fails. */
export function openSocket(
  family: number,
  type: number,
  protocol: number,
  set: (fd: number) => void,
): number {
  const fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  try {
    set(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** `sockaddr` as `sockaddr.ts` encodes it. */
export function bindSocket(fd: number, sockaddr: Uint8Array): void {
  bind(fd, sockaddr, sockaddr.length);
}

export function connectSocket(fd: number, sockaddr: Uint8Array): void {
  connect(fd, sockaddr, sockaddr.length);
}

/** The sockaddr that it is bound to. */
export function boundAddress(fd: number): Uint8Array {
  const name = Buffer.alloc(MAX_SOCKADDR_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(name.length);
  getsockname(fd, name, length);
  return name.subarray(0, length.readUInt32LE());
}

/** `error` with what was tried, in the terms of whoever reads it. */
export function socketFailure(what: string, error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const forbidden = error.errno === ERRNO.EPERM || error.errno === ERRNO.EACCES;
  return new SmfsError(forbidden ? "NOT_PERMITTED" : "IO", `${what}: ${messageOf(error)}`, error);
}

/**
 * Asks for a receive buffer past net.core.rmem_max where the process may (CAP_NET_ADMIN), up to
 * that limit otherwise. Gives the bytes that the kernel set, which count its own overhead.
 */
export function setReceiveBuffer(fd: number, bytes: number): number {
  return setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

/** As `setReceiveBuffer`, for what waits to be sent (net.core.wmem_max). */
export function setSendBuffer(fd: number, bytes: number): number {
  return setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes);
}

function setBuffer(fd: number, force: number, plain: number, bytes: number): number {
  try {
    setSocketOption(fd, SOL_SOCKET, force, bytes);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
    setSocketOption(fd, SOL_SOCKET, plain, bytes);
  }
  return getOption(fd, plain);
}

/** An option that is an int. */
export function setSocketOption(fd: number, level: number, name: number, value: number): void {
  const encoded = Buffer.alloc(4);
  encoded.writeInt32LE(value);
  setsockopt(fd, level, name, encoded, encoded.length);
}

/** include/uapi/linux/in.h, in6.h */
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const PMTUDISC_DO = 2;
const PMTUDISC_PROBE = 3;

/**
 * Datagrams leave whole or not at all. `never`: one longer than what the system knows of the path is
 * refused (EMSGSIZE); `probe`: it is sent, whatever routes and ICMP say of the path, if the interface
 * takes it (RFC 8899).
 */
export function forbidFragments(fd: number, ip: 4 | 6, fragment: "never" | "probe"): void {
  const discovery = fragment === "probe" ? PMTUDISC_PROBE : PMTUDISC_DO;
  if (ip === 6) setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, discovery);
  // On a socket of IPv6 it is for peers with mapped IPv4 addresses.
  setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, discovery);
}

function getOption(fd: number, name: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  getsockopt(fd, SOL_SOCKET, name, value, length);
  return value.readInt32LE();
}
