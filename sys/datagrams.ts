/**
 * Many datagrams a system call: recvmmsg(2) and sendmmsg(2) on a descriptor, whether Node watches it
 * (`datagram-socket.ts`) or a thread without an event loop (`udp-socket.ts`). Datagrams stand in
 * memory of our own that the kernel reads and writes directly. Neither call waits.
 */
import { reserved, struct, u16, u32, u64, viewOf } from "../lib/codec.ts";
import { declareRaw, lastErrno, type NativeMemory, nativeMemory } from "./libc.ts";
import { BatchHeader, Iovec } from "./message.ts";
import { MessageRow } from "./message-row.ts";
import { ERRNO } from "../lib/errno.ts";

/** include/linux/socket.h */
const MSG_DONTWAIT = 0x40;

const PART_LENGTH_AT = Iovec.offsetOf("length");

const sendmmsg = declareRaw(
  "sendmmsg",
  "int sendmmsg(int fd, uintptr_t messages, unsigned int count, int flags)",
);

/** Takes waiting datagrams off a socket. */
export class Receiver {
  private readonly row: MessageRow;

  /** Longer datagrams are cut to `slotBytes`: make it one more than the longest that is legal. */
  constructor(count: number, slotBytes: number) {
    this.row = new MessageRow(count, slotBytes);
  }

  /** How many were taken; 0 when none waits, or the socket reports an error (Node will see it too). */
  receive(fd: number): number {
    return this.row.receive(fd);
  }

  /** The datagram at `i`, valid until the next `receive`. */
  datagram(i: number): Uint8Array {
    const at = i * this.row.slotBytes;
    return this.row.data.subarray(at, at + this.row.length(i));
  }

  /** Its source as the kernel's sockaddr, valid until the next `receive`. */
  source(i: number): Uint8Array {
    return this.row.name(i);
  }
}

const SEGMENT = { level: 17, type: 103 } as const; // SOL_UDP, UDP_SEGMENT (include/uapi/linux/udp.h)
const Control = struct("cmsghdr with a segment size", {
  bytes: u64("CMSG_LEN: header and value"),
  level: u32("SOL_UDP"),
  type: u32("UDP_SEGMENT"),
  segmentBytes: u16("length of every datagram but the last"),
  padding: reserved(6),
});
const CONTROL_LENGTH = 18;
/** A message is lost whole where a queue drops it before it is cut: more would be a long burst. */
const MAX_SEGMENTS = 16;

/**
 * Collects datagrams for one peer and gives them to the kernel together. Neighbours of one length,
 * and a shorter one behind them, go as one message that the kernel cuts (udp(7), UDP_SEGMENT): it
 * costs little more than one datagram. Where the kernel or the device cannot, each goes alone.
 */
export class Sender {
  private readonly row: MessageRow;
  private readonly control: NativeMemory;
  private readonly controlView: DataView;
  /** By message: the datagram behind its last. */
  private readonly ends: Uint32Array;
  private nameBytes = 0;
  private filled = 0;
  private canSegment: boolean;
  /** Datagrams below go alone: their message was refused, and one of them shows why. */
  private aloneEnd = 0;
  /** Length of the shortest that the last `flush` could not send for its length; 0 for none. */
  tooLongBytes = 0;

  /** `never` cuts nothing: for packet sockets, and to see how a kernel does that cannot. */
  constructor(count: number, slotBytes: number, segments: "if-possible" | "never" = "if-possible") {
    this.canSegment = segments === "if-possible";
    this.row = new MessageRow(count, slotBytes);
    this.control = nativeMemory(count * Control.size);
    this.controlView = viewOf(this.control.bytes);
    this.ends = new Uint32Array(count);
  }

  get isFull(): boolean {
    return this.filled === this.row.count;
  }

  get waiting(): number {
    return this.filled;
  }

