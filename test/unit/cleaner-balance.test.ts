import { expect, test } from "vitest";
import { Balance } from "../../logfs/core/fs/cleaner/balance.ts";

test("rounds that free in turns what the next one costs gain once only", () => {
  const balance = new Balance();
  balance.begin();
  const gains = Array.from({ length: 8 }, (_, round) =>
    round % 2 === 0 ? balance.note(5000, 1000) : balance.note(1000, 5000),
  );
  expect(gains).toEqual([true, ...Array.from({ length: 7 }, () => false)]);
});

test("a round gains when more is free than ever, and a new run counts anew", () => {
  const balance = new Balance();
  balance.begin();
  expect(balance.note(10, 20)).toBe(false);
  expect(balance.note(15, 5)).toBe(false);
  expect(balance.note(1, 0)).toBe(true);
  balance.begin();
  expect(balance.note(1, 0)).toBe(true);
});
