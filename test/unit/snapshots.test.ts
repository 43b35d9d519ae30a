import { describe, expect, test } from "vitest";
import { ERRNO } from "../../lib/errno.ts";
import { toErrno } from "../../lib/errors.ts";
import { KeptSnapshots } from "../../logfs/core/fs/kept.ts";
import { LiveBytes } from "../../logfs/core/fs/live-bytes.ts";
import { SegmentSet } from "../../logfs/core/fs/segment-set.ts";
import { MAX_SNAPSHOTS } from "../../logfs/core/fs/snapshot.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import { openVolume } from "../../logfs/core/fs/volume-open.ts";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { linesOf, LOG_ID, VolumeWorld } from "./volume-world.ts";

const value = (fill: number, length = 40): Uint8Array => new Uint8Array(length).fill(fill);

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

async function filled(items: number, options: ConstructorParameters<typeof VolumeWorld>[0] = {}) {
  const world = new VolumeWorld(options);
  for (let low = 0; low < items; low++) {
    await world.finish(world.volume.change((t) => t.put(1, low, value(low & 255))));
  }
  return world;
}

describe("taking a snapshot", () => {
  test.each(["", ".", "..", "-rf", "a/b", "a@b", "a b", "ä", "x".repeat(256)])(
    "of the name %j is refused",
    (name) => {
      const world = new VolumeWorld();
      const head = world.log.head.sequence;
      expect(() => world.volume.snapshots.take(name)).toThrow(
        expect.objectContaining({ code: "USAGE" }),
      );
      expect(world.log.head.sequence).toBe(head);
    },
  );

  test("of the longest name survives a restart", async () => {
    const world = new VolumeWorld();
    const name = "x".repeat(255);
    world.volume.snapshots.take(name);
    await world.reopen();
    expect(world.volume.keptSnapshots.map((one) => one.name)).toEqual([name]);
  });

  test("writes the changed nodes and no more, however many there are", async () => {
    const world = await filled(3000);
    world.volume.checkpoint();
    await world.finish(world.volume.change((t) => t.put(1, 1500, value(1))));
    const before = world.log.endAddress;
    world.volume.snapshots.take("now");
    const { segment, offset } = world.log.endAddress;
    expect(segment).toBe(before.segment);
    expect(world.volume.liveBytes).toBeGreaterThan(100_000);
    // Four levels of nodes of 512 bytes, a table and a superblock of a segment or two.
    expect(offset - before.offset).toBeLessThan(4 * 512 + 1500);
  });

  test("refused by a full log keeps nothing, and the volume goes on", async () => {
    const world = await filled(1, { capacityBytes: 96 * 1024 });
    const names: string[] = [];
    const refusal = (() => {
      for (let i = 0; ; i++) {
        try {
          names.push(world.volume.snapshots.take(`s${i}`).name);
        } catch (error) {
          return error;
        }
      }
    })();
    expect(toErrno(refusal)).toBe(ERRNO.ENOSPC);
    expect(world.volume.keptSnapshots.map((one) => one.name)).toEqual(names);
    await world.reopen();
    expect(world.volume.keptSnapshots.map((one) => one.name)).toEqual(names);
  });

  test("gives every slot once before one is given again, and no more than there are", () => {
    const world = new VolumeWorld({ capacityBytes: 2 ** 30 });
    const { snapshots } = world.volume;
    const slots = [snapshots.take("first").slot];
    snapshots.remove("first");
    for (let i = 1; i <= MAX_SNAPSHOTS; i++) slots.push(snapshots.take(`s${i}`).slot);
    expect(slots).toEqual([...upTo(MAX_SNAPSHOTS), 1]);
    expect(() => snapshots.take("more")).toThrow(`${MAX_SNAPSHOTS} snapshots`);
  });
});

describe("a snapshot", () => {
  test("refuses changes", () => {
    const world = new VolumeWorld();
    const volume = world.volume.openSnapshot(world.volume.snapshots.take("a"));
    expect(() => volume.change()).toThrow("EROFS");
  });

  test("that is removed answers ESTALE, also when its name is given again", async () => {
    const world = await filled(50);
    const volume = world.volume.openSnapshot(world.volume.snapshots.take("a"));
    expect(await world.finish(linesOf(volume, [1]))).toHaveLength(50);
    world.volume.snapshots.remove("a");
    world.volume.snapshots.take("a");
    expect(() => volume.view((view) => view.get(1, 0))).toThrow("ESTALE");
    expect(() => volume.readBlock(1, 4096, 10)).toThrow("ESTALE");
  });

  test("that is removed while a node is loaded answers ESTALE, not the failure of the read", async () => {
    const world = await filled(50);
    const snapshot = world.volume.snapshots.take("a");
    await world.reopen();
    const volume = world.volume.openSnapshot(snapshot);
    world.disk.makeUnreadable(snapshot.root.segment, snapshot.root.offset);
    const answer = world.finish(volume.view((view) => view.get(1, 0)));
    world.volume.snapshots.remove("a");
    await expect(answer).rejects.toThrow("ESTALE");
  });

  test("with a damaged table pins everything that may be its own, and is not rolled back to", async () => {
    const world = await filled(50);
    const snapshot = world.volume.snapshots.take("a");
    const { table } = snapshot;
    await world.reopen();
    world.disk.flipBit(table.segment, table.offset, 0);
    const listed = { snapshots: [snapshot], lastSlot: 1 };
    const loading = KeptSnapshots.load(world.log, listed, KeptSnapshots.NONE);
    expect([...(await world.finish(loading)).pinned]).toEqual(upTo(table.segment));
    await expect(world.finish(world.volume.snapshots.rollBack("a"))).rejects.toMatchObject({
      code: "DAMAGED",
    });
    const lines = linesOf(world.volume.openSnapshot(snapshot), [1]);
    expect(await world.finish(lines)).toHaveLength(50);
  });
});

