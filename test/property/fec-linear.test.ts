/** Laws of the linear codes: what they can rebuild they do, and nothing that is false. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { blockRepair, REPAIR_HEADER_BYTES } from "../../gateway/core/code/repair.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { Prng } from "../../lib/prng.ts";

interface Item {
  /** −1 for a repair. */
  readonly id: number;
  readonly bytes: Uint8Array;
}

const firstId = fc.constantFrom(0, 5, 0x7ffffff0, 0xffffffe0);

/** Packets of any length, and their repairs behind them; at last the sender falls idle. */
function send(parameters: CodeParameters, first: number, packets: number, seed: number): Item[] {
  const prng = new Prng(seed);
  const encoder = new ErasureEncoder({ parameters, idleMicros: 1000 });
  const out = new Uint8Array(encoder.repairBytes(60));
  const wire: Item[] = [];
  const drain = (now: number): void => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      wire.push({ id: -1, bytes: out.slice(0, n) });
    }
  };
  for (let n = 0; n < packets; n++) {
    const id = (first + n) >>> 0;
    const bytes = prng.fill(new Uint8Array(prng.below(61)));
    encoder.push(id, bytes, 0);
    wire.push({ id, bytes });
    drain(0);
  }
  drain(1000);
  return wire;
}

/** Ids that the decoder has of what arrives; all that is rebuilt must be what was sent. */
function receive(arriving: readonly Item[], sent: readonly Item[]): Set<number> {
  const packets = new Map(sent.map((item) => [item.id, item.bytes]));
  const decoder = new ErasureDecoder({ windowPackets: 512 });
  const have = new Set<number>();
  for (const { id, bytes } of arriving) {
    if (id < 0) decoder.handleRepair(bytes);
    else if (decoder.handleData(id, bytes)) have.add(id);
    for (let next = decoder.pollRebuilt(); next !== null; next = decoder.pollRebuilt()) {
      const original = packets.get(next.id);
      expect(original !== undefined && equalBytes(next.packet, original)).toBe(true);
      have.add(next.id);
    }
  }
  expect(decoder.statistics).toMatchObject({ malformed: 0, inconsistentRepairs: 0 });
  return have;
}

