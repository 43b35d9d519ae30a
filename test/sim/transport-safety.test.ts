/**
 * `safeOffset` keeps its promise: what it told before the sender died, the receiver has from what
 * was on the wire, without a single acknowledgement.
 */
import { describe, expect, it } from "vitest";
import type { LinkChanges } from "../../netem/core/settings.ts";
import type { TransportConfig } from "../../gateway/core/transport/config.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;

/** A line whose loss both ends have measured: a first megabyte has crossed it. */
function warmWorld(seed: number, path: LinkChanges): World {
  const world = new World({ seed, path });
  world.a.write(2 ** 20);
  const isDone = () => world.a.link.acknowledgedOffset === 2 ** 20;
  expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
  world.run(world.nowMicros + SECOND);
  return world;
}

/** Writes `bytes`, waits for them to be safe; microseconds, or Infinity after `limitMicros`. */
function timeToSafe(world: World, bytes: number, limitMicros: number): number {
  const start = world.nowMicros;
  world.a.write(bytes);
  const end = world.a.link.writtenOffset;
  world.a.link.hurry(end);
  const isSafe = world.run(start + limitMicros, () => world.a.link.safeOffset >= end);
  return isSafe ? world.nowMicros - start : Infinity;
}

const FAR: LinkChanges = { delayMicros: 200 * MILLISECOND };

describe("a message that stands alone is safe long before it could be acknowledged", () => {
  it.each([
    ["1 byte", 1, 0.01, 5],
    ["4 kB", 4096, 0.01, 5],
    ["4 kB on a clean line", 4096, 0, 5],
    ["32 kB", 32768, 0.01, 10],
  ])("%s", (_name, bytes, share, limitMillis) => {
    const world = warmWorld(1, { ...FAR, loss: { kind: "independent", share } });
    for (let i = 0; i < 10; i++) {
      const micros = timeToSafe(world, bytes, SECOND);
      expect(micros, world.describe()).toBeLessThan(limitMillis * MILLISECOND);
      expect(world.a.link.riskBelow(world.a.link.writtenOffset)).toBeLessThanOrEqual(1e-6);
      world.run(world.nowMicros + 50 * MILLISECOND);
    }
  });
});

interface Death {
  readonly safeOffset: number;
  readonly acknowledgedOffset: number;
  readonly isKept: boolean;
  readonly world: World;
}

/** One life: messages and bulk in turn, some hurried, until the sender dies at a random moment. */
function liveAndDie(seed: number, path: LinkChanges, config: Partial<TransportConfig>): Death {
  const world = new World({ seed, path, config });
  const { prng } = world;
  const deathMicros = 100 * MILLISECOND + prng.below(200 * MILLISECOND);
  while (world.nowMicros < deathMicros) {
    world.a.write(prng.chance(0.1) ? prng.below(200_000) : 1 + prng.below(6000));
    if (prng.chance(0.7)) world.a.link.hurry(world.a.link.writtenOffset);
    world.run(Math.min(deathMicros, world.nowMicros + prng.below(8 * MILLISECOND)));
  }
  const { safeOffset, acknowledgedOffset } = world.a.link;
  world.killInitiator();
  world.run(deathMicros + SECOND);
  expect(world.b.wrongBytes, world.describe()).toBe(0);
  return { safeOffset, acknowledgedOffset, isKept: world.b.receivedOffset >= safeOffset, world };
}

const NEAR: LinkChanges = { delayMicros: 20 * MILLISECOND, rateBitsPerSecond: 2e8 };

describe("what was safe when the sender died is at the receiver", () => {
  it.each([
    ["0.5 % loss", { loss: { kind: "independent", share: 0.005 } }],
    ["1 % loss", { loss: { kind: "independent", share: 0.01 } }],
    ["1 % loss, reordered", { loss: { kind: "independent", share: 0.01 }, reorderShare: 0.05 }],
    ["bursts of 4", { loss: { kind: "bursts", share: 0.01, meanPackets: 4 } }],
  ] as readonly (readonly [string, LinkChanges])[])("%s", (_name, loss) => {
    let aheadOfAcks = 0;
    for (let seed = 1; seed <= 25; seed++) {
      const death = liveAndDie(seed, { ...NEAR, ...loss }, { rateBitsPerSecond: 1.8e8 });
      expect(death.isKept, death.world.describe()).toBe(true);
      if (death.safeOffset > death.acknowledgedOffset) aheadOfAcks++;
    }
    // Otherwise the test shows nothing.
    expect(aheadOfAcks).toBeGreaterThan(5);
  });

  it("while the code adapts", () => {
    for (let seed = 1; seed <= 15; seed++) {
      const path: LinkChanges = { ...NEAR, loss: { kind: "independent", share: 0.03 } };
      const adapt = { minOverhead: 0, maxOverhead: 1 };
      // Where it begins is far from what this line needs, so it changes at once.
      const code = { kind: "layered", r: 40, interleave: [1] } as const;
      const death = liveAndDie(seed, path, { rateBitsPerSecond: 1.8e8, adapt, code });
      expect(death.world.a.link.statistics.codeChanges, death.world.describe()).toBeGreaterThan(0);
      expect(death.isKept, death.world.describe()).toBe(true);
    }
  });

  it("counts no more losses than a target that is set high on purpose", () => {
    const targetRisk = 0.02;
    let lost = 0;
    const lives = 40;
    for (let seed = 1; seed <= lives; seed++) {
      const path: LinkChanges = { ...NEAR, loss: { kind: "independent", share: 0.03 } };
      if (!liveAndDie(seed, path, { rateBitsPerSecond: 1.8e8, targetRisk }).isKept) lost++;
    }
    // Three standard deviations of the binomial above the target.
    expect(lost).toBeLessThanOrEqual(lives * targetRisk + 3 * Math.sqrt(lives * targetRisk));
  });
});
