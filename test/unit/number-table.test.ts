/** The table of numbers beside a `Map`. */
import { expect, test } from "vitest";
import { NumberTable } from "../../lib/number-table.ts";
import { Prng } from "../../lib/prng.ts";

test("holds what a map would hold, whatever is set and deleted", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new Prng(seed);
    const table = new NumberTable();
    const model = new Map<number, number>();
    const range = random.pick([50, 5000, 2 ** 40]);
    // It grows, then shrinks.
    for (const share of [0.2, 0.8]) {
      for (let step = 0; step < 20_000; step++) {
        const key = random.below(range);
        if (random.chance(share)) {
          if (table.delete(key) !== model.delete(key)) expect.unreachable(`${key}, seed ${seed}`);
        } else {
          table.set(key, step);
          model.set(key, step);
        }
        const asked = random.below(range);
        if (table.get(asked) !== model.get(asked)) expect.unreachable(`${asked}, seed ${seed}`);
      }
      expect(table.size).toBe(model.size);
      expect(table.keys().toSorted(ascending)).toEqual([...model.keys()].toSorted(ascending));
    }
    expect([...model.keys()].map((key) => table.get(key))).toEqual([...model.values()]);
  }
});

test("is empty when it was cleared, and takes entries again", () => {
  const table = new NumberTable();
  table.set(7, 1);
  table.clear();
  expect([table.size, table.get(7), table.keys()]).toEqual([0, undefined, []]);
  table.set(7, 2);
  expect([table.size, table.get(7)]).toEqual([1, 2]);
});

function ascending(a: number, b: number): number {
  return a - b;
}
