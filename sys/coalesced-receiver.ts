/**
 * Receiving what the kernel has put together (udp(7), UDP_GRO): neighbours of one length and one
 * sender come as one message of up to 64 KB, with the length of each in a control message. It costs
 * little more than one datagram. For sockets opened with `arrive: "together"`; same calls, same
 * order as `Receiver`. Not for a socket that Node reads: Node would take a message for a datagram.
 */
import { i32, struct, u32, u64, viewOf } from "../lib/codec.ts";
import { type NativeMemory, nativeMemory } from "./libc.ts";
import { MessageRow } from "./message-row.ts";

/** Longest UDP payload over IPv4, and so the longest message; rounded up. */
const MESSAGE_BYTES = 65_536;
/** UDP_MAX_SEGMENTS of include/linux/udp.h: more are never put together. */
const MAX_SEGMENTS = 128;

const SOL_UDP = 17;
const UDP_GRO = 104;
const SegmentControl = struct("cmsghdr with a length", {
  bytes: u64("CMSG_LEN: header and value"),
  level: u32("SOL_UDP"),
  type: u32("UDP_GRO"),
  segmentBytes: i32("length of every datagram but the last"),
  padding: u32("to a multiple of 8"),
});
const LEVEL_AT = SegmentControl.offsetOf("level");
const TYPE_AT = SegmentControl.offsetOf("type");
const SEGMENT_AT = SegmentControl.offsetOf("segmentBytes");

export class CoalescedReceiver {
  /** Messages that the kernel gave, since the start: system calls' worth of datagrams. */
  messages = 0;
  private readonly row: MessageRow;
  private readonly control: NativeMemory;
  private readonly controlView: DataView;
  /** By datagram: its message, where it begins in `row.data`, how long it is. */
  private readonly messageOf: Uint16Array;
  private readonly starts: Uint32Array;
  private readonly lengths: Uint32Array;
  private count = 0;

  /** `messages` is how many are taken a call. */
  constructor(messages: number) {
    this.row = new MessageRow(messages, MESSAGE_BYTES);
    this.control = nativeMemory(messages * SegmentControl.size);
    this.controlView = viewOf(this.control.bytes);
    this.messageOf = new Uint16Array(messages * MAX_SEGMENTS);
    this.starts = new Uint32Array(messages * MAX_SEGMENTS);
    this.lengths = new Uint32Array(messages * MAX_SEGMENTS);
    for (let i = 0; i < messages; i++) {
      const address = this.control.address + i * SegmentControl.size;
      this.row.setControl(i, address, SegmentControl.size);
    }
  }

  /** How many datagrams were taken; 0 when none waits, or the socket reports an error. */
  receive(fd: number): number {
    // A message of one datagram brings no control message: the last one's must not count again.
    this.control.bytes.fill(0);
    const messages = this.row.receive(fd);
    this.messages += messages;
    this.count = 0;
    for (let i = 0; i < messages; i++) this.split(i);
    return this.count;
  }

  /** The datagram at `i`, valid until the next `receive`. */
  datagram(i: number): Uint8Array {
    const start = this.starts[i] as number;
    return this.row.data.subarray(start, start + (this.lengths[i] as number));
  }

  /** Its source as the kernel's sockaddr, valid until the next `receive`. */
  source(i: number): Uint8Array {
    return this.row.name(this.messageOf[i] as number);
  }

  private split(message: number): void {
    const total = this.row.length(message);
    const segmentBytes = this.segmentBytes(message) || total;
    const most = this.count + MAX_SEGMENTS;
    let start = 0;
    do {
      this.messageOf[this.count] = message;
      this.starts[this.count] = message * MESSAGE_BYTES + start;
      this.lengths[this.count] = Math.min(segmentBytes, total - start);
      this.count++;
      start += segmentBytes;
    } while (start < total && this.count < most);
  }

  private segmentBytes(message: number): number {
    const at = message * SegmentControl.size;
    const { controlView: view } = this;
    const isSegments =
      view.getUint32(at + LEVEL_AT, true) === SOL_UDP &&
      view.getUint32(at + TYPE_AT, true) === UDP_GRO;
    return isSegments ? view.getInt32(at + SEGMENT_AT, true) : 0;
  }
}
