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

describe("a link without repairs", () => {
  const config = { code: { kind: "layered", r: 8, interleave: [] } } as const;

  it("sends none, and still brings everything over a lossy line", () => {
    const world = new World({ seed: 3, path: independent(0.02), config });
    world.a.write(2 * MEGABYTE);
    const isDone = () => world.b.receivedOffset === 2 * MEGABYTE;
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
    const { repairPacketsSent, retransmittedPackets } = world.a.link.statistics;
    expect(repairPacketsSent).toBe(0);
    expect(retransmittedPackets).toBeGreaterThan(0);
  });

  it("calls nothing safe that was not acknowledged or copied", () => {
    const path = { ...independent(0.01), delayMicros: 50_000 };
    const world = new World({ seed: 4, path, config });
    world.a.write(20_000);
    world.run(40_000);
    expect(world.a.link.safeOffset).toBe(0);
    world.run(SECOND, () => world.a.link.safeOffset === 20_000);
    expect(world.a.link.acknowledgedOffset).toBe(20_000);
  });
});

describe("what repairs cost", () => {
  const FAR: LinkChanges = { ...independent(0.005), delayMicros: 50_000 };

  /** Messages of 4 kB every `everyMicros`; repairs sent for each data packet. */
  function repairShare(everyMicros: number, waiter: "somebody" | "nobody"): number {
    const world = new World({ seed: 1, path: FAR });
    world.a.write(MEGABYTE);
    world.run(10 * SECOND, () => world.a.link.acknowledgedOffset === MEGABYTE);
    const before = { ...world.a.link.statistics };
    for (let i = 0; i < 200; i++) {
      world.a.write(4096);
      if (waiter === "somebody") world.a.link.hurry(world.a.link.writtenOffset);
      world.run(world.nowMicros + everyMicros);
    }
    const after = world.a.link.statistics;
    const data = after.dataPacketsSent - before.dataPacketsSent;
    expect(data).toBeGreaterThanOrEqual(800);
    return (after.repairPacketsSent - before.repairPacketsSent) / data;
  }

  it("slow traffic that nobody waits for fills its groups: 3 repairs for 8 packets", () => {
    expect(repairShare(10_000, "nobody")).toBeLessThan(0.45);
  });

  it("messages that somebody waits for cost 6 repairs a packet at most", () => {
    expect(repairShare(5_000, "somebody")).toBeLessThan(6);
  });

  it("while somebody waits, the shell may not wake it late", () => {
    const world = new World({ seed: 2, path: FAR });
    world.run(SECOND);
    world.a.write(100);
    expect(world.a.link.lateMicros).toBeGreaterThan(0);
    world.a.link.hurry(100);
    expect(world.a.link.lateMicros).toBe(0);
    world.run(3 * SECOND);
    expect(world.a.link.lateMicros).toBeGreaterThan(0);
  });
});
