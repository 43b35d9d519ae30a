/** The values of a leaf, beside a plain list of arrays. */
import { expect, test } from "vitest";
import { LeafValues } from "../../logfs/core/fs/leaf-values.ts";
import { Prng } from "../../lib/prng.ts";

const BLOCK = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

function listOf(values: LeafValues): Uint8Array[] {
  return Array.from({ length: values.length }, (_, i) => values.at(i).slice());
}

function filled(): { values: LeafValues; model: Uint8Array[] } {
  const values = new LeafValues();
  values.standIn(BLOCK);
  const model: Uint8Array[] = [];
  for (let start = 0; start + 40 <= BLOCK.length; start += 50) {
    values.add(start, 40);
    model.push(BLOCK.slice(start, start + 40));
  }
  return { values, model };
}

const CHANGES = ["insert", "set", "remove"] as const;

function change(
  values: LeafValues,
  model: Uint8Array[],
  index: number,
  how: (typeof CHANGES)[number],
  value: Uint8Array,
): void {
  if (how === "insert") {
    values.insert(index, value);
    model.splice(index, 0, value);
  } else if (how === "set") {
    values.set(index, value);
    model[index] = value;
  } else {
    values.remove(index);
    model.splice(index, 1);
  }
}

function valueOf(random: Prng): Uint8Array {
  return new Uint8Array(random.below(300)).fill(random.below(256));
}

test("whatever is put, inserted and removed, it is the list that a plain list would be", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { values, model } = filled();
    for (let step = 0; step < 300; step++) {
      const value = valueOf(random);
      const index = random.below(model.length + 1);
      change(values, model, index, index === model.length ? "insert" : random.pick(CHANGES), value);
    }
    expect(listOf(values)).toEqual(model);
    expect(model.map((_, i) => values.bytesAt(i))).toEqual(model.map(({ length }) => length));
  }
});

test("moving from an index on takes old and new values along, in order", () => {
  const { values, model } = filled();
  const other = new LeafValues();
  other.insert(0, Uint8Array.of(1, 2, 3));
  values.insert(5, Uint8Array.of(9));
  model.splice(5, 0, Uint8Array.of(9));
  values.moveTo(3, other);
  expect(listOf(values)).toEqual(model.slice(0, 3));
  expect(listOf(other)).toEqual([Uint8Array.of(1, 2, 3), ...model.slice(3)]);
});

test("a view that was handed out stays what it was, whatever is put later", () => {
  const values = new LeafValues();
  values.insert(0, Uint8Array.of(1, 2, 3));
  const view = values.at(0);
  for (let i = 0; i < 1000; i++) values.set(0, Uint8Array.of(i % 256, 0, 0));
  expect(view).toEqual(Uint8Array.of(1, 2, 3));
});
