/** Laws of repair, over random damage to a random file system. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { KIND } from "../../logfs/core/log/format.ts";
import type { ScannedRecord } from "../../logfs/core/log/scan.ts";
import { type FsWorld, name, ROOT } from "../fs-world.ts";
import {
  copyOf,
  populate,
  recordsOf,
  repair,
  type Repaired,
  smallSegments,
  stop,
  treeOf,
} from "../repair-world.ts";

const FILES = 60;
/** Hundreds by command: REPAIR_RUNS=300. */
const RUNS = Number(process.env["REPAIR_RUNS"] ?? 10);

async function stopped(seed: number): Promise<{ world: FsWorld; tree: Map<string, string> }> {
  const world = smallSegments();
  await populate(world, FILES, seed);
  world.volume.checkpoint();
  world.settle();
  for (const text of ["x", "y", "z"]) {
    await world.run(world.fs.mkdir(ROOT, 1, name(text), 0o755));
    world.settle();
  }
  const tree = await treeOf(world);
  stop(world);
  return { world, tree };
}

/** A place in the log: which record, how far into the part that is meant, which bit. */
const flip = fc.record({
  record: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  place: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  bit: fc.nat({ max: 7 }),
});
const damage = fc.record({
  seed: fc.nat({ max: 1000 }),
  flips: fc.array(flip, { minLength: 1, maxLength: 8 }),
});
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

type Part = (record: ScannedRecord) => { readonly from: number; readonly to: number };
const whole: Part = ({ offset, totalBytes }) => ({ from: offset, to: offset + totalBytes });
const body: Part = ({ bodyOffset, header }) => ({
  from: bodyOffset,
  to: bodyOffset + header.bodyBytes,
});

function hit(
  { disk }: FsWorld,
  { flips }: Damage,
  isMeant: (record: ScannedRecord) => boolean,
  part: Part,
): void {
  const records = recordsOf(disk).filter(isMeant);
  expect(records.length).toBeGreaterThan(2);
  for (const { record, place, bit } of flips) {
    const found = records[Math.floor(record * records.length)] ?? expect.unreachable();
    const { from, to } = part(found);
    disk.flipBit(found.segment, from + Math.floor(place * (to - from)), bit);
  }
}

/** Whole but for data that no copy has; and a second repair has nothing to do. */
async function expectRepaired(world: FsWorld, { check, actions }: Repaired): Promise<void> {
  const problems = check.findings.filter(({ problem }) => problem !== "data");
  expect(problems, JSON.stringify(actions, null, 1)).toEqual([]);
  expect(check.complete).toBe(true);
  const again = await repair(world);
  expect(again.actions).toEqual([]);
}

test("damage to tree nodes and superblocks loses nothing", async () => {
  await fc.assert(
    fc.asyncProperty(damage, async (given) => {
      const { world, tree } = await stopped(given.seed);
      const isTree = ({ header }: ScannedRecord): boolean =>
        header.kind === KIND.nodes || (header.kind === KIND.checkpoint && header.sequence > 3);
      hit(world, given, isTree, whole);
      await expectRepaired(world, await repair(world));
      await world.remount();
      expect(await treeOf(world)).toEqual(tree);
    }),
    { numRuns: RUNS },
  );
});

test("damage to file data costs no more than that data", async () => {
  await fc.assert(
    fc.asyncProperty(damage, async (given) => {
      const { world, tree } = await stopped(given.seed);
      const hasData = ({ header }: ScannedRecord): boolean =>
        header.kind === KIND.update && header.bodyBytes > 0;
      hit(world, given, hasData, body);
      await expectRepaired(world, await repair(world));
      await world.remount();
      const after = await treeOf(world);
      expect([...after.keys()]).toEqual([...tree.keys()]);
      const changed = [...tree].filter(([path, what]) => after.get(path) !== what);
      // A file may have several names.
      expect(changed.length).toBeLessThanOrEqual(2 * given.flips.length);
      for (const [path] of changed) expect(after.get(path)).toMatch(/EIO$/);
    }),
    { numRuns: RUNS },
  );
});

test("whatever is damaged, what comes of it is a whole file system", async () => {
  await fc.assert(
    fc.asyncProperty(damage, async (given) => {
      const { world } = await stopped(given.seed);
      const isAny = ({ header }: ScannedRecord): boolean => header.sequence > 3;
      hit(world, given, isAny, whole);
      await expectRepaired(world, await repair(world));
      await world.remount();
      expect((await treeOf(world)).size).toBeGreaterThan(FILES / 3);
    }),
    { numRuns: RUNS },
  );
});

test("with a mirror, whatever is damaged comes back", async () => {
  await fc.assert(
    fc.asyncProperty(damage, async (given) => {
      const { world, tree } = await stopped(given.seed);
      const mirror = copyOf(world.disk);
      hit(world, given, () => true, whole);
      const { check, left } = await repair(world, { mirror });
      expect(check.findings).toEqual([]);
      expect(left).toBe(0);
      await world.remount();
      expect(await treeOf(world)).toEqual(tree);
    }),
    { numRuns: RUNS },
  );
});

/** Between bridge and checkpoint: a read has ended, and what waits for it does not know yet. */
const CUT_BEFORE_CHECKPOINT = {
  given: {
    seed: 0,
    flips: [
      { record: 0, place: 0, bit: 2 },
      { record: 0, place: 0, bit: 1 },
      { record: 0.9999, place: 0, bit: 2 },
    ],
  },
  steps: 5,
  seed: 13,
};

test("a repair that loses its power is finished by the next one", async () => {
  const power = fc.record({
    given: damage,
    steps: fc.integer({ min: 3, max: 34 }),
    seed: fc.nat(),
  });
  let interrupted = 0;
  let begun = 0;
  await fc.assert(
    fc.asyncProperty(power, async ({ given, steps, seed }) => {
      const { world, tree } = await stopped(given.seed);
      const isTree = ({ header }: ScannedRecord): boolean =>
        header.kind === KIND.nodes || (header.kind === KIND.checkpoint && header.sequence > 3);
      hit(world, given, isTree, whole);
      const before = recordsOf(world.disk).length;
      let isOver = false;
      const end = (): void => {
        isOver = true;
      };
      repair(world, {}, (answer) => answer).then(end, end);
      for (let step = 0; step < steps; step++) {
        await new Promise((resolve) => setImmediate(resolve));
        world.clock.step();
      }
      world.losePower(seed);
      if (!isOver) interrupted++;
      if (!isOver && recordsOf(world.disk).length > before) begun++;
      const { check } = await repair(world);
      expect(check.findings).toEqual([]);
      await world.remount();
      expect(await treeOf(world)).toEqual(tree);
    }),
    { numRuns: RUNS, endOnFailure: true, examples: [[CUT_BEFORE_CHECKPOINT]] },
  );
  expect(interrupted).toBeGreaterThan(0);
  // One cut in six comes after something was written.
  if (RUNS >= 100) expect(begun).toBeGreaterThan(0);
});
