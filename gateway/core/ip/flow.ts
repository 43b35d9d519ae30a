/**
 * One TCP connection in one direction: what our site sent, as byte offsets of the stream.
 *
 * Offsets count from the first byte after the SYN, or, of a connection that was there before we
 * were, from the first byte that we saw (`isFromStart`). They are plain numbers that do not wrap:
 * a sequence number is the one nearest to what passed last.
 *
 * Invariant: all bytes below `passedOffset` have passed us, or the peer has said that it has them
 * (by acknowledgement, or SACK, RFC 2018). Bytes behind a hole are kept as ranges, at most
 * MAX_RANGES: what has no room counts when it is sent again, or acknowledged.
 */
import type { IpPacket } from "./ip.ts";
import { TCP } from "./ip.ts";
import { readU32 } from "./network-order.ts";
import { MAX_LAYERS } from "../code/parameters.ts";

/** Levels of protection: the data has left (0), and repairs of 1 to MAX_LAYERS layers have. */
export const LEVELS = MAX_LAYERS + 1;
/** Holes in one flow at once; SACK itself names at most four. */
const MAX_RANGES = 8;
const SACK_OPTION = 5;
const NO_OPERATION = 1;
/** No window is larger (RFC 7323 §2.3), so nothing further away is of this connection now. */
const MAX_WINDOW_BYTES = 2 ** 30;

export type FlowEnd = "closed" | "reset" | "expired" | "evicted" | "replaced";

export class Flow {
  /** Counts the flows of this gateway: a slot's next flow has another number. */
  number = 0;
  isFromStart = false;
  lastSeenMicros = 0;
  /** Sequence number of offset 0. */
  private base = 0;
  passedOffset = 0;
  /** End of what passed furthest, holes or not. */
  highestOffset = 0;
  acknowledgedOffset = 0;
  /** By level: everything below is covered. */
  readonly covered = new Float64Array(LEVELS);
  private rangeCount = 0;
  private readonly starts = new Float64Array(MAX_RANGES);
  private readonly ends = new Float64Array(MAX_RANGES);
  /** Offset of our side's FIN, or −1. */
  private finOffset = -1;
  private isFinAcknowledged = false;
  private hasPeerFin = false;

  /** `base` is the sequence number of the first byte. */
  open(number: number, base: number, isFromStart: boolean): void {
    this.number = number;
    this.base = base;
    this.isFromStart = isFromStart;
    this.passedOffset = 0;
    this.highestOffset = 0;
    this.acknowledgedOffset = 0;
    this.covered.fill(0);
    this.rangeCount = 0;
    this.finOffset = -1;
    this.isFinAcknowledged = false;
    this.hasPeerFin = false;
  }

  /** Whether a SYN with this sequence number began this connection. */
  hasBegunAt(synSequence: number): boolean {
    return this.isFromStart && (synSequence + 1) >>> 0 === this.base;
  }

  /** Both sides have ended it, and ours is acknowledged. */
  get isFinished(): boolean {
    return this.isFinAcknowledged && this.hasPeerFin;
  }

  /** Of a sequence number near what passed last. */
  private offsetOf(sequence: number): number {
    const passedSequence = (this.base + (this.passedOffset % 2 ** 32)) >>> 0;
    return this.passedOffset + ((sequence - passedSequence) | 0);
  }

  /** Whether a segment with this sequence number can be of this connection now. */
  isNear(sequence: number): boolean {
    return Math.abs(this.offsetOf(sequence) - this.passedOffset) <= MAX_WINDOW_BYTES;
  }

  /** A segment of ours passed. */
  noteSegment(packet: IpPacket): void {
    const start = this.offsetOf(packet.sequence) + (packet.hasFlag("syn") ? 1 : 0);
    const end = start + packet.payloadBytes;
    // What has no payload may stand behind the FIN, which is no byte of the stream.
    if (packet.payloadBytes > 0) {
      this.add(start, end);
      this.highestOffset = Math.max(this.highestOffset, end);
    }
    if (packet.hasFlag("fin")) this.finOffset = end;
  }

  /** The peer's segment came: its acknowledgement, and its FIN. */
  noteAnswer(packet: IpPacket): void {
    if (packet.hasFlag("fin")) this.hasPeerFin = true;
    if (!packet.hasFlag("ack")) return;
    const acknowledged = this.offsetOf(packet.acknowledgment);
    // An acknowledgement of what never passed here is forged, or of another connection.
    if (acknowledged > this.highestOffset + (this.finOffset < 0 ? 0 : 1)) return;
    if (this.finOffset >= 0 && acknowledged > this.finOffset) this.isFinAcknowledged = true;
    const bytes = Math.min(acknowledged, this.highestOffset);
    if (bytes < 0) return;
    this.acknowledgedOffset = Math.max(this.acknowledgedOffset, bytes);
    if (bytes > this.passedOffset) this.add(this.passedOffset, bytes);
    this.noteSack(packet);
  }

  private noteSack({ bytes, transportAt, tcpHeaderBytes }: IpPacket): void {
    const end = transportAt + tcpHeaderBytes;
    let at = transportAt + TCP.leastHeaderBytes;
    while (at + 1 < end) {
      const kind = bytes[at] ?? 0;
      const length = kind === NO_OPERATION ? 1 : (bytes[at + 1] ?? 0);
      if (kind === 0 || length === 0 || at + length > end) return;
      if (kind === SACK_OPTION) this.addSackBlocks(bytes, at + 2, at + length);
      at += length;
    }
  }

  private addSackBlocks(bytes: Uint8Array, from: number, end: number): void {
    for (let at = from; at + 8 <= end; at += 8) {
      const start = this.offsetOf(readU32(bytes, at));
      const stop = this.offsetOf(readU32(bytes, at + 4));
      if (start >= 0 && start < stop && stop <= this.highestOffset) this.add(start, stop);
    }
  }

  /** Bytes from `start` to `end` passed. */
  private add(start: number, end: number): void {
    if (end <= this.passedOffset) return;
    if (start > this.passedOffset) {
      this.keep(start, end);
      return;
    }
    this.passedOffset = end;
    this.takeReached();
  }

  /** Takes out ranges that the passed bytes have reached, until none is. */
  private takeReached(): void {
    for (let i = 0; i < this.rangeCount; ) {
      if ((this.starts[i] ?? 0) > this.passedOffset) {
        i++;
        continue;
      }
      this.passedOffset = Math.max(this.passedOffset, this.ends[i] ?? 0);
      this.removeRange(i);
      i = 0;
    }
  }

  /** Merges with what it touches; dropped when there is no room. */
  private keep(start: number, end: number): void {
    let from = start;
    let to = end;
    for (let i = this.rangeCount - 1; i >= 0; i--) {
      if ((this.starts[i] ?? 0) > to || (this.ends[i] ?? 0) < from) continue;
      from = Math.min(from, this.starts[i] ?? 0);
      to = Math.max(to, this.ends[i] ?? 0);
      this.removeRange(i);
    }
    if (this.rangeCount === MAX_RANGES) return;
    this.starts[this.rangeCount] = from;
    this.ends[this.rangeCount] = to;
    this.rangeCount++;
  }

  private removeRange(i: number): void {
    this.rangeCount--;
    this.starts[i] = this.starts[this.rangeCount] ?? 0;
    this.ends[i] = this.ends[this.rangeCount] ?? 0;
  }
}
