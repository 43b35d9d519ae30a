import { describe, expect, test } from "vitest";
import { FlowOrder } from "../../gateway/core/ip/flow-order.ts";
import { TCP_FLAG } from "../../gateway/core/ip/ip.ts";
import { parsed, type Segment, tcpPacket } from "../ip-packets.ts";

const ENDS = { source: "10.1.0.2", destination: "10.2.0.3" };

function packet(sequence: number, bytes = 100, segment: Partial<Segment> = {}) {
  const payload = new Uint8Array(bytes);
  return parsed(tcpPacket({ ...ENDS, sequence, flags: TCP_FLAG.ack, payload, ...segment }));
}

describe("the order of a connection", () => {
  test("what follows is next, what is ahead is not, what repeats is", () => {
    const order = new FlowOrder(64);
    expect(order.isNext(packet(0))).toBe(false);
    order.note(packet(0));
    expect(order.isNext(packet(100))).toBe(true);
    expect(order.isNext(packet(200))).toBe(false);
    expect(order.isNext(packet(50))).toBe(true);
  });

  test("a late packet does not take it back, and sequence numbers wrap", () => {
    const order = new FlowOrder(64);
    order.note(packet(0xffffffce));
    order.note(packet(0xffffff00));
    expect(order.isNext(packet(50))).toBe(true);
    expect(order.isNext(packet(51))).toBe(false);
  });

  test("connections do not disturb one another, and a SYN begins anew", () => {
    const order = new FlowOrder(4096);
    order.note(packet(0));
    order.note(packet(7000, 100, { sourcePort: 2 }));
    expect(order.isNext(packet(100))).toBe(true);
    expect(order.isNext(packet(7100, 100, { sourcePort: 2 }))).toBe(true);
    order.note(packet(3_000_000_000, 0, { flags: TCP_FLAG.syn }));
    expect(order.isNext(packet(3_000_000_001))).toBe(true);
    expect(order.isNext(packet(3_000_000_101))).toBe(false);
  });
});
