/** The code follows the link, in virtual time, over the whole transport. */
import { describe, expect, it } from "vitest";
import type { LinkStatistics } from "../../gateway/core/transport/link.ts";
import type { Loss } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const BOUNDS = { minOverhead: 0, maxOverhead: 0.5 };

/** The last two seconds of a phase. */
const LATE_STEPS = 667;

interface Phase {
  /** Of the direction from A to B; the other one stays clean. */
  readonly loss?: Loss;
  readonly seconds: number;
}

/** A sends 2.5 kB every 3 ms, B a third of that; statistics of A at the end of each phase. */
function live(phases: readonly Phase[], isAdaptive: boolean) {
  const world = new World({
    seed: 1,
    path: { delayMicros: 20 * MILLISECOND, rateBitsPerSecond: 3e7 },
    config: { rateBitsPerSecond: 2e7, adapt: isAdaptive ? BOUNDS : null },
  });
  const ends: (LinkStatistics & { readonly lateRepairShare: number })[] = [];
  for (const { loss, seconds } of phases) {
    world.aToB.configure({ loss: loss ?? { kind: "independent", share: 0 } }, world.nowMicros);
    let before = world.a.link.statistics;
    const steps = (seconds * 1000) / 3;
    for (let n = 0; n < steps; n++) {
      if (n < steps - LATE_STEPS) before = { ...world.a.link.statistics };
      world.a.write(2500);
      if (n % 3 === 0) world.b.write(2500);
      world.run(world.nowMicros + 3 * MILLISECOND);
    }
    const after = world.a.link.statistics;
    const data = after.dataPacketsSent - before.dataPacketsSent;
    const lateRepairShare = (after.repairPacketsSent - before.repairPacketsSent) / data;
    ends.push({ ...after, lateRepairShare });
  }
  expect(world.a.wrongBytes + world.b.wrongBytes, world.describe()).toBe(0);
  return { world, ends };
}

describe("loss that comes in steps", () => {
  it.each([
    { kind: "independent", share: 0.05 },
    { kind: "bursts", share: 0.01, meanPackets: 4 },
  ] as const)("hardly more has to be sent again than by a code that stays: $kind", (loss) => {
    const phases: Phase[] = [{ seconds: 11 }, { loss, seconds: 8 }];
    const adapted = live(phases, true).world.a.link.statistics;
    const fixed = live(phases, false).world.a.link.statistics;
    expect(fixed.lostPackets).toBeGreaterThan(50);
    // Give or take what one unlucky moment does to seconds.
    expect(adapted.retransmittedPackets).toBeLessThan(1.3 * fixed.retransmittedPackets);
    expect(adapted.repairPacketsSent).toBeLessThan(1.2 * fixed.repairPacketsSent);
  });

  it("the code follows it through all of them, with hardly anything beyond repair", () => {
    const phases: Phase[] = [
      { seconds: 24 },
      { loss: { kind: "independent", share: 0.01 }, seconds: 6 },
      { loss: { kind: "independent", share: 0.05 }, seconds: 8 },
      { seconds: 55 },
    ];
    const { world, ends } = live(phases, true);
    const [clean, , bad, after] = ends as [(typeof ends)[0], ...typeof ends];
    expect(clean.lateRepairShare, world.describe()).toBeLessThan(0.04);
    expect(bad?.codeOverhead, world.describe()).toBeGreaterThan(0.2);
    expect(after?.lateRepairShare, world.describe()).toBeLessThan(0.04);
    expect(after?.codeChanges, world.describe()).toBeLessThanOrEqual(8);
    // Of what was lost, a hundredth at most was beyond repair, through all changes.
    const { lostPackets, unrecoverablePackets } = world.a.link.statistics;
    expect(lostPackets).toBeGreaterThan(200);
    expect(unrecoverablePackets, world.describe()).toBeLessThanOrEqual(lostPackets / 100);
    // The other direction knows nothing of it.
    expect(world.b.link.statistics.codeOverhead, world.describe()).toBeLessThan(0.13);
  });
});

describe("who configured no repairs", () => {
  it("gets none, whatever happens", () => {
    const code = { kind: "layered", r: 8, interleave: [] } as const;
    const path = { loss: { kind: "independent", share: 0.03 } } as const;
    const world = new World({ seed: 2, path, config: { code, adapt: BOUNDS } });
    world.a.write(4 * 2 ** 20);
    const isDone = (): boolean => world.b.receivedOffset === 4 * 2 ** 20;
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.a.link.statistics.repairPacketsSent).toBe(0);
    expect(world.a.link.statistics.codeChanges).toBe(0);
  });
});

describe("a bottleneck below the pace", () => {
  it("its losses come with queues, and are not answered with repairs", () => {
    const world = new World({
      seed: 3,
      path: { delayMicros: 10 * MILLISECOND, rateBitsPerSecond: 2e7, queueBytes: 200_000 },
      config: { rateBitsPerSecond: 1e8, adapt: BOUNDS },
    });
    world.a.write(20 * 2 ** 20);
    const isDone = (): boolean => world.b.receivedOffset === 20 * 2 ** 20;
    let most = 0;
    const watch = (): boolean => {
      most = Math.max(most, world.a.link.statistics.codeOverhead);
      return isDone();
    };
    expect(world.run(60 * SECOND, watch), world.describe()).toBe(true);
    expect(world.a.link.statistics.lostPackets).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(3 / 8);
  });
});
