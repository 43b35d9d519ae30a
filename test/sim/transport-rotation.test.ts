/** Sessions change their keys while a stream goes on, over paths that lose, reorder and duplicate. */
import { describe, expect, it } from "vitest";
import { KEY_OVERLAP_MICROS } from "../../gateway/core/transport/key-update.ts";
import type { SealedChannel } from "../../gateway/core/transport/sealed.ts";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { type Side, World } from "./transport-world.ts";

const SECOND = 1_000_000;
const CONFIG = { rekeyMicros: 2 * SECOND };
/** Slow, so that a stream lasts for several epochs. */
const SLOW: LinkChanges = { rateBitsPerSecond: 4e6, delayMicros: 20_000 };
const STREAM_BYTES = 10 * 2 ** 20;

function connected(seed: number, path: LinkChanges): World {
  const world = new World({ seed, path: { ...SLOW, ...path }, config: CONFIG });
  expect(world.run(5 * SECOND, () => world.a.ups === 1 && world.b.ups === 1)).toBe(true);
  return world;
}

/** Every key that the session of `side` has now. */
function keysOf({ link }: Side): Uint8Array[] {
  const { session } = link as unknown as { session: { channel: SealedChannel } };
  const { agreement } = session.channel;
  return [agreement.keys.send, agreement.keys.receive, agreement.keys.root];
}

const isErased = (key: Uint8Array): boolean => key.every((byte) => byte === 0);

describe("keys", () => {
  it("of a session that was closed are overwritten on both sides", () => {
    const world = connected(7, {});
    const keys = [...keysOf(world.a), ...keysOf(world.b)];
    expect(keys.some(isErased)).toBe(false);
    world.b.link.close();
    world.run(world.nowMicros + SECOND / 10);
    expect(world.a.events.at(-1)).toMatch(/^closed/);
    expect(keys.every(isErased)).toBe(true);
  });

  it("of a session that was lost are overwritten", () => {
    const world = connected(8, {});
    const keys = keysOf(world.a);
    world.bToA.cut();
    const isDown = () => world.a.events.length > 1;
    expect(world.run(world.nowMicros + 20 * SECOND, isDown), world.describe()).toBe(true);
    expect(keys.every(isErased)).toBe(true);
  });
});

describe("new keys", () => {
  it.each<[string, number, LinkChanges]>([
    ["a clean path", 1, {}],
    ["2 % loss", 2, { loss: { kind: "independent", share: 0.02 } }],
    ["reordering", 3, { jitterMicros: 5000, reorderShare: 0.05, reorderDelayMicros: 30_000 }],
    ["duplication", 4, { duplicateShare: 0.2 }],
  ])("over %s, the stream goes on in one session", (_name, seed, path) => {
    const world = connected(seed, path);
    let safe = 0;
    world.a.onProgressHook = () => {
      expect(world.a.link.safeOffset, "safeOffset never goes back").toBeGreaterThanOrEqual(safe);
      safe = world.a.link.safeOffset;
    };
    world.a.write(STREAM_BYTES);
    const isDone = () => world.b.receivedOffset === STREAM_BYTES && safe === STREAM_BYTES;
    expect(world.run(200 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
    expect([world.a.ups, world.b.ups]).toEqual([1, 1]);
    expect(world.a.link.keyEpoch, world.describe()).toBeGreaterThanOrEqual(2);
    expect(Math.abs(world.a.link.keyEpoch - world.b.link.keyEpoch)).toBeLessThanOrEqual(1);
  });

  it("an idle session changes them, too, for hours", () => {
    const world = new World({ seed: 5, config: { rekeyMicros: 120 * SECOND } });
    world.run(1250 * SECOND);
    expect(world.a.events).toEqual(["up"]);
    expect(world.a.link.keyEpoch).toBeGreaterThanOrEqual(9);
    expect(world.b.link.keyEpoch).toBe(world.a.link.keyEpoch);
  });

  it.each(["aToB", "bToA"] as const)("%s dead while they change: nothing is lost", (direction) => {
    const world = connected(6, {});
    world.a.write(2 ** 20);
    world.run(world.nowMicros + 1.9 * SECOND);
    world[direction].cut();
    world.run(world.nowMicros + 3 * SECOND);
    world[direction].restore();
    world.a.write(2 ** 20);
    const isDone = () =>
      world.b.receivedOffset === 2 ** 21 && world.a.link.acknowledgedOffset === 2 ** 21;
    expect(world.run(world.nowMicros + 60 * SECOND, isDone), world.describe()).toBe(true);
    world.run(world.nowMicros + 2 * KEY_OVERLAP_MICROS);
    expect([world.a.ups, world.b.ups], world.describe()).toEqual([1, 1]);
    expect(world.a.link.keyEpoch).toBeGreaterThanOrEqual(1);
    expect(world.b.wrongBytes).toBe(0);
  });
});
