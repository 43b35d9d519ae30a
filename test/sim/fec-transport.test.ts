/** The transport over each kind of code: streams arrive whole, and waiters hear of safety early. */
import { describe, expect, it } from "vitest";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MEGABYTE = 2 ** 20;
const SECOND = 1_000_000;

const CODES: readonly CodeParameters[] = [
  { kind: "sliding-window", r: 8, c: 3, window: 400, density: 2 },
  { kind: "sliding-window", r: 2, c: 1, window: 32, density: 16 },
  { kind: "block", k: 8, m: 3, interleave: 8 },
  // Sparser than what the receiver's own configuration says.
  { kind: "layered", r: 20, interleave: [1, 400] },
];
const PATHS: readonly LinkChanges[] = [
  { loss: { kind: "independent", share: 0.02 }, reorderShare: 0.02, delayMicros: 30_000 },
  { loss: { kind: "bursts", share: 0.01, meanPackets: 8 }, delayMicros: 30_000 },
];

describe.each(CODES)("a link with the code %j", (code) => {
  it.each(PATHS)("brings everything over %j", (path) => {
    const world = new World({ seed: 11, path, config: { code } });
    world.a.write(2 * MEGABYTE);
    const isDone = () => world.b.receivedOffset === 2 * MEGABYTE;
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });

  it("rebuilds most of what is lost instead of sending it again", () => {
    const path = { loss: { kind: "independent", share: 0.01 }, delayMicros: 30_000 } as const;
    const world = new World({ seed: 12, path, config: { code } });
    world.a.write(8 * MEGABYTE);
    world.run(60 * SECOND, () => world.a.link.acknowledgedOffset === 8 * MEGABYTE);
    const { rebuiltPackets, retransmittedPackets } = world.a.link.statistics;
    expect(rebuiltPackets, world.describe()).toBeGreaterThan(20);
    expect(retransmittedPackets, world.describe()).toBeLessThan(rebuiltPackets / 2);
  });

  it("tells a waiter of safety long before the acknowledgement", () => {
    const path = { loss: { kind: "independent", share: 0.002 }, delayMicros: 50_000 } as const;
    const world = new World({ seed: 5, path, config: { code } });
    world.a.write(2 * MEGABYTE);
    world.run(20 * SECOND, () => world.a.link.acknowledgedOffset === 2 * MEGABYTE);
    const start = world.nowMicros;
    world.a.write(4096);
    const end = world.a.link.writtenOffset;
    world.a.link.hurry(end);
    world.run(start + SECOND, () => world.a.link.safeOffset >= end);
    expect(world.a.link.acknowledgedOffset).toBeLessThan(end);
    expect(world.nowMicros - start, world.describe()).toBeLessThan(50_000);
  });
});
