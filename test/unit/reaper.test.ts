/** Which segments go, when, and what reads make of it. */
import { describe, expect, test } from "vitest";
import { agreedAtPrimary } from "../../cli/site/reaping.ts";
import { Reaper } from "../../logfs/core/fs/reaper.ts";
import { planAgain } from "../../logfs/core/fs/plan-again.ts";
import { SmfsError } from "../../lib/errors.ts";
import { ROOT_INODE } from "../../logfs/core/vfs.ts";
import { bytesOf, expectBytes, FsWorld, name, READ, READ_WRITE, ROOT } from "../fs-world.ts";

/** A log of ten segments that notes what is dropped. */
class Segments {
  readonly dropped: number[] = [];

  get segments() {
    const all = Array.from({ length: 10 }, (_, i) => i + 1);
    const left = all.filter((segment) => !this.dropped.includes(segment));
    return left.map((segment) => ({ segment, firstSequence: 1, usedBytes: 1, sealed: true }));
  }

  drop(segments: readonly number[]): void {
    this.dropped.push(...segments);
  }
}

describe("the reaper", () => {
  function reaped(reaper: Reaper): void {
    while (reaper.isDue) reaper.step();
  }

  test("drops what no table names before the checkpoint's segment, once it is agreed on", () => {
    const log = new Segments();
    let agreed = 0;
    const reaper = new Reaper(log, () => agreed);
    reaper.handleCheckpoint({ sequence: 50, segment: 8, needed: new Set([2, 5, 9]) });
    reaped(reaper);
    expect(log.dropped).toEqual([]);
    agreed = 50;
    reaped(reaper);
    expect(log.dropped).toEqual([1, 3, 4, 6, 7]);
  });

  test("does not wait for a newer checkpoint that is not agreed on", () => {
    const log = new Segments();
    let agreed = 0;
    const reaper = new Reaper(log, () => agreed);
    reaper.handleCheckpoint({ sequence: 10, segment: 3, needed: new Set([1]) });
    for (let sequence = 20; sequence < 1000; sequence += 10) {
      reaper.handleCheckpoint({ sequence, segment: 6, needed: new Set([4]) });
    }
    agreed = 10;
    reaped(reaper);
    expect(log.dropped).toEqual([2]);
    agreed = 990;
    reaped(reaper);
    expect(log.dropped).toEqual([2, 1, 3, 5]);
  });

  test("takes the newest that is agreed on", () => {
    const log = new Segments();
    const reaper = new Reaper(log, () => 99);
    reaper.handleCheckpoint({ sequence: 10, segment: 3, needed: new Set([1, 2]) });
    reaper.handleCheckpoint({ sequence: 20, segment: 3, needed: new Set([2]) });
    reaped(reaper);
    expect(log.dropped).toEqual([1]);
  });

  test("removes a few segments in a step", () => {
    const log = new Segments();
    const reaper = new Reaper(log, () => 99);
    reaper.handleCheckpoint({ sequence: 10, segment: 10, needed: new Set() });
    reaper.step();
    expect(log.dropped).toEqual([1, 2, 3, 4]);
    expect(reaper.isDue).toBe(true);
  });
});

describe("a plan that meets a dropped segment", () => {
  const gone = new SmfsError("NOT_FOUND", "there is no segment 3");

  test.each(["throws", "rejects"])("is made again (it %s)", async (how) => {
    let tries = 0;
    const answer = planAgain(() => {
      if (++tries === 3) return "read";
      if (how === "throws") throw gone;
      return Promise.reject(gone);
    });
    expect(await answer).toBe("read");
  });

  test("is damage when it is met time and again", () => {
    const attempt = (): never => {
      throw gone;
    };
    expect(() => planAgain(attempt)).toThrow(
      expect.objectContaining({ code: "DAMAGED", message: expect.stringMatching(/segment 3/) }),
    );
  });

  test("lets every other failure pass", () => {
    let tries = 0;
    const attempt = (): never => {
      tries++;
      throw new SmfsError("IO", "no");
    };
    expect(() => planAgain(attempt)).toThrow("no");
    expect(tries).toBe(1);
  });
});

