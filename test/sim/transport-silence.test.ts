/**
 * The silence guard: nothing becomes safe that is sent to a peer that is gone, and a path that only
 * loses packets, far or near, never holds anything up.
 */
import { describe, expect, it } from "vitest";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;

/** A target that the code meets on a bad line too: what holds a message up is then the silence. */
const EASY = { targetRisk: 0.02 };

/** Connected, and the round trip and loss measured. */
function warmWorld(seed: number, path: LinkChanges): World {
  const world = new World({ seed, path, config: EASY });
  world.a.write(2 ** 20);
  const isDone = () => world.a.link.acknowledgedOffset === 2 ** 20;
  expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
  return world;
}

/** A message every `everyMicros`, each waited for; when `safeOffset` last grew. */
function talk(world: World, untilMicros: number, everyMicros: number, bytes = 4096): number {
  let lastGrowthMicros = world.nowMicros;
  let known = world.a.link.safeOffset;
  while (world.nowMicros < untilMicros && world.a.link.up) {
    world.a.write(bytes);
    world.a.link.hurry(world.a.link.writtenOffset);
    world.run(Math.min(untilMicros, world.nowMicros + everyMicros), () => {
      if (world.a.link.safeOffset > known) lastGrowthMicros = world.nowMicros;
      known = world.a.link.safeOffset;
      return false;
    });
  }
  return lastGrowthMicros;
}

const FAR_MICROS = 100 * MILLISECOND;

describe("nothing becomes safe for a peer that is gone", () => {
  it.each([
    ["the peer's direction is cut", (world: World) => world.bToA.cut()],
    ["our direction is cut, and the peer still pings", (world: World) => world.aToB.cut()],
    [
      "both are cut",
      (world: World) => {
        world.aToB.cut();
        world.bToA.cut();
      },
    ],
  ] as const)("when %s", (_name, cut) => {
    for (const [everyMicros, delayMicros] of [
      [3 * MILLISECOND, 1 * MILLISECOND],
      [3 * MILLISECOND, FAR_MICROS],
      [40 * MILLISECOND, FAR_MICROS],
    ] as const) {
      const world = warmWorld(1, { delayMicros });
      talk(world, world.nowMicros + SECOND, everyMicros);
      const cutMicros = world.nowMicros;
      cut(world);
      const lastMicros = talk(world, cutMicros + 4 * SECOND, everyMicros);
      // What was on its way is still answered after a round trip; then two more and 250 ms.
      const boundMicros = 3.1 * 2 * delayMicros + 250 * MILLISECOND;
      expect(world.a.link.up, "the session must outlive the bound").toBe(true);
      expect(lastMicros - cutMicros, world.describe()).toBeLessThan(boundMicros + 10 * MILLISECOND);
      expect(lastMicros).toBeGreaterThan(cutMicros);
    }
  });

  it("nor when it went while the line was idle", () => {
    const world = warmWorld(2, {});
    world.run(world.nowMicros + 3 * SECOND);
    world.aToB.cut();
    world.bToA.cut();
    world.run(world.nowMicros + 2 * SECOND);
    const startMicros = world.nowMicros;
    expect(talk(world, startMicros + SECOND, 10 * MILLISECOND)).toBe(startMicros);
  });

  it("and all is safe again when the path came back", () => {
    const world = warmWorld(3, { delayMicros: 10 * MILLISECOND });
    world.aToB.cut();
    talk(world, world.nowMicros + 2 * SECOND, 5 * MILLISECOND, 100);
    const end = world.a.link.writtenOffset;
    expect(world.a.link.safeOffset).toBeLessThan(end);
    world.aToB.restore();
    const back = world.nowMicros;
    const isSafe = world.run(back + SECOND, () => world.a.link.safeOffset >= end);
    expect(isSafe, world.describe()).toBe(true);
    expect(world.nowMicros - back).toBeLessThan(2 * SECOND);
    expect(world.a.ups).toBe(1);
  });
});

describe("a path that lives is never held up", () => {
  const LINES: readonly (readonly [string, LinkChanges])[] = [
    ["5 % loss", { loss: { kind: "independent", share: 0.05 } }],
    ["5 % loss in bursts", { loss: { kind: "bursts", share: 0.05, meanPackets: 4 } }],
    [
      "5 % loss, 200 ms one way",
      { loss: { kind: "independent", share: 0.05 }, delayMicros: 2 * FAR_MICROS },
    ],
    ["200 ms one way", { delayMicros: 2 * FAR_MICROS }],
  ];
  it.each(LINES)("%s", (_name, path) => {
    for (const everyMicros of [5 * MILLISECOND, 70 * MILLISECOND, 1900 * MILLISECOND]) {
      const world = warmWorld(4, path);
      let longestMicros = 0;
      for (let i = 0; i < 60; i++) {
        const start = world.nowMicros;
        world.a.write(1000);
        const end = world.a.link.writtenOffset;
        world.a.link.hurry(end);
        world.run(start + 20 * SECOND, () => world.a.link.safeOffset >= end);
        longestMicros = Math.max(longestMicros, world.nowMicros - start);
        world.run(Math.max(world.nowMicros, start + everyMicros));
      }
      expect(longestMicros, world.describe()).toBeLessThan(20 * MILLISECOND);
      expect(world.a.ups).toBe(1);
    }
  });

  it("the first message of a session, far away, does not wait for the first round trip", () => {
    const world = new World({ seed: 5, path: { delayMicros: 2 * FAR_MICROS }, config: EASY });
    expect(world.run(10 * SECOND, () => world.a.ups === 1)).toBe(true);
    const start = world.nowMicros;
    world.a.write(4096);
    world.a.link.hurry(4096);
    expect(world.run(start + SECOND, () => world.a.link.safeOffset === 4096)).toBe(true);
    expect(world.nowMicros - start).toBeLessThan(20 * MILLISECOND);
  });
});
