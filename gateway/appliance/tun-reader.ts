/**
 * Reads packets from the TUN device and hands them out one by one, none larger than asked: TCP
 * packets that the kernel left to be cut are cut here.
 */
import { nativeMemory } from "../../sys/libc.ts";
import { TunDevice, VirtioHeader } from "../../sys/tun.ts";
import { IpPacket } from "../core/ip/ip.ts";
import { MAX_IP_BYTES, segmentCount, writeSegment } from "../core/ip/segments.ts";
import type { GatewayCounters } from "./statistics.ts";

const NEEDS_CHECKSUM = 1;
const SEGMENTATION_AT = VirtioHeader.offsetOf("segmentation");
const SEGMENT_BYTES_AT = VirtioHeader.offsetOf("segmentBytes");

export class TunReader {
  /** The packet that was read last, whole. */
  readonly packet = new IpPacket();
  checksum: "complete" | "undone" = "complete";
  /** Payload per packet that the kernel asks for; 0: it is not to be cut. */
  private kernelSegmentBytes = 0;
  private segmentBytes = 0;
  /** Segments of the packet, and the next. 0 when it goes whole. */
  private segments = 0;
  private next = 0;
  private readonly tun: TunDevice;
  private readonly counters: GatewayCounters;
  private readonly memory = nativeMemory(VirtioHeader.size + MAX_IP_BYTES);
  private readonly bytes: Uint8Array;

  constructor(tun: TunDevice, counters: GatewayCounters) {
    this.tun = tun;
    this.counters = counters;
    this.bytes = this.memory.bytes.subarray(tun.headerBytes);
  }

  /** Reads the next packet: `none` when none waits, `skip` when it is not IP. */
  read(): "packet" | "skip" | "none" {
    const { tun, memory, counters } = this;
    const length = tun.read(memory, 0, tun.headerBytes + MAX_IP_BYTES);
    if (length === 0) return "none";
    const packetBytes = length - tun.headerBytes;
    counters.packetsRead++;
    counters.bytesRead += packetBytes;
    if (packetBytes <= 0 || !this.packet.parse(this.bytes, packetBytes)) {
      counters.malformedPackets++;
      return "skip";
    }
    this.readHeader();
    return "packet";
  }

  private readHeader(): void {
    const { tun, memory } = this;
    this.kernelSegmentBytes = 0;
    this.checksum = "complete";
    if (tun.headerBytes === 0) return;
    const { bytes } = memory;
    if (((bytes[0] ?? 0) & NEEDS_CHECKSUM) !== 0) this.checksum = "undone";
    if ((bytes[SEGMENTATION_AT] ?? 0) === 0 || !this.packet.isTcp) return;
    this.kernelSegmentBytes =
      (bytes[SEGMENT_BYTES_AT] ?? 0) | ((bytes[SEGMENT_BYTES_AT + 1] ?? 0) << 8);
  }

  /** Makes the packet's parts at most `packetBytes` long. False when it cannot be made to fit. */
  fit(packetBytes: number): boolean {
    const { packet } = this;
    this.next = 0;
    this.segments = 0;
    const headers = packet.transportAt + packet.tcpHeaderBytes;
    if (this.kernelSegmentBytes === 0) return packet.length <= packetBytes;
    if (packetBytes <= headers) return false;
    this.segmentBytes = Math.min(this.kernelSegmentBytes, packetBytes - headers);
    this.segments = segmentCount(packet, this.segmentBytes);
    return true;
  }

  /** Whether parts of the packet are left. */
  get hasMore(): boolean {
    return this.next < Math.max(1, this.segments);
  }

  /** Writes the next part into `out` from `at`; its length. It stays the next until `advance`. */
  write(out: Uint8Array, at: number): number {
    const { packet } = this;
    if (this.segments > 0) return writeSegment(packet, this.segmentBytes, this.next, out, at);
    out.set(packet.bytes.subarray(0, packet.length), at);
    return packet.length;
  }

  advance(): void {
    this.next++;
    this.counters.packetsRead += this.segments > 0 && this.hasMore ? 1 : 0;
  }
}
