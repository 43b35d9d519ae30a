import { expect, it } from "vitest";
import { formatBytes, parseDuration, parseRate, parseShare, parseSize } from "../../lib/units.ts";

it("durations are whole microseconds", () => {
  expect(parseDuration("50ms")).toBe(50_000);
  expect(parseDuration("1.5s")).toBe(1_500_000);
  expect(parseDuration("10m")).toBe(600_000_000);
});

it("MiB is binary and MB is decimal", () => {
  expect(parseSize("64MiB")).toBe(64 * 2 ** 20);
  expect(parseSize("100MB")).toBe(100_000_000);
  expect(parseSize("4096")).toBe(4096);
});

it("rates are bits per second, as tc writes them", () => {
  expect(parseRate("1gbit")).toBe(1e9);
  expect(parseRate("1.5mbit")).toBe(1_500_000);
});

it("a share may be written in per cent or as a fraction", () => {
  expect(parseShare("0.5%")).toBeCloseTo(0.005);
  expect(parseShare("0.005")).toBe(0.005);
});

it.each([
  ["50", parseDuration, "a duration such as 50ms"],
  ["fast", parseRate, "a rate such as 100mbit"],
  ["150%", parseShare, "a share of at most 100%"],
  ["-1", parseSize, "a size such as 4096"],
  ["1 lightyear", parseSize, "a size such as 4096"],
])("'%s' is refused with what to write instead", (text, parse, hint) => {
  expect(() => parse(text)).toThrow(hint);
});

it("sizes are printed in binary units", () => {
  expect(formatBytes(512)).toBe("512 B");
  expect(formatBytes(1536)).toBe("1.5 KiB");
});
