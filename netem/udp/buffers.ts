/**
 * Socket buffers for a relay that must not add losses of its own: while the event loop is away for
 * some milliseconds, what arrives waits in the kernel.
 */
import type { Socket } from "node:dgram";
import { messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { setReceiveBuffer, setSendBuffer } from "../../sys/socket.ts";

/** 1 Gbit/s for 140 ms (the kernel counts 2.3 KB for a packet of 1,400 B): a busy machine's pause. */
const BUFFER_BYTES = 32 * 1024 * 1024;
/** Below this a pause of the event loop loses packets at the rates of the presets. */
const ENOUGH_BYTES = 1024 * 1024;

/** Widens both buffers as far as this process may; warns when that is not far. */
export function widenBuffers(socket: Socket, logger: Logger): void {
  const fd = descriptorOf(socket);
  try {
    if (fd === null) throw new Error("this Node does not tell a socket's descriptor");
    setReceiveBuffer(fd, BUFFER_BYTES);
    setSendBuffer(fd, BUFFER_BYTES);
  } catch (error) {
    logger.debug({ reason: messageOf(error) }, "socket buffers by Node, up to the system's limit");
    widenByNode(socket);
  }
  const receiveBytes = socket.getRecvBufferSize();
  if (receiveBytes < ENOUGH_BYTES) {
    logger.warn(
      { receiveBytes, wantedBytes: BUFFER_BYTES },
      "small socket buffer: the relay may lose packets that it does not count (raise net.core.rmem_max)",
    );
  }
}

function widenByNode(socket: Socket): void {
  // The largest power of two that the system takes: some refuse instead of giving less.
  for (let bytes = BUFFER_BYTES; bytes >= 64 * 1024; bytes /= 2) {
    try {
      socket.setRecvBufferSize(bytes);
      socket.setSendBufferSize(bytes);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_SOCKET_BUFFER_SIZE") throw error;
    }
  }
}

/** The descriptor, from the socket's inner state: Node has no other door to it, and warns at `_handle`. */
function descriptorOf(socket: Socket): number | null {
  const key = Object.getOwnPropertySymbols(socket).find(
    (symbol) => symbol.description === "state symbol",
  );
  const state = key === undefined ? null : (Reflect.get(socket, key) as State | null);
  const fd = state?.handle?.fd;
  return typeof fd === "number" && fd >= 0 ? fd : null;
}

interface State {
  readonly handle?: { readonly fd?: unknown } | null;
}
