import * as fc from "fast-check";
import { expect, test } from "vitest";
import { inspectLog } from "../../logfs/core/log/inspect.ts";
import { ShadowStore } from "../../logfs/core/log/shadow.ts";
import type { SegmentStore } from "../../logfs/core/log/api.ts";
import { Prng } from "../../lib/prng.ts";
import { bytesOf, FsWorld, name, ROOT, WRITE } from "../fs-world.ts";
import { VirtualClock } from "../sim/clock.ts";
import { SimulatedDisk } from "../sim/disk.ts";

const SIZE = 40_000;

/** A disk with two segments full of known bytes. */
function disk(): SimulatedDisk {
  const clock = new VirtualClock();
  const store = new SimulatedDisk(clock.schedule);
  for (const segment of [1, 2]) {
    store.allocate(segment, SIZE);
    store.write(segment, 0, [bytesOf(SIZE, segment)], () => {});
  }
  clock.advance(1_000_000);
  return store;
}

/** In one piece: the general comparison of long arrays takes seconds. */
const contents = (store: SegmentStore): string => {
  const parts = store.list().map(({ segment, bytes }) => store.readSync(segment, 0, bytes));
  return Buffer.concat(parts).toString("latin1");
};

const step = fc.oneof(
  fc.record({
    write: fc.nat({ max: SIZE - 1 }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 9000 }),
  }),
  fc.record({ clear: fc.nat({ max: SIZE }) }),
);

test("a shadow is what the disk would be, and the disk stays as it was", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.nat({ max: SIZE }), (steps, at) => {
      const below = disk();
      const before = contents(below);
      const shadow = new ShadowStore(below);
      const model = bytesOf(SIZE, 1).slice();
      for (const one of steps) {
        if ("clear" in one) {
          shadow.clear(1, one.clear);
          model.fill(0, one.clear);
        } else {
          const part = one.bytes.subarray(0, SIZE - one.write);
          shadow.write(1, one.write, [part], () => {});
          model.set(part, one.write);
        }
      }
      expect(Buffer.compare(shadow.readSync(1, 0, SIZE), model)).toBe(0);
      expect(Buffer.compare(shadow.readSync(1, at, 5000), model.subarray(at, at + 5000))).toBe(0);
      expect(shadow.readSync(2, 7, 100)).toEqual(bytesOf(SIZE, 2).subarray(7, 107));
      expect(contents(below) === before).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("segments come and go in the shadow only", () => {
  const below = disk();
  const shadow = new ShadowStore(below);
  shadow.remove(1);
  shadow.allocate(3, 8192);
  expect(shadow.list().map(({ segment }) => segment)).toEqual([2, 3]);
  expect(shadow.readSync(3, 0, 8192)).toEqual(new Uint8Array(8192));
  expect(below.list().map(({ segment }) => segment)).toEqual([1, 2]);
  expect(() => shadow.allocate(4, 2 ** 40)).toThrow(/no space/);
});

test("a torn tail is seen and left where it is", async () => {
  const world = new FsWorld();
  const { fs } = world;
  const { handle } = await world.run(fs.create(ROOT, 1, name("f"), 0o644, true, WRITE));
  await world.run(fs.write(handle, 0, bytesOf(3000), "none"));
  world.settle();
  const head = world.log.head.sequence;
  const torn = { ...world.log.endAddress };
  await world.run(fs.write(handle, 3000, bytesOf(3000), "none"));
  world.settle();
  world.disk.killProcess(new Prng(1));
  world.disk.flipBit(torn.segment, torn.offset + 400, 1);
  const before = contents(world.disk);
  const { log, tornAt, failure } = inspectLog(
    world.disk,
    { segmentBytes: 16 * 2 ** 20 },
    world.clock,
  );
  expect(failure).toBe(null);
  expect(tornAt).toEqual(torn);
  expect(log?.head.sequence).toBe(head);
  expect(contents(world.disk) === before).toBe(true);
});
