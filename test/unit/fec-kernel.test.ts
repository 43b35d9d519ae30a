/** The WebAssembly kernel: the committed bytes are the source's, and it computes what the field says. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Blocks } from "../../gateway/core/code/blocks.ts";
import {
  cauchyCoefficient,
  DENSE_MEMBERS,
  randomCoefficient,
} from "../../gateway/core/code/coefficients.ts";
import { invert, multiply } from "../../gateway/core/code/gf256.ts";
import { assemble, GENERATED } from "../../gateway/kernel/assemble.ts";
import { Prng } from "../../lib/prng.ts";

const PACKET_BYTES = 1472;

/** Two blocks of random packets, and the packets. */
function twoBlocks(seed: number, [first, second]: [number, number]) {
  const prng = new Prng(seed);
  const blocks = new Blocks(2);
  const packets = [first, second].map((length) => prng.fill(new Uint8Array(length)));
  for (const [index, packet] of packets.entries()) blocks.storePacket(index, packet);
  return { blocks, packets };
}

const bytesOf = (blocks: Blocks, index: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => blocks.byteAt(index, at));

describe("the kernel", () => {
  it("is what its source assembles to", async () => {
    expect(readFileSync(GENERATED, "utf8")).toBe(await assemble());
  });

  it.each([0, 1, 2, 0x53, 0xff])("adds %i times a block as the field says", (constant) => {
    const { blocks, packets } = twoBlocks(constant, [PACKET_BYTES, PACKET_BYTES]);
    blocks.addScaled(0, 1, blocks.symbolBytes(1), constant);
    const [target, source] = packets as [Uint8Array, Uint8Array];
    const expected = Array.from(target, (byte, at) => byte ^ multiply(constant, source[at] ?? 0));
    expect(bytesOf(blocks, 0, 2 + PACKET_BYTES).slice(2)).toEqual(expected);
  });

  it("scales a block there and back", () => {
    const { blocks } = twoBlocks(1, [999, 1]);
    const before = bytesOf(blocks, 0, 1001);
    blocks.scale(0, 1001, 7);
    expect(bytesOf(blocks, 0, 1001)).toEqual(before.map((byte) => multiply(byte, 7)));
    blocks.scale(0, 1001, invert(7));
    expect(bytesOf(blocks, 0, 1001)).toEqual(before);
  });

  it("touches nothing beside the block", () => {
    const blocks = new Blocks(3);
    const zeros = new Uint8Array(PACKET_BYTES);
    const ones = zeros.slice().fill(255);
    for (const [index, packet] of [zeros, ones, zeros].entries()) {
      blocks.storePacket(index, packet);
    }
    for (const constant of [1, 9]) blocks.addScaled(1, 1, blocks.symbolBytes(1), constant);
    blocks.scale(1, PACKET_BYTES, 77);
    expect([blocks.packetView(0), blocks.packetView(2)]).toEqual([zeros, zeros]);
  });

  it("finds the first byte that is not zero, wherever it stands", () => {
    for (let at = 0; at < 100; at++) {
      const blocks = new Blocks(1);
      blocks.setByte(0, at, 1);
      for (const from of [0, 1, 15, 16, 33]) {
        const expected = at >= from && at < 90 ? at : Math.max(from, 90);
        expect(blocks.firstNonZero(0, from, 90)).toBe(expected);
      }
    }
  });

  it("keeps what is in its memory when that grows", () => {
    const { blocks, packets } = twoBlocks(5, [100, 200]);
    const added = blocks.reserve(5000);
    expect(added).toBe(2);
    blocks.storePacket(added + 4999, new Uint8Array(3));
    expect([blocks.packetView(0), blocks.packetView(1)]).toEqual(packets);
  });
});

describe("GF(256)", () => {
  it("is a field: every number but zero has an inverse, and products distribute", () => {
    for (let a = 1; a < 256; a++) expect(multiply(a, invert(a))).toBe(1);
    const prng = new Prng(3);
    for (let i = 0; i < 1000; i++) {
      const [a, b, c] = [prng.below(256), prng.below(256), prng.below(256)] as const;
      expect(multiply(a, b ^ c)).toBe(multiply(a, b) ^ multiply(a, c));
      expect(multiply(a, multiply(b, c))).toBe(multiply(multiply(a, b), c));
    }
  });
});

describe("coefficients", () => {
  it.each([1, 4, 15, 16])(
    "of a window are other than zero at a density of %i sixteenths",
    (density) => {
      let others = 0;
      for (let n = 0; n < 16_000; n++)
        if (randomCoefficient(n % 40, DENSE_MEMBERS + n, density) !== 0) others++;
      expect(Math.abs(others / 16_000 - density / 16)).toBeLessThan(0.01);
    },
  );

  it("of the newest of a window are other than zero at every density", () => {
    for (let age = 0; age < DENSE_MEMBERS; age++) {
      for (let seed = 0; seed < 100; seed++) expect(randomCoefficient(seed, age, 1)).not.toBe(0);
    }
  });

  it("of a window take all values alike", () => {
    const counts = new Uint32Array(256);
    for (let n = 0; n < 255_000; n++) {
      const coefficient = randomCoefficient(n >>> 9, n & 511, 16);
      counts[coefficient] = (counts[coefficient] ?? 0) + 1;
    }
    expect(counts[0]).toBe(0);
    expect(Math.min(...counts.subarray(1))).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1150);
  });

  it("of a block are never zero", () => {
    for (let index = 0; index < 128; index++) {
      for (let n = 0; n < 128; n++) expect(cauchyCoefficient(index, n)).toBeGreaterThan(0);
    }
  });
});
