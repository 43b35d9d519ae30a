import { expect, it } from "vitest";
import {
  bytes,
  i64,
  reserved,
  roundedI64,
  roundedU64,
  struct,
  u16,
  u64,
  viewOf,
} from "../../lib/codec.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { Heap } from "../../lib/heap.ts";
import { Prng } from "../../lib/prng.ts";

const Example = struct("Example", {
  count: u16("how many"),
  zero: reserved(2),
  name: bytes(4, "a name"),
  size: u64("bytes"),
  time: i64("seconds"),
});

const value = { count: 7, name: Uint8Array.of(1, 2, 3, 4), size: 2 ** 40 + 5, time: -2 };

function encoded(): Uint8Array {
  const out = new Uint8Array(Example.size);
  Example.encode(viewOf(out), 0, value);
  return out;
}

it("a layout decodes what it encodes", () => {
  expect(Example.decode(viewOf(encoded()), 0)).toEqual(value);
});

it("fields are little-endian, in the order of the declaration", () => {
  // count, reserved, name, size (2^40 + 5), time (−2)
  expect([...encoded()]).toEqual([
    ...[7, 0, 0, 0, 1, 2, 3, 4],
    ...[5, 0, 0, 0, 0, 1, 0, 0],
    ...[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  ]);
});

it("a short read says what it needed and had", () => {
  const short = encoded().subarray(0, 10);
  expect(() => Example.decode(viewOf(short), 0)).toThrow("Example needs 24 bytes, had 10");
});

it("a reserved byte that is set is refused", () => {
  const wrong = encoded();
  wrong[2] = 1;
  expect(() => Example.decode(viewOf(wrong), 0)).toThrow("Example.zero has a reserved byte set");
});

it("a number past 2^53 is refused, not rounded", () => {
  const wrong = encoded();
  wrong[15] = 0xff;
  expect(() => Example.decode(viewOf(wrong), 0)).toThrow("Example.size is past 2^53");
});

it("a rounded number past 2^53 is the nearest that there is", () => {
  const Wide = struct("Wide", { size: roundedU64("bytes"), time: roundedI64("seconds") });
  const out = new Uint8Array(Wide.size).fill(0xff);
  expect(Wide.decode(viewOf(out), 0)).toEqual({ size: 2 ** 64, time: -1 });
  out[15] = 0x7f;
  expect(Wide.decode(viewOf(out), 0).time).toBe(2 ** 63);
});

it("CRC-32C gives the check value of RFC 3720", () => {
  const text = Uint8Array.from("123456789", (digit) => digit.charCodeAt(0));
  expect(crc32c(text)).toBe(0xe3069283);
  expect(crc32c(text.subarray(4), crc32c(text.subarray(0, 4)))).toBe(0xe3069283);
});

it("a heap gives the smallest key, and equal keys in the order they came", () => {
  const heap = new Heap<string>();
  for (const [key, item] of [
    [2, "c"],
    [1, "a"],
    [2, "d"],
    [1, "b"],
  ] as const)
    heap.push(key, item);
  expect([heap.pop(), heap.pop(), heap.pop(), heap.pop(), heap.pop()]).toEqual([
    ...["a", "b", "c", "d"],
    undefined,
  ]);
});

it("one seed gives one sequence, another seed another", () => {
  const draw = (seed: number): number[] => {
    const prng = new Prng(seed);
    return Array.from({ length: 4 }, () => prng.u32());
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
});
