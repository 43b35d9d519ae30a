/** A check looks at every snapshot's tree and table, too, and says which one it is about. */
import { expect, test } from "vitest";
import { type CheckReport, checkVolume } from "../../logfs/core/fs/check.ts";
import { FsWorld, name, ROOT } from "../fs-world.ts";
import { populate } from "../repair-world.ts";

async function check(world: FsWorld): Promise<CheckReport> {
  const { checkpoint } = world.log;
  if (checkpoint === null) throw new Error("no checkpoint");
  const options = { segments: world.disk.list(), depth: "data", paths: "find" } as const;
  return world.run(checkVolume(world.log, checkpoint, options));
}

async function withSnapshots(): Promise<FsWorld> {
  const world = new FsWorld({ nodeBytes: 1024 });
  await populate(world, 80, 3);
  for (const text of ["first", "second"]) {
    await world.run(world.volume.snapshots.take(text));
    for (const i of text === "first" ? [1, 2, 3] : [4, 5, 6]) {
      const path = name(`f${i}`);
      if ((await world.errno(() => world.fs.lookup(ROOT, 1, path))) !== "ok") continue;
      await world.run(world.fs.unlink(ROOT, 1, path));
    }
  }
  world.volume.checkpoint();
  await world.remount();
  return world;
}

test("whole snapshots have no findings, and what they share is read once", async () => {
  const world = await withSnapshots();
  const report = await check(world);
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ complete: true, errors: 0, warnings: 0 });
  expect(report.totals.trees).toBe(3);
  expect(report.totals.verifiedBlocks).toBeLessThan(report.totals.extents / 2);
});

test("a snapshot's damaged table and root are its findings, and nobody else's", async () => {
  const world = await withSnapshots();
  const [first, second] = world.volume.keptSnapshots;
  if (first === undefined || second === undefined) throw new Error("two snapshots");
  world.disk.flipBit(first.table.segment, first.table.offset + 5, 1);
  world.disk.flipBit(second.root.segment, second.root.offset + 40, 1);
  const report = await check(world);
  expect(report.complete).toBe(false);
  expect(report.findings).toMatchObject([
    { snapshot: "first", problem: "live-bytes", severity: "error" },
    { snapshot: "second", problem: "node", severity: "error" },
  ]);
});
