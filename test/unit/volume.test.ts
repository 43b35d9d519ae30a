import { describe, expect, test } from "vitest";
import { fail, SmfsError, toErrno } from "../../lib/errors.ts";
import { ERRNO } from "../../lib/errno.ts";
import { viewOf } from "../../lib/codec.ts";
import { Prng } from "../../lib/prng.ts";
import { MAX_OPERATION_BYTES } from "../../logfs/core/fs/transaction.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { checkVolume } from "../../logfs/core/fs/check.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import { openVolume } from "../../logfs/core/fs/volume-open.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { linesOf, LOG_ID, VolumeWorld } from "./volume-world.ts";

const value = (byte: number, length = 40) => new Uint8Array(length).fill(byte);

async function filled(items: number, options = {}): Promise<VolumeWorld> {
  const world = new VolumeWorld(options);
  for (let low = 0; low < items; low++) {
    await world.finish(world.volume.change((t) => t.put(1, low, value(low & 255))));
  }
  return world;
}

const count = (world: VolumeWorld, high = 1) =>
  world.finish(
    world.volume.view((view) => {
      let items = 0;
      view.scan(high, 0, 1e9, () => ++items > 0);
      return items;
    }),
  );

describe("a changing operation", () => {
  test("that throws has changed nothing and taken no inode", async () => {
    const world = await filled(3);
    const { inodes } = world.volume.statistics;
    const head = world.volume.headSequence;
    expect(() =>
      world.volume.change((t) => {
        t.put(1, 99, value(1));
        t.adjust({ inodes: 1 });
        t.allocateInode();
        fail("EEXIST");
      }),
    ).toThrow("EEXIST");
    expect(await count(world)).toBe(3);
    expect(world.volume.statistics.inodes).toBe(inodes);
    expect(world.volume.headSequence).toBe(head);
    const first = await world.finish(world.volume.change((t) => t.allocateInode()));
    const second = await world.finish(world.volume.change((t) => t.allocateInode()));
    expect([first.value, second.value]).toEqual([2, 3]);
  });

  test("that changes nothing makes no record", async () => {
    const world = await filled(1);
    const head = world.volume.headSequence;
    expect(world.volume.change((t) => t.delete(1, 77))).toEqual({
      value: undefined,
      sequence: head,
    });
  });

  test("gets the address of its body into the values that ask for it", async () => {
    const world = new VolumeWorld();
    const { value: where } = await world.finish(
      world.volume.change((t) => {
        t.addBody(value(1, 100));
        const at = t.addBody(value(2, 50));
        t.putLocated(9, 0, value(0, 24), 8, at);
        return at;
      }),
    );
    expect(where).toBe(100);
    for (const again of [false, true]) {
      if (again) await world.reopen();
      const item = await world.finish(world.volume.view((v) => v.get(9, 0)?.slice()));
      const view = viewOf(item as Uint8Array);
      const [segment, offset] = [view.getUint32(8, true), view.getUint32(12, true)];
      expect(await world.finish(world.volume.readBlock(segment, offset, 50))).toEqual(value(2, 50));
    }
  });

  test("refused by a full log leaves no trace, and freeing still works", async () => {
    const world = await filled(10, { capacityBytes: 128 * 1024 });
    const big = value(1, 4096);
    const write = () => world.volume.change((t) => t.adjust({ dataBytes: t.addBody(big) + 1 }));
    let written = 0;
    const refusal = (() => {
      for (;;) {
        const before = world.volume.statistics;
        try {
          void write();
          written++;
        } catch (error) {
          expect(world.volume.statistics).toEqual(before);
          return error;
        }
      }
    })();
    expect(written).toBeGreaterThan(3);
    expect(toErrno(refusal)).toBe(ERRNO.ENOSPC);
    expect(world.volume.statistics.dataBytes).toBe(written);
    await world.finish(world.volume.change((t) => t.delete(1, 5), true));
    expect(await count(world)).toBe(9);
  });

  test("too large for one record is refused whole", async () => {
    const world = new VolumeWorld({ nodeBytes: 16384, log: { maxRecordBytes: 64 * 1024 } });
    const tooMuch = (items: number) => () =>
      world.volume.change((t) => {
        for (let low = 0; low < items; low++) t.put(1, low, value(1, 4000));
      });
    expect(tooMuch(17)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
    expect(tooMuch(MAX_OPERATION_BYTES / 4000)).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
    expect(await count(world)).toBe(0);
  });
});

describe("loading", () => {
  test("operations that miss the same node share one read", async () => {
    const world = await filled(3);
    world.volume.close();
    await world.reopen();
    const reads = world.disk.statistics.reads;
    const answers = [1, 2, 3].map(() => world.volume.view((v) => v.get(1, 2)?.slice()));
    for (const answer of answers) {
      expect(answer).toBeInstanceOf(Promise);
      expect(await world.finish(answer)).toEqual(value(2));
    }
    expect(world.disk.statistics.reads - reads).toBe(1);
    expect(world.volume.statistics.misses).toBe(1);
  });

  test("an operation ends however often the cache is emptied meanwhile", async () => {
    const world = await filled(200, { limits: { cacheBytes: 0 }, log: { tailBytes: 4096 } });
    world.volume.close();
    await world.reopen();
    let ended = false;
    const long = count(world).finally(() => {
      ended = true;
    });
    for (let i = 0; i < 300; i++) {
      // As a promise, even when it is answered at once: time must pass for the other.
      await world.finish(Promise.resolve(world.volume.view((v) => v.get(1, 100))));
    }
    expect(ended).toBe(true);
    expect(await long).toBe(200);
    expect(world.volume.statistics.cachedNodes).toBeLessThan(5);
  });

  test("small leaves are joined although their neighbours were not in memory", async () => {
    const world = await filled(400, { limits: { cacheBytes: 0 }, log: { tailBytes: 4096 } });
    for (let i = 0; i < 400; i++) {
      const low = (i * 149) % 400;
      if (low % 10 === 0) continue;
      await world.finish(world.volume.change((t) => t.delete(1, low), true));
      // All clean, and the cache keeps nothing.
      world.volume.checkpoint();
    }
    world.volume.close();
    const options = { segments: world.disk.list(), depth: "structure" as const };
    const checkpoint = world.log.checkpoint ?? { segment: 0, offset: 0 };
    const { totals } = await world.finish(checkVolume(world.log, checkpoint, options));
    expect(totals.items).toBe(40);
    // At least two items in a leaf, and few inner nodes; one in each would make 53 nodes.
    expect(totals.treeNodes).toBeLessThan(40);
  });

  test("a damaged node is an error that says where, and its neighbours are still read", async () => {
    const world = await filled(60);
    world.volume.close();
    await world.reopen();
    // The last item's bytes stand in the newest copy of its leaf, somewhere before the checkpoint.
    const { segment } = world.log.checkpoint ?? { segment: 0 };
    const file = world.disk.readSync(segment, 0, 256 * 1024);
    const needle = value(59);
    let at = -1;
    for (let i = 0; i < file.length - 40; i++) {
      if (needle.every((byte, k) => file[i + k] === byte)) at = i;
    }
    world.disk.flipBit(segment, at, 3);
    const damaged = async () => world.finish(world.volume.view((v) => v.get(1, 59)));
    await expect(damaged()).rejects.toMatchObject({
      code: "DAMAGED",
      message: expect.stringMatching(/tree node at segment \d+ offset \d+: checksum/),
    });
    expect(await world.finish(world.volume.view((v) => v.get(1, 0)?.slice()))).toEqual(value(0));
  });

  test("an unreadable sector is EIO to the operation that needs it", async () => {
    const world = await filled(3);
    world.volume.close();
    await world.reopen();
    const { segment } = world.log.checkpoint ?? { segment: 0 };
    for (let offset = 0; offset < 16384; offset += 512) world.disk.makeUnreadable(segment, offset);
    const attempt = async () => world.finish(world.volume.view((v) => v.get(1, 0)));
    await expect(attempt()).rejects.toSatisfy((error) => toErrno(error) === ERRNO.EIO);
  });
});

/** Adds items, reserve and all, until the log takes no more; gives their number. */
async function fill(world: VolumeWorld): Promise<number> {
  for (let low = 1; ; low++) {
    try {
      await world.finish(world.volume.change((t) => t.put(1, low, value(low & 255)), true));
    } catch (error) {
      expect(toErrno(error)).toBe(ERRNO.ENOSPC);
      return low;
    }
  }
}

describe("checkpoints", () => {
  test("a refused checkpoint fails no operation and loses nothing", async () => {
    let failures = 0;
    for (let kib = 128; kib < 192; kib += 8) {
      const limits = { dirtyBytes: 12_000, cacheBytes: 4096 };
      const world = await filled(1, { limits, capacityBytes: kib * 1024 });
      const items = await fill(world);
      failures += world.volume.statistics.checkpointFailures;
      expect(() => world.volume.checkpoint()).toThrow(
        expect.objectContaining({ code: "NO_SPACE" }),
      );
      expect(await count(world)).toBe(items);
      await world.reopen();
      expect(await count(world)).toBe(items);
    }
    expect(failures).toBeGreaterThan(0);
  });

  test("are written when the leaves that changed are gone", async () => {
    for (let from = 0; from < 8; from++) {
      for (let to = from + 1; to < from + 8; to++) {
        const world = await filled(20);
        world.volume.checkpoint();
        await world.reopen();
        const remove = world.volume.change((t) => {
          for (let low = from; low < to; low++) t.delete(1, low);
        });
        await world.finish(remove);
        world.volume.checkpoint();
        expect(await count(world)).toBe(20 - (to - from));
      }
    }
  });

  test("are prepared a step at a time: no operation writes all that is dirty", async () => {
    const limits = { dirtyBytes: 2 * 2 ** 20, cacheBytes: 64 * 2 ** 20 };
    const world = new VolumeWorld({ limits, nodeBytes: 16384, log: { segmentBytes: 2 ** 25 } });
    const random = new Prng(5);
    let most = 0;
    while (world.volume.statistics.checkpoints < 2) {
      const { offset, segment } = world.log.endAddress;
      const low = random.below(2 ** 40);
      await world.finish(world.volume.change((t) => t.put(1, low, value(1, 100))));
      const end = world.log.endAddress;
      if (end.segment === segment) most = Math.max(most, end.offset - offset);
      if (world.log.unwrittenBytes > 2 ** 20) await world.durable();
    }
    expect(most).toBeLessThan(limits.dirtyBytes / 3);
    // What was written ahead and what it replaced is accounted for exactly.
    world.volume.close();
    const options = { segments: world.disk.list(), depth: "structure" as const };
    const checkpoint = world.log.checkpoint ?? { segment: 0, offset: 0 };
    const { totals } = await world.finish(checkVolume(world.log, checkpoint, options));
    expect(world.volume.liveBytes).toBe(totals.treeBytes);
  });

  test("that are asked for can be prepared in steps too", async () => {
    const limits = { dirtyBytes: 2 ** 19 };
    const world = new VolumeWorld({ limits, nodeBytes: 4096, log: { segmentBytes: 2 ** 23 } });
    const filling = world.volume.change((t) => {
      for (let low = 0; low < 1500; low++) t.put(1, low, value(1, 100));
    });
    await world.finish(filling);
    let steps = 1;
    for (; world.volume.writeAhead(); steps++) {
      expect(world.volume.statistics.checkpoints).toBe(0);
    }
    expect(steps).toBeGreaterThan(2);
    const { offset } = world.log.endAddress;
    world.volume.checkpoint();
    expect(world.log.endAddress.offset - offset).toBeLessThan(10_000);
    await world.reopen();
    expect(world.volume.statistics.replayedRecords).toBe(0);
    expect(await count(world)).toBe(1500);
  });

  test("come when too much is dirty, and when too much would be replayed", async () => {
    const dirty = await filled(100, { limits: { dirtyBytes: 2000 } });
    expect(dirty.volume.statistics.checkpoints).toBeGreaterThan(2);
    expect(dirty.volume.statistics.dirtyBytes).toBeLessThan(2600);
    const replay = new VolumeWorld({ limits: { replayBytes: 2000 } });
    for (let i = 0; i < 100; i++) void replay.volume.change((t) => t.put(1, 0, value(i)));
    expect(replay.volume.statistics.checkpoints).toBeGreaterThan(2);
    const records = new VolumeWorld({ limits: { replayRecords: 20 } });
    for (let i = 0; i < 100; i++) void records.volume.change((t) => t.put(1, 0, value(i)));
    expect(records.volume.statistics.checkpoints).toBe(5);
  });

  test("live bytes are what files and nodes refer to", async () => {
    const world = new VolumeWorld();
    const put = (low: number) =>
      world.volume.change((t) => t.putLocated(1, low, value(0), 0, t.addBody(value(9, 1000))));
    void put(0);
    void put(1);
    world.volume.checkpoint();
    const root = world.volume.liveBytes;
    expect(root - 2000).toBeLessThan(512);
    const address = world.volume.view((v) => v.get(1, 0)?.slice());
    const view = viewOf(address as Uint8Array);
    void world.volume.change((t) => {
      t.delete(1, 0);
      t.free(view.getUint32(0, true), view.getUint32(4, true), 1000);
    });
    const before = world.volume.liveBytes;
    expect(root - before).toBe(1000);
    await world.reopen();
    expect(world.volume.liveBytes).toBe(before);
  });
});

describe("opening", () => {
  test("replays nothing after close, and every record after a kill", async () => {
    const world = await filled(5);
    await world.reopen();
    expect(world.volume.statistics.replayedRecords).toBe(5);
    world.volume.close();
    await world.reopen();
    expect(world.volume.statistics.replayedRecords).toBe(0);
    expect(await count(world)).toBe(5);
  });

  test("an address without a checkpoint is refused", async () => {
    const world = await filled(1);
    const wrong = { segment: 1, offset: 64 };
    const opened = world.finish(openVolume(world.log, wrong, world.environment));
    await expect(opened).rejects.toBeInstanceOf(SmfsError);
  });
});

describe("a follower", () => {
  test("refuses changes, and views before the first checkpoint", async () => {
    const world = await filled(1);
    const disk = new SimulatedDisk(world.clock.schedule);
    const log = Log.create(disk, { logId: LOG_ID }, world.clock);
    const follower = new VolumeFollower(log, world.environment, 1);
    expect(() => follower.change()).toThrow("EROFS");
    expect(() => follower.view((v) => v.get(1, 0))).toThrow("EAGAIN");
  });

  test("opened at the newest checkpoint holds what the log holds", async () => {
    const world = await filled(30);
    const expected = await world.finish(linesOf(world.volume, [1]));
    const follower = new VolumeFollower(world.log, world.environment, 1);
    await world.finish(follower.settled());
    expect(await world.finish(linesOf(follower, [1]))).toEqual(expected);
    expect(follower.headSequence).toBe(world.log.head.sequence);
  });

  test("stops when what it has applied is cut off the log", async () => {
    const world = await filled(5);
    const follower = new VolumeFollower(world.log, world.environment, 1);
    await world.finish(follower.settled());
    world.log.truncateTo(
      world.log.head.sequence - 2,
      () => {},
      (error) => expect(error).toBeNull(),
    );
    world.clock.drain();
    expect(follower.failure).toMatchObject({ code: "OTHER_HISTORY" });
  });
});
