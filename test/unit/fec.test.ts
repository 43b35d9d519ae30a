import { describe, expect, it } from "vitest";
import { equalBytes } from "../../lib/bytes.ts";
import { Prng } from "../../lib/prng.ts";
import { LayeredDecoder } from "../../gateway/core/layered-decoder.ts";
import { LayeredEncoder } from "../../gateway/core/layered-encoder.ts";
import { DEFAULT_CODE, type CodeParameters } from "../../gateway/core/code.ts";

type Wire = { kind: "data"; id: number; bytes: Uint8Array } | { kind: "repair"; bytes: Uint8Array };

/** What a sender that pushes `count` packets puts on the wire, the last partial groups flushed. */
function send(count: number, parameters: CodeParameters = DEFAULT_CODE, firstId = 0): Wire[] {
  const encoder = new LayeredEncoder({ parameters });
  const wire: Wire[] = [];
  const out = new Uint8Array(2000);
  const drain = (now: number) => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      wire.push({ kind: "repair", bytes: out.slice(0, n) });
    }
  };
  for (let i = 0; i < count; i++) {
    const id = (firstId + i) >>> 0;
    const bytes = packetOf(id);
    wire.push({ kind: "data", id, bytes });
    encoder.push(id, bytes, i);
    drain(i);
  }
  drain(count + 10_000);
  return wire;
}

/** Contents and length follow from the id. */
function packetOf(id: number): Uint8Array {
  const prng = new Prng(id + 1);
  return prng.fill(new Uint8Array(1 + prng.below(100)));
}

/** Ids that the receiver has at the end; throws when a rebuilt packet is wrong. */
function receive(
  wire: readonly Wire[],
  isLost: (index: number, item: Wire) => boolean,
): Set<number> {
  const decoder = new LayeredDecoder();
  const have = new Set<number>();
  for (const [index, item] of wire.entries()) {
    if (isLost(index, item)) continue;
    if (item.kind === "repair") decoder.handleRepair(item.bytes);
    else if (decoder.handleData(item.id, item.bytes)) have.add(item.id);
    for (let p = decoder.pollRebuilt(); p !== null; p = decoder.pollRebuilt()) {
      expect(equalBytes(p.packet, packetOf(p.id))).toBe(true);
      have.add(p.id);
    }
  }
  return have;
}

describe("layered interleaving", () => {
  it("sends c repairs for r packets, spread evenly", () => {
    const wire = send(8000);
    const repairs = wire.filter((item) => item.kind === "repair").length;
    expect(repairs).toBeGreaterThan(3000);
    expect(repairs).toBeLessThan(3200);
  });

  it("rebuilds every single loss", () => {
    const wire = send(64);
    for (const [lost, item] of wire.entries()) {
      if (item.kind === "repair") continue;
      expect(receive(wire, (index) => index === lost).size).toBe(64);
    }
  });

  it("rebuilds a burst of the largest interleave wherever it starts in flowing traffic", () => {
    const wire = send(1000);
    const flowing = wire.findLastIndex((item) => item.kind === "data");
    for (let start = 0; start + 100 <= flowing; start += 3) {
      const have = receive(wire, (index) => index >= start && index < start + 100);
      expect(have.size).toBe(1000);
    }
  });

  it("goes on over the end of the 32-bit ids", () => {
    const wire = send(2000, DEFAULT_CODE, 0xffffff00);
    expect(receive(wire, (index) => index % 50 === 7).size).toBe(2000);
  });
});
