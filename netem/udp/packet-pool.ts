/**
 * Packet buffers that are used again. The datagrams that Node hands over are copied here at once:
 * they die young, and what waits out the delay is memory that the collector never has to look at.
 *
 * Invariant: a packet is either in the pool or held by one owner. The pool grows to the most
 * packets that were ever under way at once (bounded by the links) and stays.
 */

/** Longest datagram: an Ethernet payload with room for those who test a bit above it. */
export const MAX_DATAGRAM_BYTES = 2048;
/** Packets that are allocated together. */
const SLAB_PACKETS = 64;

export class Packet {
  private length = 0;
  private readonly room: Uint8Array;

  constructor(room: Uint8Array) {
    this.room = room;
  }

  get datagram(): Uint8Array {
    return this.room.subarray(0, this.length);
  }

  fill(datagram: Uint8Array): this {
    this.room.set(datagram);
    this.length = datagram.length;
    return this;
  }
}

export class PacketPool {
  private readonly free: Packet[] = [];

  release(packet: Packet): void {
    this.free.push(packet);
  }

  /** A packet with a copy of the datagram, which has at most `MAX_DATAGRAM_BYTES`. */
  take(datagram: Uint8Array): Packet {
    if (this.free.length === 0) this.grow();
    return (this.free.pop() as Packet).fill(datagram);
  }

  /** For duplicates: each copy goes back by itself. */
  copy(packet: Packet): Packet {
    return this.take(packet.datagram);
  }

  private grow(): void {
    const slab = new Uint8Array(SLAB_PACKETS * MAX_DATAGRAM_BYTES);
    for (let at = 0; at < slab.length; at += MAX_DATAGRAM_BYTES) {
      this.free.push(new Packet(slab.subarray(at, at + MAX_DATAGRAM_BYTES)));
    }
  }
}
