/** Laws of the transport over every kind of bad line, in virtual time. */
import { describe, expect, it } from "vitest";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MEGABYTE = 2 ** 20;
const SECOND = 1_000_000;

function independent(share: number): LinkChanges {
  return { loss: { kind: "independent", share } };
}

const LINES: readonly (readonly [string, LinkChanges])[] = [
  ["no loss", {}],
  ["1 % loss", independent(0.01)],
  ["5 % loss", independent(0.05)],
  ["20 % loss", independent(0.2)],
  ["bursts of 8", { loss: { kind: "bursts", share: 0.01, meanPackets: 8 } }],
  ["bursts of 64", { loss: { kind: "bursts", share: 0.02, meanPackets: 64 } }],
  ["reordering", { reorderShare: 0.1, reorderDelayMicros: 3000 }],
  ["duplication", { duplicateShare: 0.2 }],
  [
    "everything at once, far away",
    {
      ...independent(0.02),
      delayMicros: 100_000,
      jitterMicros: 5000,
      reorderShare: 0.02,
      duplicateShare: 0.02,
    },
  ],
  ["a bottleneck of a tenth of the pace", { rateBitsPerSecond: 1e8, delayMicros: 20_000 }],
];

describe("a stream arrives whole and in order", () => {
  it.each(LINES)("over %s", (_name, path) => {
    const world = new World({ seed: 1, path });
    world.a.write(3 * MEGABYTE);
    world.b.write(MEGABYTE);
    const isDone = () =>
      world.b.receivedOffset === 3 * MEGABYTE && world.a.receivedOffset === MEGABYTE;
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.a.wrongBytes + world.b.wrongBytes, world.describe()).toBe(0);
    expect(world.a.ups).toBe(1);
  });
});
