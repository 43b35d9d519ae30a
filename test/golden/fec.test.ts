/** The repair packet on the wire, byte by byte: a worked example with two layers. */
import { describe, expect, it } from "vitest";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import { cauchyCoefficient } from "../../gateway/core/code/coefficients.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { multiply } from "../../gateway/core/code/gf256.ts";
import { LayeredEncoder } from "../../gateway/core/code/layered-encoder.ts";
import { blockRepair } from "../../gateway/core/code/repair.ts";
import { fromHex, latin1, toHex } from "../../lib/bytes.ts";

const FIRST = 0xfffffffe;
/** Ids fffffffe, ffffffff, 0, 1: the numbers wrap in the middle of the example. */
const PACKETS = ["abc", "ABCDE", "", "xy"].map(latin1);

/** r = 2, interleave (1, 2). What leaves, in order; comments are the fields of `layered repair`. */
const WIRE = [
  "data fffffffe",
  "data ffffffff",
  // Layer 0 closes with packet ffffffff and waits for one more packet.
  "data 00000000",
  [
    "01 00 02 02 0200", // layered, layer 0 of 2, r = 2, count 2
    "01000000 feffffff", // stride 1, first member
    "0600", // lengths 3 ^ 5
    "2020204445", // "abc" ^ "ABC", then "DE": the shorter is padded with zeros
  ],
  "data 00000001",
  // Layer 1's second bin closed in its first round (stagger) with ffffffff alone, and has waited for
  // two more packets: a copy.
  [
    "01 01 02 02 0100", // layer 1 of 2, r = 2, count 1
    "02000000 ffffffff", // stride 2
    "0500",
    "4142434445", // "ABCDE"
  ],
  // The sender falls idle: what is left leaves, the dense layer first.
  [
    "01 00 02 02 0200", // layer 0, members 0 and 1
    "01000000 00000000",
    "0200", // lengths 0 ^ 2
    "7879", // "" ^ "xy"
  ],
  [
    "01 01 02 02 0200", // layer 1, members fffffffe and 0
    "02000000 feffffff",
    "0300", // lengths 3 ^ 0
    "616263", // "abc" ^ ""
  ],
  [
    "01 01 02 02 0100", // layer 1, member 1 alone
    "02000000 01000000",
    "0200",
    "7879", // "xy"
  ],
];

function encode(): string[] {
  const encoder = new LayeredEncoder({
    parameters: { kind: "layered", r: 2, interleave: [1, 2] },
    idleMicros: 1000,
  });
  const wire: string[] = [];
  const out = new Uint8Array(64);
  const drain = (now: number): void => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      wire.push(toHex(out.subarray(0, n)));
    }
  };
  for (const [n, packet] of PACKETS.entries()) {
    const id = (FIRST + n) >>> 0;
    encoder.push(id, packet, n);
    wire.push(`data ${id.toString(16).padStart(8, "0")}`);
    drain(n);
  }
  drain(5000);
  return wire;
}

const EXPECTED = WIRE.map((item) =>
  typeof item === "string" ? item : item.join("").replaceAll(" ", ""),
);

describe("the repair packet", () => {
  it("is what the worked example shows", () => {
    expect(encode()).toEqual(EXPECTED);
  });

  it("rebuilds two neighbours through one another", () => {
    const decoder = new ErasureDecoder();
    const repairs = EXPECTED.filter((item) => !item.startsWith("data"));
    // ffffffff comes back as a copy, which completes layer 0's first group: fffffffe follows.
    decoder.handleData(0, PACKETS[2] as Uint8Array);
    decoder.handleData(1, PACKETS[3] as Uint8Array);
    for (const repair of repairs.slice(0, 2)) decoder.handleRepair(fromHex(repair));
    const rebuilt = [0, 1, 2].map(() => decoder.pollRebuilt()?.id);
    expect(rebuilt).toEqual([0xffffffff, 0xfffffffe, undefined]);
    expect(decoder.statistics.rebuilt).toBe(2);
  });
});

/** What leaves behind the four packets and an idle flush, without them. */
function repairsOf(parameters: CodeParameters): string[] {
  const encoder = new ErasureEncoder({ parameters, idleMicros: 1000 });
  const repairs: string[] = [];
  const out = new Uint8Array(64);
  const drain = (now: number): void => {
    for (let n = encoder.poll(out, now); n > 0; n = encoder.poll(out, now)) {
      repairs.push(toHex(out.subarray(0, n)));
    }
  };
  for (const [n, packet] of PACKETS.entries()) {
    encoder.push((FIRST + n) >>> 0, packet, n);
    drain(n);
  }
  drain(5000);
  return repairs;
}

const join = (fields: readonly string[]): string => fields.join("").replaceAll(" ", "");

describe("repairs in GF(256)", () => {
  it("of a sliding window are what they were when the format was released", () => {
    const parameters = { kind: "sliding-window", r: 2, c: 1, window: 3, density: 16 } as const;
    expect(repairsOf(parameters)).toEqual(
      [
        ["02 02 01 10", "0300 0200 0100", "feffffff", "7d00 f016bf94d5"],
        ["02 02 01 10", "0300 0300 0200", "ffffffff", "1500 79098c287b"],
      ].map(join),
    );
  });

  it("of a block are what they were when the format was released", () => {
    const parameters = { kind: "block", k: 3, m: 1, interleave: 1 } as const;
    expect(repairsOf(parameters)).toEqual(
      [
        ["03 03 01 00 0300", "01000000", "feffffff", "8100 128a09136d"],
        ["03 03 01 00 0100", "01000000", "01000000", "e700 b74a"],
      ].map(join),
    );
  });

  it("add up to the members' symbols, each times its coefficient", () => {
    const [repair = ""] = repairsOf({ kind: "block", k: 2, m: 1, interleave: 1 });
    const symbol = fromHex(repair).subarray(blockRepair.size);
    const symbols = PACKETS.slice(0, 2).map((packet) => [packet.length, 0, ...packet]);
    const expected = Array.from(symbol, (_, at) =>
      symbols.reduce((sum, bytes, n) => sum ^ multiply(cauchyCoefficient(0, n), bytes[at] ?? 0), 0),
    );
    expect([...symbol]).toEqual(expected);
  });
});
