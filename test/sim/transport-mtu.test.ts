/**
 * Path MTU in virtual time: whatever the path takes is used, and a path that becomes narrower while
 * bytes flow loses none of them and stops nothing for long.
 */
import { describe, expect, it } from "vitest";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const MEBIBYTE = 2 ** 20;
/** IPv4 and UDP, as the world counts them. */
const HEADERS = 28;

const FAR: LinkChanges = { delayMicros: 25 * MILLISECOND, rateBitsPerSecond: 100e6 };

function upWorld(seed: number, path: LinkChanges): World {
  const world = new World({ seed, path });
  expect(world.run(10 * SECOND, () => world.a.ups + world.b.ups === 2)).toBe(true);
  return world;
}

function narrow(world: World, mtuBytes: number): void {
  world.aToB.configure({ mtuBytes }, world.nowMicros);
  world.bToA.configure({ mtuBytes }, world.nowMicros);
}

function expectDelivered(world: World, bytes: number): void {
  expect(world.b.receivedOffset, world.describe()).toBe(bytes);
  expect(world.b.wrongBytes).toBe(0);
  expect(world.a.ups, "one session").toBe(1);
  expect(world.a.link.safeOffset).toBe(bytes);
}

describe("finding the size", () => {
  it("takes one round trip where the operator's bound passes", () => {
    const world = upWorld(1, FAR);
    world.run(world.nowMicros + 60 * MILLISECOND);
    expect(world.a.link.datagramBytes, world.describe()).toBe(1400);
    expect(world.b.link.datagramBytes).toBe(1400);
  });

  it.each([1400, 1330, 1280, 1000, 700])("comes within 8 bytes of an MTU of %i", (mtuBytes) => {
    const world = upWorld(2, { ...FAR, mtuBytes });
    world.a.write(MEBIBYTE);
    const isDone = () => world.a.link.acknowledgedOffset === MEBIBYTE;
    expect(world.run(30 * SECOND, isDone), world.describe()).toBe(true);
    world.run(world.nowMicros + 10 * SECOND);
    expectDelivered(world, MEBIBYTE);
    const { datagramBytes } = world.a.link;
    expect(datagramBytes).toBeLessThanOrEqual(mtuBytes - HEADERS);
    expect(datagramBytes).toBeGreaterThan(mtuBytes - HEADERS - 8);
  });

  it("finds it in spite of loss", () => {
    const loss = { kind: "independent", share: 0.05 } as const;
    const world = upWorld(3, { ...FAR, loss });
    world.run(world.nowMicros + 5 * SECOND);
    expect(world.a.link.datagramBytes, world.describe()).toBe(1400);
    world.run(world.nowMicros + 300 * SECOND);
    expect(world.a.link.datagramBytes, world.describe()).toBe(1400);
  });
});

describe("a path that becomes narrower mid-stream", () => {
  it.each([
    ["1280, near", 1280, { delayMicros: MILLISECOND, rateBitsPerSecond: 100e6 }],
    ["1280, far", 1280, FAR],
    ["900: below the base", 900, FAR],
    ["1280, at 2 % loss", 1280, { ...FAR, loss: { kind: "independent", share: 0.02 } }],
  ] as const)("to %s", (_name, mtuBytes, path) => {
    const world = upWorld(4, path);
    world.a.write(8 * MEBIBYTE);
    world.run(60 * SECOND, () => world.b.receivedOffset > 2 * MEBIBYTE);
    narrow(world, mtuBytes);
    const startMicros = world.nowMicros;
    const sentBefore = world.a.link.statistics.datagramsSent;
    const moved = world.b.receivedOffset + MEBIBYTE;
    expect(world.run(startMicros + 10 * SECOND, () => world.b.receivedOffset > moved)).toBe(true);
    const isDone = () => world.a.link.acknowledgedOffset === 8 * MEBIBYTE;
    expect(world.run(startMicros + 60 * SECOND, isDone), world.describe()).toBe(true);
    expectDelivered(world, 8 * MEBIBYTE);
    // No storm: at most twice what six mebibytes take in packets of the new size, with repairs.
    const sent = world.a.link.statistics.datagramsSent - sentBefore;
    expect(sent, world.describe()).toBeLessThan((2 * 1.6 * 6 * MEBIBYTE) / (mtuBytes - 120));
  });

  it("again and again, and wide again in between", () => {
    const world = upWorld(5, FAR);
    const total = 24 * MEBIBYTE;
    world.a.write(total);
    for (const mtuBytes of [1280, 1428, 700, 1350, 640, 1428, 1300]) {
      world.run(world.nowMicros + 700 * MILLISECOND);
      narrow(world, mtuBytes);
    }
    const isDone = () => world.a.link.acknowledgedOffset === total;
    expect(world.run(world.nowMicros + 120 * SECOND, isDone), world.describe()).toBe(true);
    expectDelivered(world, total);
  });

  it("while a waiter waits: nothing is safe that the path does not take", () => {
    const world = upWorld(6, FAR);
    world.run(world.nowMicros + SECOND);
    narrow(world, 1250);
    const startMicros = world.nowMicros;
    let lastGrowthMicros = startMicros;
    let known = 0;
    for (let i = 0; i < 40; i++) {
      world.a.write(20_000);
      world.a.link.hurry(world.a.link.writtenOffset);
      world.run(world.nowMicros + 5 * MILLISECOND, () => {
        if (world.a.link.acknowledgedOffset > 0) return true;
        if (world.a.link.safeOffset > known) lastGrowthMicros = world.nowMicros;
        known = world.a.link.safeOffset;
        return false;
      });
    }
    const isSafe = () => world.a.link.safeOffset === 800_000;
    expect(world.run(startMicros + 5 * SECOND, isSafe), world.describe()).toBe(true);
    // Two round trips and 250 ms, as for a peer that is gone.
    expect(lastGrowthMicros - startMicros, world.describe()).toBeLessThan(410 * MILLISECOND);
  });
});
