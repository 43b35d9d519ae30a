/**
 * What sendmsg(2), recvmsg(2), their batches and readv(2) are given: the structures of 64-bit Linux
 * (include/linux/socket.h, include/uapi/linux/uio.h), in native memory. Pointers are below 2^53.
 */
import { reserved, struct, u32, u64 } from "../lib/codec.ts";

export const Iovec = struct("iovec", { base: u64("address"), length: u64("bytes") });

const MESSAGE = {
  name: u64("address of the peer's sockaddr, or 0"),
  nameBytes: u32("room for it; its length after receiving"),
  padding: reserved(4),
  parts: u64("address of the first iovec"),
  partCount: u64("iovecs"),
  control: u64("address of the control messages, or 0"),
  controlBytes: u64("room for them; their length after receiving"),
  flags: u32("MSG_ flags after receiving"),
  padding2: reserved(4),
};

export const MessageHeader = struct("msghdr", MESSAGE);

/** One of a batch, for recvmmsg(2) and sendmmsg(2). */
export const BatchHeader = struct("mmsghdr", {
  ...MESSAGE,
  length: u32("bytes received or sent"),
  padding3: reserved(4),
});
