/** Laws of the reorder buffer: every packet once, in order, and nothing waits longer than allowed. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Reorder } from "../../gateway/core/ip/reorder.ts";

const SLOTS = 64;
const HOLD = 1000;
const HORIZON = 40;

interface Delivered {
  readonly id: number;
  readonly atMicros: number;
}

class World {
  readonly delivered: Delivered[] = [];
  now = 0;
  readonly reorder = new Reorder({
    slots: SLOTS,
    slotBytes: 8,
    holdMicros: HOLD,
    horizonPackets: HORIZON,
    deliver: (packet) => {
      const id = new DataView(packet.buffer, packet.byteOffset).getUint32(0);
      this.delivered.push({ id, atMicros: this.now });
    },
  });

  arrive(id: number, isPatient = true): void {
    const packet = new Uint8Array(4);
    new DataView(packet.buffer).setUint32(0, id);
    this.reorder.take(id, packet, isPatient, this.now);
  }

  advance(micros: number): void {
    const end = this.now + micros;
    while (this.reorder.timeoutMicros <= end) {
      this.now = Math.max(this.now, this.reorder.timeoutMicros);
      this.reorder.handleTimeout(this.now);
    }
    this.now = end;
  }

  get ids(): number[] {
    return this.delivered.map(({ id }) => id);
  }
}

const arrival = fc.record({
  /** How far behind its turn it comes; 0 for most. */
  late: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(30) }),
  isLost: fc.oneof(
    { weight: 9, arbitrary: fc.constant(false) },
    { arbitrary: fc.constant(true), weight: 1 },
  ),
  isPatient: fc.oneof(
    { weight: 4, arbitrary: fc.constant(true) },
    { arbitrary: fc.constant(false), weight: 1 },
  ),
  gapMicros: fc.nat(200),
});

it("every packet is delivered once, the patient in order, and none waits longer than the hold time", () => {
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 1, maxLength: 150 }), (arrivals) => {
      const world = new World();
      const cameAt = new Map<number, number>();
      const order = arrivals
        .map((each, id) => ({ ...each, id, turn: id + each.late }))
        .filter(({ isLost }) => !isLost)
        .toSorted((a, b) => a.turn - b.turn);
      for (const { id, isPatient, gapMicros } of order) {
        cameAt.set(id, world.now);
        world.arrive(id, isPatient);
        world.advance(gapMicros);
      }
      world.advance(100 * HOLD);
      expect(world.ids.toSorted((a, b) => a - b)).toEqual(
        order.map(({ id }) => id).toSorted((a, b) => a - b),
      );
      for (const { id, atMicros } of world.delivered) {
        // A packet may have to see off several gaps, but each one's time began before it came.
        expect(atMicros - (cameAt.get(id) ?? 0)).toBeLessThanOrEqual(HOLD);
      }
      const { late } = world.reorder.statistics;
      if (late > 0) return;
      const patient = new Set(order.filter((each) => each.isPatient).map(({ id }) => id));
      const seen = world.ids.filter((id) => patient.has(id));
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    }),
    { numRuns: 500 },
  );
});

it("a gap that is filled lets everything behind it go at once", () => {
  const world = new World();
  for (const id of [0, 2, 3, 4]) world.arrive(id);
  expect(world.ids).toEqual([0]);
  world.arrive(1);
  expect(world.ids).toEqual([0, 1, 2, 3, 4]);
  expect(world.reorder.timeoutMicros).toBe(Infinity);
});

it("a gap behind the code's horizon is given up without waiting for the time", () => {
  const world = new World();
  world.arrive(0);
  for (let id = 2; id <= HORIZON + 1; id++) world.arrive(id);
  expect(world.ids).toHaveLength(HORIZON + 1);
  expect(world.now).toBe(0);
});

it("packets that need no order pass those that wait", () => {
  const world = new World();
  world.arrive(1);
  world.arrive(2, false);
  expect(world.ids).toEqual([2]);
  world.advance(HOLD);
  expect(world.ids).toEqual([2, 1]);
});

it("an id that carries nothing leaves no gap", () => {
  const world = new World();
  world.reorder.skip(0, 0);
  world.arrive(1);
  world.arrive(3);
  world.reorder.skip(2, 0);
  expect(world.ids).toEqual([1, 3]);
});

it("a jump further than the slots delivers what waits and goes on from there", () => {
  const world = new World();
  world.arrive(1);
  world.arrive(1_000_000);
  world.advance(HOLD);
  expect(world.ids).toEqual([1, 1_000_000]);
});

it("a new session begins at 0 again", () => {
  const world = new World();
  for (const id of [0, 1, 2, 4]) world.arrive(id);
  world.reorder.restart();
  for (const id of [0, 1]) world.arrive(id);
  expect(world.ids).toEqual([0, 1, 2, 4, 0, 1]);
});