test("after a rollback no inode number is given a second time", async () => {
  const world = new VolumeWorld();
  world.volume.snapshots.take("a");
  const allocate = () => world.finish(world.volume.change((t) => t.allocateInode()));
  const first = await allocate();
  await world.finish(world.volume.snapshots.rollBack("a"));
  const second = await allocate();
  await world.finish(world.volume.snapshots.rollBack("a"));
  await world.reopen();
  const third = await allocate();
  expect([first.value, second.value, third.value]).toEqual([2, 3, 4]);
});

test("a follower has the quota of its primary, and keeps it when it is opened for writing", async () => {
  const world = await filled(3);
  const quota = { bytes: 1000, inodes: 5 };
  world.volume.setQuota(quota);
  const disk = new SimulatedDisk(world.clock.schedule);
  const log = Log.create(disk, { logId: LOG_ID, ...world.logOptions }, world.clock);
  const follower = new VolumeFollower(log, world.environment, 1);
  for (const { bytes } of await world.finish(recordsOf(world.log))) log.appendRaw(bytes);
  await world.finish(follower.settled());
  expect(follower.statistics.quota).toEqual(quota);
  await world.finish(follower.close());
  const checkpoint = log.checkpoint ?? { segment: 0, offset: 0 };
  const promoted = await world.finish(openVolume(log, checkpoint, world.environment));
  const grow = () => promoted.change((t) => t.adjust({ inodes: 6 }));
  expect(grow).toThrow("EDQUOT");
});

function recordsOf(log: Log): Promise<RawRecord[]> {
  return new Promise((resolve, reject) => {
    log.readRecords(1, 2 ** 20, (error, records) => {
      if (error === null) resolve(records);
      else reject(error);
    });
  });
}

test("the age of a segment's data is that of its youngest, and survives", async () => {
  const world = new VolumeWorld();
  const seconds = () => Math.floor(world.clock.wallMicros() / 1e6);
  const put = (low: number, written?: number) =>
    world.finish(
      world.volume.change((t) => {
        t.putLocated(1, low, value(0), 0, t.addBody(value(9, 1000)));
        if (written !== undefined) t.dateBody(written);
      }),
    );
  const start = seconds();
  world.clock.advance(100e6);
  await put(0);
  world.clock.advance(100e6);
  await put(1, 5);
  // That of the moved data is known by the next checkpoint; replay takes it for new.
  expect(world.volume.live.writtenSecondsOf(1)).toBe(start + 100);
  await world.reopen();
  expect(world.volume.live.writtenSecondsOf(1)).toBe(start + 200);
  world.volume.checkpoint();
  await world.reopen();
  expect(world.volume.live.writtenSecondsOf(1)).toBe(start + 200);
});

test("a table adds up, and forgets what is gone", () => {
  const live = new LiveBytes();
  live.add(3, 100, 50);
  live.add(3, 10, 40);
  live.add(2, 5);
  expect(live.entries).toEqual([
    { segment: 2, bytes: 5, writtenSeconds: 0 },
    { segment: 3, bytes: 110, writtenSeconds: 50 },
  ]);
  const copy = live.copy();
  live.add(3, -110);
  live.add(2, -9);
  expect([live.count, live.totalBytes, live.of(3), live.writtenSecondsOf(3)]).toEqual([0, 0, 0, 0]);
  expect(copy.totalBytes).toBe(115);
});

test("a set of segments holds what it was made of", () => {
  const set = SegmentSet.of([9, 1, 2, 3, 7]);
  expect([...set]).toEqual([1, 2, 3, 7, 9]);
  expect([0, 1, 3, 4, 6, 7, 8, 9, 10].filter((one) => set.has(one))).toEqual([1, 3, 7, 9]);
  expect([...SegmentSet.union([set, SegmentSet.of([4, 8]), SegmentSet.EMPTY])]).toEqual([
    1, 2, 3, 4, 7, 8, 9,
  ]);
  expect([...SegmentSet.upTo(3)]).toEqual([1, 2, 3]);
});
