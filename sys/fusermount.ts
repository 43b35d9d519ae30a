/**
 * Mounting FUSE without root: fusermount3, which is set-uid root, opens /dev/fuse, mounts, and
 * hands the descriptor back over a socket whose number it finds in _FUSE_COMMFD.
 *
 * 1. Make a socket pair; the child inherits one end as descriptor 3.
 * 2. Run it to its end: the message with the descriptor waits in our end.
 * 3. Take the message with recvmsg(2); the descriptor is its SCM_RIGHTS part (unix(7)).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { viewOf, struct, u32, i32, u64 } from "../lib/codec.ts";
import { SmfsError } from "../lib/errors.ts";
import { declare, nativeMemory } from "./libc.ts";
import { Iovec, MessageHeader } from "./message.ts";

const COMMAND = "fusermount3";
const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** The descriptor that the child inherits. */
const COMM_FD = 3;
const COMMAND_TIMEOUT_MILLIS = 10_000;
const MESSAGE_CHARACTERS = 1000;

/** include/linux/socket.h, struct cmsghdr on 64-bit systems, with one descriptor. */
const RightsMessage = struct("cmsghdr", {
  length: u64("bytes with this header"),
  level: i32("SOL_SOCKET"),
  type: i32("SCM_RIGHTS"),
  descriptor: i32("the number it has in this process"),
  padding: u32("to a multiple of 8"),
});
const RIGHTS_LENGTH = 20;

const socketpair = declare(
  "socketpair",
  "int socketpair(int domain, int type, int protocol, void *pair)",
);
const recvmsg = declare("recvmsg", "int64_t recvmsg(int fd, void *message, int flags)");

/** Mounts `mountpoint` with fusermount's options (comma-separated) and gives the descriptor. */
export async function fusermount(mountpoint: string, options: string): Promise<number> {
  const pair = Buffer.alloc(8);
  socketpair(AF_UNIX, SOCK_STREAM_CLOEXEC, 0, pair);
  const [ours, theirs] = [pair.readInt32LE(0), pair.readInt32LE(4)];
  try {
    await run(["-o", options, "--", mountpoint], theirs);
    return receiveDescriptor(ours);
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** Unmounts a mount of this user. `detach` as in umount(8) --lazy. */
export async function fuserunmount(mountpoint: string, how: "now" | "detach"): Promise<void> {
  await run(how === "detach" ? ["-u", "-z", "--", mountpoint] : ["-u", "--", mountpoint]);
}

async function run(args: string[], commFd?: number): Promise<void> {
  const child = spawn(COMMAND, args, {
    stdio: ["ignore", "ignore", "pipe", commFd ?? "ignore"],
    env: { ...process.env, _FUSE_COMMFD: String(COMM_FD) },
    timeout: COMMAND_TIMEOUT_MILLIS,
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-MESSAGE_CHARACTERS);
  });
  const [status] = (await once(child, "close").catch((error: unknown) => {
    const what = `${COMMAND} does not run; install the fuse3 package, or mount as root`;
    throw new SmfsError("UNSUPPORTED", what, error);
  })) as [number | null];
  if (status === 0) return;
  throw new SmfsError(/busy/i.test(said) ? "BUSY" : "NOT_PERMITTED", said.trim() || COMMAND);
}

function receiveDescriptor(socket: number): number {
  // One piece of memory, which the call itself holds: header, iovec, control message, payload.
  const vectorAt = MessageHeader.size;
  const controlAt = vectorAt + Iovec.size;
  const payloadAt = controlAt + RightsMessage.size;
  const { address, bytes } = nativeMemory(payloadAt + 1);
  const view = viewOf(bytes);
  Iovec.encode(view, vectorAt, { base: address + payloadAt, length: 1 });
  MessageHeader.encode(view, 0, {
    name: 0,
    nameBytes: 0,
    parts: address + vectorAt,
    partCount: 1,
    control: address + controlAt,
    controlBytes: RightsMessage.size,
    flags: 0,
  });
  recvmsg(socket, bytes, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const rights = RightsMessage.decode(view, controlAt);
  const expected = rights.level === SOL_SOCKET && rights.type === SCM_RIGHTS;
  if (rights.length !== RIGHTS_LENGTH || !expected) {
    throw new SmfsError("UNSUPPORTED", `${COMMAND} handed over no descriptor`);
  }
  return rights.descriptor;
}
