import { describe, expect, it } from "vitest";
import { PacketMemory } from "../../netem/tun/packet-memory.ts";

const MAX_BYTES = 1500;

function fill(memory: PacketMemory, packet: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  memory.memory(packet).bytes.set(bytes, memory.offset(packet));
  memory.setLength(packet, bytes.length);
}

function textOf(memory: PacketMemory, packet: number): string {
  const at = memory.offset(packet);
  return new TextDecoder().decode(
    memory.memory(packet).bytes.subarray(at, at + memory.length(packet)),
  );
}

describe.skipIf(process.platform !== "linux")("packets in native memory (Linux only)", () => {
  it("keep their bytes, whatever is taken, copied and given back beside them", () => {
    const memory = new PacketMemory(MAX_BYTES);
    const packets = Array.from({ length: 3000 }, () => memory.take());
    expect(new Set(packets).size).toBe(packets.length);
    for (const packet of packets) fill(memory, packet, `packet ${packet}`);
    const copies = packets.map((packet) => memory.copy(packet));
    for (const packet of packets) memory.release(packet);
    for (const packet of packets.map(() => memory.take())) fill(memory, packet, "another");
    expect(copies.map((copy) => textOf(memory, copy))).toEqual(
      packets.map((packet) => `packet ${packet}`),
    );
  });

  it("end where they are told to, and say so before", () => {
    const memory = new PacketMemory(MAX_BYTES, 4 * 2 ** 20);
    const packets: number[] = [];
    while (memory.hasRoomFor(2)) packets.push(memory.take());
    const room = Math.ceil(MAX_BYTES / 64) * 64;
    expect(packets.length * room).toBeLessThanOrEqual(4 * 2 ** 20);
    expect(packets.length).toBeGreaterThan(1024);
    expect(memory.hasRoomFor(1)).toBe(true);
    memory.copy(packets[0] ?? 0);
    expect(memory.hasRoomFor(1)).toBe(false);
    expect(() => {
      for (;;) memory.take();
    }).toThrow(/room/);
    for (const packet of packets) memory.release(packet);
    expect(memory.hasRoomFor(packets.length)).toBe(true);
  });
});