describe("a block", () => {
  it("comes back from any k of its k + m packets, in any order", () => {
    const shape = fc.record({
      k: fc.integer({ min: 1, max: 60 }),
      m: fc.integer({ min: 1, max: 60 }),
      interleave: fc.constantFrom(1, 3, 8),
    });
    fc.assert(
      fc.property(shape, firstId, fc.nat(), (one, first, seed) => {
        const wire = send({ kind: "block", ...one }, first, one.k * one.interleave, seed);
        const prng = new Prng(seed + 1);
        // Of each block, m packets are lost: data n is in block n mod interleave.
        const left = Array.from({ length: one.interleave }, () => one.m);
        let repairs = 0;
        const shuffled = wire
          .map((item) => {
            const block =
              item.id >= 0
                ? ((item.id - first) >>> 0) % one.interleave
                : Math.floor(repairs++ / one.m);
            return { item, block, at: prng.float() };
          })
          .toSorted((a, b) => a.at - b.at);
        const arriving = shuffled.filter(({ block }) => {
          const more = left[block] ?? 0;
          left[block] = Math.max(0, more - 1);
          return more === 0;
        });
        const have = receive(
          arriving.map(({ item }) => item),
          wire,
        );
        expect(have.size).toBe(one.k * one.interleave);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a sliding window", () => {
  it("rebuilds any burst that leaves enough repairs inside the window", () => {
    const shape = fc.record({
      window: fc.integer({ min: 16, max: 200 }),
      density: fc.constantFrom(16, 8, 4),
      r: fc.integer({ min: 1, max: 8 }),
      c: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(shape, firstId, fc.nat(), fc.nat(300), (one, first, seed, at) => {
        const parameters: CodeParameters = { kind: "sliding-window", ...one };
        const wire = send(parameters, first, 900, seed);
        // A third of what can be made up for while the burst is in the window: sparse repairs miss.
        const share = one.c / (one.r + one.c);
        const burst = Math.floor((one.window * share) / 3);
        const have = receive(wire.toSpliced(at, burst), wire);
        expect(have.size).toBe(900);
      }),
      { numRuns: 60 },
    );
  });

  it("rebuilds a lone packet from any one of its flushed repairs", () => {
    const parameters: CodeParameters = {
      kind: "sliding-window",
      r: 8,
      c: 3,
      window: 64,
      density: 1,
    };
    const wire = send(parameters, 9, 1, 4);
    expect(wire.length).toBe(4);
    for (const repair of wire.slice(1)) expect(receive([repair], wire)).toEqual(new Set([9]));
  });
});

describe("a decoder whose kinds change", () => {
  const codes: CodeParameters[] = [
    { kind: "layered", r: 4, interleave: [1, 6] },
    { kind: "sliding-window", r: 4, c: 2, window: 40, density: 16 },
    { kind: "block", k: 6, m: 3, interleave: 2 },
    { kind: "layered", r: 2, interleave: [1, 300] },
  ];

  it("rebuilds from each of them, and from all together", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(codes, { minLength: 2 }), fc.nat(), (order, seed) => {
        const encoder = new ErasureEncoder({
          parameters: order[0] as CodeParameters,
          idleMicros: 1,
        });
        const out = new Uint8Array(encoder.repairBytes(60));
        const prng = new Prng(seed);
        const wire: Item[] = [];
        const drain = (now: number): void => {
          for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
            wire.push({ id: -1, bytes: out.slice(0, n) });
          }
        };
        for (let id = 0; id < 120 * order.length; id++) {
          if (id > 0 && id % 120 === 0) {
            encoder.setParameters(order[id / 120] as CodeParameters, 0);
            drain(0);
          }
          const bytes = prng.fill(new Uint8Array(prng.below(61)));
          encoder.push(id, bytes, 0);
          wire.push({ id, bytes });
          drain(0);
        }
        drain(1);
        const lost = prng.below(20);
        const have = receive(
          wire.filter((_, at) => at % 20 !== lost),
          wire,
        );
        expect(have.size).toBe(120 * order.length);
      }),
      { numRuns: 40 },
    );
  });
});

describe("a decoder of linear repairs under attack", () => {
  it("neither throws nor grows, whatever is in the repairs", () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(0, 1, 2, 3, 4), (seed, kind) => {
        const prng = new Prng(seed);
        const decoder = new ErasureDecoder({ windowPackets: 64, maxWindowPackets: 1024 });
        for (let id = 0; id < 400; id++) {
          if (prng.chance(0.8)) decoder.handleData(id, prng.fill(new Uint8Array(prng.below(80))));
          const repair = prng.fill(new Uint8Array(REPAIR_HEADER_BYTES + prng.below(100)));
          repair[0] = kind;
          // Small numbers get further.
          for (const at of [1, 2, 3, 4, 5, 6, 7, 8])
            if (prng.chance(0.5)) repair[at] = prng.below(6);
          repair[10] = id;
          repair[11] = id >>> 8;
          decoder.handleRepair(
            repair.subarray(0, prng.chance(0.1) ? prng.below(20) : repair.length),
          );
          for (let next = decoder.pollRebuilt(); next !== null; next = decoder.pollRebuilt()) {
            expect(next.packet.length).toBeLessThanOrEqual(1472);
          }
        }
        expect(decoder.window.size).toBeLessThanOrEqual(1024);
      }),
      { numRuns: 60 },
    );
  });

  it("shows a damaged repair, gives nothing for it, and takes the next", () => {
    const wire = send({ kind: "block", k: 8, m: 3, interleave: 1 }, 0, 8, 1);
    const [first, second] = wire.filter((item) => item.id < 0) as [Item, Item];
    const decoder = new ErasureDecoder();
    for (const { id, bytes } of wire) if (id >= 0 && id !== 3) decoder.handleData(id, bytes);
    const damaged = first.bytes.slice();
    const lengthAt = blockRepair.size + 1;
    damaged[lengthAt] = (damaged[lengthAt] ?? 0) ^ 0x80;
    decoder.handleRepair(damaged);
    expect(decoder.pollRebuilt()).toBeNull();
    expect(decoder.statistics).toMatchObject({ rebuilt: 0, inconsistentRepairs: 1 });
    decoder.handleRepair(second.bytes);
    expect(decoder.pollRebuilt()).toEqual({ id: 3, packet: wire[3]?.bytes });
  });
});