describe("a file system whose segments are dropped", () => {
  const SMALL = {
    segmentBytes: 65536,
    allocationBytes: 4096,
    maxRecordBytes: 20_000,
    tailBytes: 0,
  };

  /** A file of 48 KiB, written a record at a time. */
  async function write(world: FsWorld, handle: number, seed: number): Promise<void> {
    for (let part = 0; part < 3; part++) {
      const data = bytesOf(16384, seed * 3 + part);
      await world.run(world.fs.write(handle, part * 16384, data, "none"));
    }
  }

  function contents(seed: number): Uint8Array {
    return Buffer.concat([0, 1, 2].map((part) => bytesOf(16384, seed * 3 + part)));
  }

  async function newFile(world: FsWorld, text: string): Promise<number> {
    const { fs } = world;
    const creation = fs.create(ROOT, ROOT_INODE, name(text), 0o644, true, READ_WRITE);
    return (await world.run(creation)).handle;
  }

  test("keeps what it refers to and gives the rest back", async () => {
    const world = new FsWorld({ log: SMALL });
    const kept = await newFile(world, "kept");
    await write(world, kept, 100);
    const busy = await newFile(world, "busy");
    for (let seed = 0; seed < 40; seed++) {
      await write(world, busy, seed);
      world.volume.checkpoint();
      world.settle();
    }
    expect(world.disk.list().length).toBeLessThan(6);
    expect(world.log.statistics.segmentsDropped).toBeGreaterThan(20);
    await world.remount();
    for (const [file, seed] of [
      ["kept", 100],
      ["busy", 39],
    ] as const) {
      const { inode } = await world.run(world.fs.lookup(ROOT, ROOT_INODE, name(file)));
      const handle = await world.run(world.fs.open(ROOT, inode, READ));
      const pieces = await world.run(world.fs.read(handle, 0, 49152));
      expectBytes(Buffer.concat(pieces), contents(seed));
    }
    expect(await world.findings()).toEqual([]);
  });

  test("answers a read that outlives the segments it was planned for", async () => {
    // The blocks stand so far apart that each is read by itself, and not all at once; the write, the
    // sync and the drop are over before the first is read.
    const world = new FsWorld({ log: SMALL, disk: { readMicros: 1_800_000 } });
    const [file, other] = [await newFile(world, "file"), await newFile(world, "other")];
    const blocks = 160;
    for (let i = 0; i < blocks; i++) {
      await world.run(world.fs.write(file, i * 4096, bytesOf(4096, i), "none"));
      await world.run(world.fs.write(other, 0, bytesOf(8192), "none"));
    }
    world.settle();
    const reading = world.fs.read(file, 0, blocks * 4096);
    const now = bytesOf(blocks * 4096, 1234);
    for (let at = 0; at < now.length; at += 16384) {
      await world.run(world.fs.write(file, at, now.subarray(at, at + 16384), "none"));
    }
    world.volume.checkpoint();
    expectBytes(Buffer.concat(await world.run(reading)), now);
    expect(world.log.statistics.segmentsDropped).toBeGreaterThan(5);
  });

  test("does not open without a segment that its tables name, and says which", async () => {
    const world = new FsWorld({ log: SMALL });
    await write(world, await newFile(world, "kept"), 100);
    const busy = await newFile(world, "busy");
    for (let seed = 0; seed < 5; seed++) await write(world, busy, seed);
    world.volume.checkpoint();
    world.settle();
    world.disk.remove(1);
    await expect(world.remount()).rejects.toMatchObject({
      code: "DAMAGED",
      message: expect.stringMatching(/^missing segments: 1; they held \d{5} bytes/),
    });
  });
});

describe("what is agreed on", () => {
  const log = { durableSequence: 100 };
  const streaming = { state: "streaming", durableSequence: 70 };
  const away = { state: "disconnected", durableSequence: 70 };
  const unseen = { state: "disconnected", durableSequence: 0 };

  test.each([
    ["without a mirror, what is durable here", null, false, 100],
    ["with a mirror, what is durable at both", streaming, false, 70],
    ["with a mirror that is away, what it had", away, false, 70],
    ["with a mirror that was never seen, nothing", unseen, false, 0],
    ["when standalone, what is durable here", unseen, true, 100],
    ["when standalone, what a mirror has while it follows", streaming, true, 70],
  ])("%s", (_what, session, standalone, sequence) => {
    expect(agreedAtPrimary(log, session, { standalone })).toBe(sequence);
  });
});
