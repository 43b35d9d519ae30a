/** Socket options that Node does not offer on a datagram socket's descriptor (socket(7)). */
import { SystemError, declare } from "./libc.ts";

/** Values of include/uapi/asm-generic/socket.h. */
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
    setOption(fd, force, bytes);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
    setOption(fd, plain, bytes);
  }
  return getOption(fd, plain);
}

function setOption(fd: number, name: number, value: number): void {
  const encoded = Buffer.alloc(4);
  encoded.writeInt32LE(value);
  setsockopt(fd, SOL_SOCKET, name, encoded, encoded.length);
}

function getOption(fd: number, name: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  getsockopt(fd, SOL_SOCKET, name, value, length);
  return value.readInt32LE();
}
