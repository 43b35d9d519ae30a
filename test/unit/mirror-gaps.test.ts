/** Sites that have dropped old segments, and find out where they stand. */
import { describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import type { Log } from "../../logfs/core/log/log.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { MirrorSide, MirrorWorld } from "../mirror-world.ts";

const SECOND = 1_000_000;

/** Both sites hold the same log of some segments, the newest with a checkpoint. */
function worldWithCheckpoint(): MirrorWorld {
  const world = new MirrorWorld();
  world.join();
  while (world.log.endAddress.segment < 6) world.append(1000);
  world.log.append(KIND.checkpoint, 8, [], (metadata) => metadata.fill(1));
  world.append();
  world.clock.advance(20 * SECOND);
  expect(world.primary.durableSequence).toBe(world.log.head.sequence);
  return world;
}

function drop(log: Log | null, ...segments: number[]): void {
  log?.drop(segments);
}

/** The primary crashes and loses what the mirror has got already; others take the place. */
function loseTail(world: MirrorWorld, lost: number): void {
  const survivor = world.primaryDisk.copy(world.clock.schedule);
  survivor.killProcess(new Prng(1));
  for (let i = 0; i < lost; i++) world.append(50);
  world.clock.advance(SECOND);
  world.pipe.break("the primary's machine lost power");
  world.reopen(survivor);
  for (let i = 0; i < 8; i++) world.append(70);
}

describe("a mirror whose tail gives way", () => {
  test.each([
    ["the primary", [1, 2, 3, 4], []],
    ["the mirror", [], [1, 2, 3, 4]],
    ["both, each its own", [2, 4], [1, 3, 5]],
  ])("finds the common record although %s dropped segments", (_who, here, there) => {
    const world = worldWithCheckpoint();
    drop(world.log, ...here);
    drop(world.mirror.log, ...there);
    const common = world.log.head.sequence;
    loseTail(world, 5);
    world.join();
    world.clock.advance(20 * SECOND);
    expect(world.primary.reason).toBe("");
    expect(world.primary.state).toBe("streaming");
    expect(world.mirror.setAsideSequences).toEqual([1, 2, 3, 4, 5].map((i) => common + i));
    expect(world.mirror.log?.head).toEqual(world.log.head);
  });
});

describe("a mirror that lacks what the primary dropped", () => {
  test("is told so when it is empty, and nothing is sent", () => {
    const world = worldWithCheckpoint();
    drop(world.log, 1, 2);
    world.pipe.break("the mirror is replaced");
    const empty = new MirrorSide(world.clock, new SimulatedDisk(world.clock.schedule));
    empty.session.attach(world.pipe.b);
    world.pipe.join(world.primary, empty.session);
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("refused");
    expect(world.primary.reason).toMatch(
      /^the mirror is empty, and records before \d+ were dropped/,
    );
    expect(empty.log?.head.sequence).toBe(0);
  });

  test("is told so when it is an old copy", () => {
    const world = worldWithCheckpoint();
    const { log } = world.mirror;
    world.pipe.break("the mirror is put back");
    let failure: Error | null | undefined;
    log?.truncateTo(
      3,
      () => {},
      (error) => {
        failure = error;
      },
    );
    world.clock.advance(SECOND);
    expect(failure).toBeNull();
    drop(world.log, 1, 2);
    world.join();
    world.clock.advance(SECOND);
    expect(world.primary.reason).toMatch(/^the mirror ends at record 3, and records before/);
    expect(log?.head.sequence).toBe(3);
  });

  test("is fed from the gap on when it has what comes before", () => {
    const world = worldWithCheckpoint();
    world.pipe.break("cable cut");
    drop(world.log, 1, 2, 3, 4);
    for (let i = 0; i < 50; i++) world.append(1000);
    world.join();
    world.clock.advance(20 * SECOND);
    expect(world.mirror.log?.head).toEqual(world.log.head);
  });
});