  /**
   * Copies; `to` is a sockaddr, or null on a connected socket, and the same for all datagrams
   * between two flushes. Not when full.
   */
  push(datagram: Uint8Array, to: Uint8Array | null): void {
    const { row, filled } = this;
    row.data.set(datagram, filled * row.slotBytes);
    row.parts.setUint32(filled * Iovec.size + PART_LENGTH_AT, datagram.length, true);
    if (filled === 0) {
      this.nameBytes = to === null ? 0 : to.length;
      if (to !== null) row.names.bytes.set(to);
    }
    this.filled++;
  }

  /**
   * Sends what was pushed, in order. `refused` gets what the kernel has no room for now. Gives how
   * many the kernel said no to (nobody listens there): those are given up.
   */
  flush(fd: number, refused: (datagram: Uint8Array) => void): number {
    let errors = 0;
    let from = 0;
    this.aloneEnd = 0;
    this.tooLongBytes = 0;
    while (from < this.filled) {
      const sent = sendmmsg(fd, this.row.headers.address, this.arrange(from), MSG_DONTWAIT);
      const firstEnd = this.ends[0] as number;
      const errno = sent > 0 ? 0 : lastErrno();
      if (sent > 0) {
        // Alone it passes: it is the cutting that fails.
        if (from < this.aloneEnd) this.canSegment = false;
        from = this.ends[sent - 1] as number;
      } else if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS) break;
      else if (firstEnd - from > 1 && CANNOT_SEGMENT.has(errno)) this.aloneEnd = from + 1;
      else {
        if (errno === ERRNO.EMSGSIZE) this.noteTooLong(this.lengthOf(from));
        errors += firstEnd - from;
        from = firstEnd;
      }
    }
    for (; from < this.filled; from++) {
      const at = from * this.row.slotBytes;
      refused(this.row.data.subarray(at, at + this.lengthOf(from)));
    }
    this.filled = 0;
    return errors;
  }

  private noteTooLong(bytes: number): void {
    this.tooLongBytes = this.tooLongBytes === 0 ? bytes : Math.min(this.tooLongBytes, bytes);
  }

  private lengthOf(i: number): number {
    return this.row.parts.getUint32(i * Iovec.size + PART_LENGTH_AT, true);
  }

  /** Writes the headers of all messages from datagram `from` on; how many. */
  private arrange(from: number): number {
    let messages = 0;
    for (let start = from; start < this.filled; messages++) {
      const isCut = this.canSegment && start >= this.aloneEnd;
      const end = isCut ? this.runEnd(start) : start + 1;
      this.writeMessage(messages, start, end);
      this.ends[messages] = end;
      start = end;
    }
    return messages;
  }

  private runEnd(start: number): number {
    const length = this.lengthOf(start);
    const most = Math.min(this.filled, start + MAX_SEGMENTS);
    let end = start + 1;
    while (end < most && this.lengthOf(end - 1) === length && this.lengthOf(end) <= length) end++;
    return end;
  }

  private writeMessage(message: number, start: number, end: number): void {
    const { row } = this;
    const isCut = end - start > 1;
    BatchHeader.encode(row.view, message * BatchHeader.size, {
      name: this.nameBytes === 0 ? 0 : row.names.address,
      nameBytes: this.nameBytes,
      parts: row.partMemory.address + start * Iovec.size,
      partCount: end - start,
      control: isCut ? this.control.address + message * Control.size : 0,
      controlBytes: isCut ? Control.size : 0,
      flags: 0,
      length: 0,
    });
    if (!isCut) return;
    const segmentBytes = this.lengthOf(start);
    const control = { ...SEGMENT, bytes: CONTROL_LENGTH, segmentBytes };
    Control.encode(this.controlView, message * Control.size, control);
  }
}

/** What kernels and devices that cannot cut messages answer, and to parts longer than the MTU. */
const CANNOT_SEGMENT: ReadonlySet<number> = new Set([ERRNO.EINVAL, ERRNO.EIO, ERRNO.EMSGSIZE]);
