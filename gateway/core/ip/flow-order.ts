/**
 * Whether a TCP packet is the next of its connection: then a gap before it is another connection's,
 * and it need not wait (`reorder.ts`).
 *
 * One sequence number per connection, in a table of fixed size without chains: when two connections
 * meet in a place, the newer one has it. What is wrongly said costs a wait, or a packet out of order.
 */
import type { IpPacket } from "./ip.ts";
import { readU32 } from "./network-order.ts";

export class FlowOrder {
  private readonly names: Uint32Array;
  private readonly expected: Uint32Array;

  /** `places` is a power of two. */
  constructor(places: number) {
    this.names = new Uint32Array(places);
    this.expected = new Uint32Array(places);
  }

  /** It follows what was handed on, or repeats it. */
  isNext(packet: IpPacket): boolean {
    const name = nameOf(packet);
    const place = name & (this.names.length - 1);
    if (this.names[place] !== name) return false;
    return ((packet.sequence - (this.expected[place] ?? 0)) | 0) <= 0;
  }

  /** A TCP packet was handed on. */
  note(packet: IpPacket): void {
    const name = nameOf(packet);
    const place = name & (this.names.length - 1);
    const end = (packet.sequence + packet.payloadBytes + (packet.hasFlag("syn") ? 1 : 0)) >>> 0;
    const isKnown = this.names[place] === name && !packet.hasFlag("syn");
    const isBehind = ((end - (this.expected[place] ?? 0)) | 0) < 0;
    if (isKnown && isBehind) return;
    this.names[place] = name;
    this.expected[place] = end;
  }
}

/** Of both ports and the low parts of both addresses. */
function nameOf({ bytes, transportAt, sourceAt, destinationAt, addressBytes }: IpPacket): number {
  const low = addressBytes - 4;
  let name = Math.imul(readU32(bytes, transportAt), 0x9e3779b1);
  name = Math.imul(name ^ readU32(bytes, sourceAt + low), 0x85ebca6b);
  name = Math.imul(name ^ readU32(bytes, destinationAt + low), 0xc2b2ae35);
  return (name ^ (name >>> 15)) >>> 0;
}
