/**
 * Writes packets to the TUN device, joined where the kernel takes joined ones: TCP packets that
 * follow one another go as one of up to 64 KB, for one system call and one walk through its stack.
 *
 * Whatever is joined waits at most until `flush`, which ends each batch of arrivals.
 */
import { nativeMemory } from "../../sys/libc.ts";
import { TunDevice, VirtioHeader } from "../../sys/tun.ts";
import { viewOf } from "../../lib/codec.ts";
import { sumTransport, transportChecksumAt } from "../core/ip/ip-checksum.ts";
import { IpPacket, TCP } from "../core/ip/ip.ts";
import { writeU16 } from "../core/ip/network-order.ts";
import { Joiner, MAX_IP_BYTES } from "../core/ip/segments.ts";
import type { GatewayCounters } from "./statistics.ts";

/** VIRTIO_NET_HDR_F_NEEDS_CSUM and VIRTIO_NET_HDR_GSO_ (include/uapi/linux/virtio_net.h). */
const NEEDS_CHECKSUM = 1;
const SEGMENTATION = { none: 0, tcp4: 1, tcp6: 4 } as const;

export class TunWriter {
  private readonly tun: TunDevice;
  private readonly counters: GatewayCounters;
  private readonly memory = nativeMemory(VirtioHeader.size + MAX_IP_BYTES);
  private readonly view = viewOf(this.memory.bytes);
  private readonly joiner: Joiner;
  private readonly joined = new IpPacket();
  private readonly header = {
    flags: 0,
    segmentation: 0,
    headerBytes: 0,
    segmentBytes: 0,
    checksumStart: 0,
    checksumOffset: 0,
  };

  constructor(tun: TunDevice, counters: GatewayCounters) {
    this.tun = tun;
    this.counters = counters;
    this.joiner = new Joiner(this.memory.bytes, VirtioHeader.size);
  }

  /** Takes a copy of `packet`, or writes it. */
  write(packet: IpPacket, checksum: "complete" | "undone"): void {
    const { joiner } = this;
    const isJoinable = this.tun.headerBytes > 0 && checksum === "undone" && packet.isTcp;
    if (isJoinable && joiner.count > 0 && joiner.append(packet)) return;
    this.flush();
    if (isJoinable) joiner.start(packet);
    else this.writeAlone(packet, checksum);
  }

  /** Writes what was joined. */
  flush(): void {
    const { joiner, header } = this;
    const { count, length } = joiner;
    if (count === 0) return;
    const isCut = count > 1;
    header.flags = NEEDS_CHECKSUM;
    header.segmentation = isCut ? segmentationOf(joiner) : SEGMENTATION.none;
    header.headerBytes = joiner.headersBytes;
    header.segmentBytes = isCut ? joiner.segmentBytes : 0;
    header.checksumStart = joiner.checksumStart;
    header.checksumOffset = TCP.checksumAt;
    joiner.finish(this.joined);
    this.put(length, count);
  }

  private writeAlone(packet: IpPacket, checksum: "complete" | "undone"): void {
    const { header, memory } = this;
    memory.bytes.set(packet.bytes.subarray(0, packet.length), VirtioHeader.size);
    const checksumAt = checksum === "undone" ? transportChecksumAt(packet) : -1;
    header.flags = checksumAt < 0 ? 0 : NEEDS_CHECKSUM;
    header.segmentation = SEGMENTATION.none;
    header.headerBytes = 0;
    header.segmentBytes = 0;
    header.checksumStart = checksumAt < 0 ? 0 : packet.transportAt;
    header.checksumOffset = checksumAt < 0 ? 0 : checksumAt - packet.transportAt;
    if (checksumAt >= 0 && this.tun.headerBytes === 0) {
      const at = VirtioHeader.size;
      writeU16(memory.bytes, at + checksumAt, sumTransport(packet));
    }
    this.put(packet.length, 1);
  }

  /** Of our own, whole. */
  writeBytes(bytes: Uint8Array): void {
    this.flush();
    if (this.joined.parse(bytes)) this.writeAlone(this.joined, "complete");
  }

  private put(length: number, packets: number): void {
    const { tun, counters } = this;
    const start = VirtioHeader.size - tun.headerBytes;
    if (tun.headerBytes > 0) VirtioHeader.encode(this.view, 0, this.header);
    const errno = tun.write(this.memory, start, tun.headerBytes + length);
    if (errno !== 0) {
      counters.writeErrors += packets;
      return;
    }
    counters.packetsWritten += packets;
    counters.bytesWritten += length;
  }
}

function segmentationOf(joiner: Joiner): number {
  return joiner.isIpv6 ? SEGMENTATION.tcp6 : SEGMENTATION.tcp4;
}
