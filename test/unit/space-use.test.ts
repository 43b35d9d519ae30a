import { expect, test } from "vitest";
import { bytesOf, FsWorld, name, ROOT, WRITE } from "../fs-world.ts";

const SEGMENT_BYTES = 64 * 1024;

async function writeFiles(world: FsWorld, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    const { handle } = await world.run(world.fs.create(ROOT, 1, name(`f${i}`), 0o644, true, WRITE));
    await world.run(world.fs.write(handle, 0, bytesOf(10_000, i), "none"));
    await world.run(world.fs.release(handle));
  }
}

test("space is live, pinned by snapshots, cleanable, or in the last segment", async () => {
  const world = new FsWorld({ log: { segmentBytes: SEGMENT_BYTES, allocationBytes: 4096 } });
  const measure = () => world.volume.measureSpace(world.disk.list());
  await writeFiles(world, 0, 40);
  world.volume.checkpoint();
  const full = measure();
  expect(full.liveBytes).toBeGreaterThan(400_000);
  expect(full.usedBytes).toBe(world.disk.list().reduce((sum, { bytes }) => sum + bytes, 0));
  expect(full.pinnedBytes).toBe(0);
  const slack = full.reclaimableBytes;
  expect(slack).toBeLessThan(100_000);

  await world.run(world.volume.snapshots.take("kept"));
  for (let i = 0; i < 40; i += 2) await world.run(world.fs.unlink(ROOT, 1, name(`f${i}`)));
  world.volume.checkpoint();
  const pinned = measure();
  expect(pinned.liveBytes).toBeLessThan(full.liveBytes - 190_000);
  expect(pinned.pinnedBytes).toBeGreaterThan(190_000);
  expect(pinned.reclaimableBytes).toBeLessThan(slack + 40_000);

  await world.run(world.volume.snapshots.remove("kept"));
  world.volume.checkpoint();
  const free = measure();
  expect(free.pinnedBytes).toBe(0);
  expect(free.reclaimableBytes).toBeGreaterThan(190_000);
});
