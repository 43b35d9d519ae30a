import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NodeCache } from "../../logfs/core/fs/cache.ts";
import { TreeTransaction } from "../../logfs/core/fs/transaction.ts";
import { Tree } from "../../logfs/core/fs/tree.ts";
import { applyTo, type Change, flawsOf, Model } from "../unit/volume-world.ts";

const NODE_BYTES = 256;
const HIGHS = [1, 17, 33];

const value = fc.uint8Array({ maxLength: 48 });
const someHigh = fc.constantFrom(...HIGHS);
const puts: fc.Arbitrary<Change[]> = fc.array(fc.tuple(someHigh, fc.nat({ max: 60 }), value), {
  minLength: 1,
  maxLength: 12,
  size: "max",
});
/** A run of keys goes at once: nodes become small and empty, at every level. */
const removals: fc.Arbitrary<Change[]> = fc
  .tuple(someHigh, fc.nat({ max: 60 }), fc.integer({ min: 1, max: 40 }))
  .map(([of, from, count]) =>
    Array.from({ length: count }, (_, i): Change => [of, from + i, null]),
  );
const operation = fc.oneof(
  { weight: 4, arbitrary: puts },
  { weight: 1, arbitrary: removals },
  { weight: 1, arbitrary: fc.tuple(removals, puts).map(([gone, put]) => [...gone, ...put]) },
);

function emptyTree(): Tree {
  return new Tree(new NodeCache(2 ** 20), NODE_BYTES, null);
}

function commit(tree: Tree, changes: readonly Change[]): void {
  const transaction = new TreeTransaction(tree, 2);
  applyTo(transaction, changes);
  const prepared = transaction.prepare()?.changes ?? [];
  for (const { high, low, value: put } of prepared) if (put) tree.put(high, low, put);
  for (const { high, low, value: put } of prepared) if (!put) tree.delete(high, low);
}

function lowsOf(view: Tree | TreeTransaction, high: number, from: number, to: number): number[] {
  const lows: number[] = [];
  view.scan(high, from, to, (low) => lows.push(low) > 0);
  return lows;
}

function expectSame(view: Tree | TreeTransaction, model: Model, from: number, to: number): void {
  for (const high of HIGHS) {
    expect(lowsOf(view, high, from, to)).toEqual(model.lows(high, from, to));
    for (const low of [from, to, 0, 60, 1000]) {
      expect(view.get(high, low)).toEqual(model.get(high, low));
      expect(view.floor(high, low)?.low).toEqual(model.floor(high, low));
    }
  }
}

describe("the tree and a sorted map", () => {
  test("agree after every operation, and the tree stays sound", () => {
    fc.assert(
      fc.property(
        fc.array(operation, { minLength: 10, maxLength: 60, size: "max" }),
        fc.nat({ max: 60 }),
        fc.nat({ max: 61 }),
        (operations, from, to) => {
          const tree = emptyTree();
          const model = new Model();
          for (const changes of operations) {
            commit(tree, changes);
            model.apply(changes);
            expect(flawsOf(tree)).toEqual([]);
          }
          expectSame(tree, model, from, to);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("agree inside an operation that has changed both", () => {
    fc.assert(
      fc.property(
        operation,
        operation,
        operation,
        fc.nat({ max: 60 }),
        fc.nat({ max: 61 }),
        (a, b, c, from, to) => {
          const tree = emptyTree();
          const model = new Model();
          for (const changes of [a, b]) commit(tree, changes);
          const transaction = new TreeTransaction(tree, 2);
          applyTo(transaction, c);
          for (const changes of [a, b, c]) model.apply(changes);
          expectSame(transaction, model, from, to);
        },
      ),
      { numRuns: 150 },
    );
  });
});

test("a scan whose visitor deletes what it sees sees every item once", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat({ max: 500 }), { minLength: 40, maxLength: 80, size: "max" }),
      (lows) => {
        const tree = emptyTree();
        commit(
          tree,
          lows.map((low): Change => [1, low, new Uint8Array(20)]),
        );
        const transaction = new TreeTransaction(tree, 2);
        const seen: number[] = [];
        transaction.scan(1, 0, 1000, (low) => {
          transaction.delete(1, low);
          return seen.push(low) > 0;
        });
        expect(seen).toEqual(lows.toSorted((a, b) => a - b));
        expect(lowsOf(transaction, 1, 0, 1000)).toEqual([]);
      },
    ),
    { numRuns: 50 },
  );
});

test("deleting every item, in any order, leaves one empty leaf", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(300).keys()], { minLength: 300 }), (order) => {
      const tree = emptyTree();
      for (const low of order) tree.put(1, low, new Uint8Array(low % 50));
      expect(tree.height).toBeGreaterThan(3);
      for (const low of order.toReversed()) {
        tree.delete(1, low);
        if (low % 16 === 0) expect(flawsOf(tree)).toEqual([]);
      }
      expect(tree.height).toBe(1);
      expect(tree.root.node?.highs).toEqual([]);
      expect(flawsOf(tree)).toEqual([]);
    }),
    { numRuns: 20 },
  );
});
