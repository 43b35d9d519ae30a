import { describe, expect, test } from "vitest";
import { type CheckReport, checkVolume } from "../../logfs/core/fs/check.ts";
import { decodeExtent, ITEM, keyOf, ORPHANS } from "../../logfs/core/fs/items.ts";
import { breakages, change, populated } from "../broken-world.ts";
import type { FsWorld } from "../fs-world.ts";

async function check(world: FsWorld, depth: "structure" | "data" = "data"): Promise<CheckReport> {
  const { checkpoint } = world.log;
  if (checkpoint === null) throw new Error("no checkpoint");
  const segments = world.disk.list();
  return world.run(checkVolume(world.log, checkpoint, { segments, depth, cacheBytes: 20_000 }));
}

describe("a whole file system", () => {
  test("has no findings, before and after checkpoint and remount", async () => {
    const { world } = await populated();
    const steps = [
      async () => {},
      async () => void world.volume.checkpoint(),
      () => world.remount(),
    ];
    for (const step of steps) {
      await step();
      const report = await check(world);
      expect(report.findings).toEqual([]);
      expect(report).toMatchObject({ complete: true, errors: 0, warnings: 0 });
      expect(report.sequence).toBe(world.log.head.sequence);
      expect(report.totals.entries).toBe(65);
      expect(report.totals.directories).toBe(3);
      expect(report.totals.verifiedBlocks).toBeGreaterThan(60);
      expect(report.totals.treeNodes).toBeGreaterThan(20);
    }
  });
});

describe("a check finds", () => {
  test.each(breakages)("%s", async (_, breakIt, words, about) => {
    const { world, ids } = await populated();
    await change(world, (t) => breakIt(t, ids));
    const { findings, errors, warnings } = await check(world, "structure");
    const matching = findings.filter(({ what }) => words.test(what));
    expect(matching, JSON.stringify(findings)).not.toEqual([]);
    if (about !== null) expect(matching[0]?.inode).toBe(ids[about]);
    expect(errors + warnings).toBe(findings.length);
  });

  test("damaged data, when it reads data", async () => {
    const { world, ids } = await populated();
    world.clock.drain();
    await world.remount();
    const { segment, offset } = await world.run(
      world.volume.view((view) => {
        const low = view.floor(keyOf(ids.big, ITEM.extent), 0);
        return decodeExtent(low?.value as Uint8Array);
      }),
    );
    world.disk.flipBit(segment, offset + 10, 1);
    expect((await check(world, "structure")).findings).toEqual([]);
    const { findings } = await check(world, "data");
    // A write in the middle has cut the extent in two; both parts need the whole block.
    expect(findings).toMatchObject([
      { inode: ids.big, problem: "data", address: { segment, offset }, severity: "error" },
    ]);
    expect(findings[0]?.range).toEqual({ from: 0, to: 65_536 });
  });

  test("a damaged node, and does not call missing what stood below it", async () => {
    const { world } = await populated();
    world.volume.checkpoint();
    await world.remount();
    const { segment, offset } = world.log.checkpoint ?? { segment: 0, offset: 0 };
    // The root stands right before the checkpoint record; its children before it.
    world.disk.flipBit(segment, offset - 2000, 0);
    const report = await check(world);
    expect(report.complete).toBe(false);
    expect(report.findings).toEqual([
      expect.objectContaining({ what: expect.stringMatching(/tree node at .*: checksum/) }),
    ]);
  });
});

test("findings are bounded, and counted all the same", async () => {
  const { world, ids } = await populated();
  await change(world, (t) => {
    for (let i = 0; i < 50; i++) t.put(ORPHANS, 1_000_000 + i, new Uint8Array(0));
    void ids;
  });
  const { checkpoint } = world.log;
  if (checkpoint === null) throw new Error("no checkpoint");
  const options = { segments: world.disk.list(), depth: "structure" as const, maxFindings: 10 };
  const report = await world.run(checkVolume(world.log, checkpoint, options));
  expect(report.findings.length).toBe(10);
  expect(report.errors).toBe(50);
});
