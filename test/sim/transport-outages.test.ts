/**
 * Outages and odd paths in virtual time: minutes without a packet, one direction dead, packets far
 * out of order or twice. What the session survives arrives whole; what it does not begins again.
 */
import { describe, expect, it } from "vitest";
import type { TransportConfig } from "../../gateway/core/transport/config.ts";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const MEBIBYTE = 2 ** 20;
const FAR: LinkChanges = { delayMicros: 25 * MILLISECOND, rateBitsPerSecond: 100e6 };
/** A session that is not given up. */
const PATIENT: Partial<TransportConfig> = { deadAfterMicros: 60 * MINUTE };
/** What is lost is lost by the path. */
const UNCONGESTED: Partial<TransportConfig> = { rateBitsPerSecond: 80e6 };

function upWorld(seed: number, path: LinkChanges, config: Partial<TransportConfig>): World {
  const world = new World({ seed, path, config });
  expect(world.run(10 * SECOND, () => world.a.ups + world.b.ups === 2)).toBe(true);
  return world;
}

function midStream(world: World, bytes: number): void {
  world.a.write(bytes);
  world.b.write(bytes);
  const isUnderWay = () => world.b.receivedOffset > bytes / 4;
  expect(world.run(world.nowMicros + MINUTE, isUnderWay), world.describe()).toBe(true);
}

function expectBothWhole(world: World, bytes: number, withinMicros: number): void {
  const { a, b } = world;
  const isDone = () => a.link.acknowledgedOffset === bytes && b.link.acknowledgedOffset === bytes;
  expect(world.run(world.nowMicros + withinMicros, isDone), world.describe()).toBe(true);
  expect([a.receivedOffset, b.receivedOffset]).toEqual([bytes, bytes]);
  expect([a.wrongBytes, b.wrongBytes]).toEqual([0, 0]);
  expect([a.link.safeOffset, b.link.safeOffset]).toEqual([bytes, bytes]);
}

function sentBy(world: World): number {
  return world.a.link.statistics.datagramsSent + world.b.link.statistics.datagramsSent;
}

type Cut = (world: World) => void;
const BOTH: Cut = ({ aToB, bToA }) => {
  aToB.cut();
  bToA.cut();
};
const THERE: Cut = ({ aToB }) => aToB.cut();
const BACK: Cut = ({ bToA }) => bToA.cut();

function restore({ aToB, bToA }: World): void {
  aToB.restore();
  bToA.restore();
}

describe("a session that is not given up", () => {
  it.each([
    ["ten minutes of blackout", BOTH, 10 * MINUTE, 14],
    ["a minute without our direction", THERE, MINUTE, 28],
    ["a minute without the other direction", BACK, MINUTE, 28],
  ] as const)("survives %s mid-stream, without a flood", (_name, cut, micros, perSecond) => {
    const world = upWorld(1, FAR, PATIENT);
    const bytes = 4 * MEBIBYTE;
    midStream(world, bytes);
    cut(world);
    world.run(world.nowMicros + 2 * SECOND);
    const safe = [world.a.link.safeOffset, world.b.link.safeOffset];
    const before = sentBy(world);
    world.run(world.nowMicros + micros);
    // Of each side, about once a second: pings, a probe of the path's MTU, an ack that says what is
    // missing, a packet again with its repairs; and answers to what arrives.
    expect(sentBy(world) - before, world.describe()).toBeLessThan((perSecond * micros) / SECOND);
    if (cut === BOTH) expect([world.a.link.safeOffset, world.b.link.safeOffset]).toEqual(safe);
    restore(world);
    expectBothWhole(world, bytes, 20 * SECOND);
    expect([world.a.ups, world.b.ups]).toEqual([1, 1]);
    expect(world.a.link.datagramBytes, "an outage says nothing of the path's MTU").toBe(1400);
  });
});

describe("a session that is given up", () => {
  it("ten minutes of blackout: an init every two seconds, then all begins again", () => {
    const world = upWorld(2, FAR, {});
    midStream(world, 4 * MEBIBYTE);
    BOTH(world);
    world.run(world.nowMicros + 10 * SECOND);
    expect(world.a.link.up || world.b.link.up).toBe(false);
    const before = sentBy(world);
    world.run(world.nowMicros + 10 * MINUTE);
    expect(sentBy(world) - before).toBeLessThan(700);
    restore(world);
    expect(world.run(world.nowMicros + 6 * SECOND, () => world.b.ups === 2)).toBe(true);
    world.b.receivedOffset = 0;
    const left = world.a.link.writtenOffset;
    world.a.write(MEBIBYTE - left);
    const isDone = () => world.b.receivedOffset >= MEBIBYTE;
    expect(world.run(world.nowMicros + 10 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });
});

describe("odd paths", () => {
  it("packets that 1,000 others overtake are not sent again without need", () => {
    // 1,000 full packets at 100 Mbit/s.
    const reorder = { reorderShare: 0.002, reorderDelayMicros: 115 * MILLISECOND };
    const world = upWorld(3, { ...FAR, ...reorder }, UNCONGESTED);
    const bytes = 16 * MEBIBYTE;
    world.a.write(bytes);
    const isDone = () => world.a.link.acknowledgedOffset === bytes;
    expect(world.run(world.nowMicros + MINUTE, isDone), world.describe()).toBe(true);
    expect([world.b.receivedOffset, world.b.wrongBytes]).toEqual([bytes, 0]);
    const { dataPacketsSent, retransmittedPackets } = world.a.link.statistics;
    expect(world.aToB.statistics.reordered).toBeGreaterThan(10);
    expect(retransmittedPackets, world.describe()).toBeLessThan(0.005 * dataPacketsSent);
  });

  it("half of all packets come twice", () => {
    const world = upWorld(4, { ...FAR, duplicateShare: 0.5 }, UNCONGESTED);
    const bytes = 4 * MEBIBYTE;
    midStream(world, bytes);
    expectBothWhole(world, bytes, MINUTE);
    expect(world.a.link.statistics.retransmittedPackets, world.describe()).toBeLessThan(10);
  });

  it.each([
    ["forward", 3 * 60 * MINUTE],
    ["back", -3 * 60 * MINUTE],
  ])("a wall clock set %s by hours between two lives of the initiator", (_name, jumpMicros) => {
    const world = upWorld(5, FAR, {});
    midStream(world, MEBIBYTE);
    world.restartInitiator(jumpMicros);
    const isBack = () => world.a.ups === 1 && world.b.ups === 2;
    // At worst after the old session's end, and the next init.
    expect(world.run(world.nowMicros + 10 * SECOND, isBack), world.describe()).toBe(true);
    world.a.write(MEBIBYTE);
    const isDone = () => world.b.receivedOffset === MEBIBYTE;
    expect(world.run(world.nowMicros + MINUTE, isDone), world.describe()).toBe(true);
    world.restartInitiator(0);
    const again = () => world.a.ups === 1 && world.b.ups === 3;
    expect(world.run(world.nowMicros + 10 * SECOND, again), world.describe()).toBe(true);
  });
});
