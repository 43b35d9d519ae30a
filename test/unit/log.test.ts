import { describe, expect, test } from "vitest";
import { equalBytes } from "../../lib/bytes.ts";
import { readSegmentHeader } from "../../logfs/core/log/segment.ts";
import { readRecord, recordParts } from "../../logfs/core/log/record.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import { bodyOf, codeOf, LogWorld } from "../sim/log-world.ts";

describe("appending", () => {
  test("a record comes back with the parts it was given", () => {
    const world = new LogWorld();
    const at = world.log.append(KIND.update, 3, [bodyOf(5), bodyOf(10)], (metadata, place) => {
      metadata.set([place.sequence, place.segment, place.offset]);
    });
    const [record] = world.readRecords(1, 1);
    const bytes = record?.bytes ?? new Uint8Array(0);
    const { metadata, body } = recordParts(bytes, readRecord(bytes));
    expect([...metadata]).toEqual([1, 1, 64]);
    expect([...body]).toEqual([...bodyOf(5), ...bodyOf(10)]);
    expect(at).toEqual({ segment: 1, offset: 64, sequence: 1, bodyOffset: 64 + 96 + 3 });
    const address = { segment: 1, offset: at.bodyOffset };
    expect(world.await((done) => world.log.read(address, 15, done))).toEqual(body);
  });

  test("a record over the limit is refused before `fill` is called", () => {
    const world = new LogWorld();
    const call = () => world.log.append(KIND.update, 8000, [bodyOf(200)], () => expect.fail());
    expect(codeOf(call)).toBe("TOO_LARGE");
    expect(world.log.head.sequence).toBe(0);
  });

  test("what is appended while a write is under way shares the next write", () => {
    const world = new LogWorld();
    const { writes } = world.log.statistics;
    for (let i = 0; i < 30; i++) world.append(100);
    world.clock.advance(500);
    expect(world.log.writtenSequence).toBe(30);
    expect(world.log.statistics.writes).toBe(writes + 2);
  });

  test("one sync serves everybody who waited for it, in order of sequence", () => {
    const world = new LogWorld();
    const { syncs } = world.log.statistics;
    const order: number[] = [];
    for (let i = 0; i < 10; i++) world.append(100);
    for (const sequence of [7, 3, 10, 1]) {
      world.log.whenDurable(sequence, () => order.push(sequence));
    }
    world.clock.drain();
    expect(order).toEqual([1, 3, 7, 10]);
    expect(world.log.statistics.syncs).toBe(syncs + 2);
  });

  test("writers that come back after a sync share the next one", () => {
    const world = new LogWorld({ segmentBytes: 2 ** 20 }, { syncMicros: 3000 });
    const { syncs } = world.log.statistics;
    let commits = 0;
    const commit = (writer: number): void => {
      const { sequence } = world.append(100);
      world.log.whenDurable(sequence, () => {
        // Each takes its own time to come back.
        if (++commits <= 76) world.clock.schedule(30 * writer, () => commit(writer));
      });
    };
    for (let writer = 1; writer <= 4; writer++) commit(writer);
    world.clock.drain();
    expect(commits).toBe(80);
    // Four a sync; at the beginning and the end some come alone.
    expect(world.log.statistics.syncs - syncs).toBeLessThanOrEqual(23);
  });

  test("a sync waits for those who do not come back no longer than a quarter of its time", () => {
    const world = new LogWorld({ segmentBytes: 2 ** 20 }, { syncMicros: 4000, writeMicros: 10 });
    for (let i = 0; i < 4; i++) world.log.whenDurable(world.append(100).sequence, () => {});
    world.settle();
    const began = world.clock.nowMicros();
    const { sequence } = world.append(100);
    world.await((done) => world.log.whenDurable(sequence, (error) => done(error, null)));
    expect(world.clock.nowMicros() - began).toBeLessThanOrEqual(10 + 1000 + 4000);
  });

  test("a sync vouches only for what was written when it began", () => {
    const world = new LogWorld({}, { writeMicros: 100, syncMicros: 10_000 });
    world.append(100);
    world.log.whenDurable(1, () => {});
    world.clock.advance(200);
    world.append(100);
    world.clock.advance(10_000);
    expect(world.log.writtenSequence).toBe(2);
    expect(world.log.durableSequence).toBe(1);
  });

  test("records that nobody waits for are durable after the commit interval", () => {
    const world = new LogWorld({ commitIntervalMicros: 500_000 });
    world.append(100);
    world.clock.advance(400_000);
    expect(world.log.durableSequence).toBe(0);
    world.clock.advance(200_000);
    expect(world.log.durableSequence).toBe(1);
  });

  test("many bytes that nobody waits for are synced before the interval is over", () => {
    const world = new LogWorld({ commitBytes: 8192, commitIntervalMicros: 3_600_000_000 });
    for (let i = 0; i < 5; i++) world.append(1000);
    world.clock.advance(10_000);
    expect(world.log.durableSequence).toBe(0);
    for (let i = 0; i < 5; i++) world.append(1000);
    world.clock.advance(10_000);
    expect(world.log.durableSequence).toBe(10);
  });

  test("an answer that is there already is given at once", () => {
    const world = new LogWorld();
    world.append(100);
    world.settle();
    let answers = 0;
    world.log.whenWritten(1, () => answers++);
    world.log.whenDurable(1, () => answers++);
    expect(answers).toBe(2);
  });

  test("subscribers hear appends, writes and syncs until they stop", () => {
    const world = new LogWorld();
    let heard = 0;
    const stop = world.log.subscribe(() => heard++);
    world.append(100);
    expect(heard).toBe(1);
    world.settle();
    expect(heard).toBe(3);
    stop();
    world.append(100);
    expect(heard).toBe(3);
  });

  test("close makes everything durable and refuses what comes later", () => {
    const world = new LogWorld();
    world.append(100);
    world.await<undefined>((done) => world.log.close((error) => done(error, undefined)));
    expect(world.log.durableSequence).toBe(1);
    expect(codeOf(() => world.append(100))).toBe("BUSY");
  });
});

describe("segments", () => {
  test("a full segment ends with a seal and the next one knows the newest checkpoint", () => {
    const world = new LogWorld();
    const checkpoint = world.append(100, { kind: KIND.checkpoint });
    while (world.log.endAddress.segment === 1) world.append(1000);
    world.settle();
    const records = world.records();
    const seal = records.findLast(({ bytes }) => readRecord(bytes).kind === KIND.seal);
    const header = readSegmentHeader(world.disk.readSync(2, 0, 64), 2);
    expect(header.firstSequence).toBe((seal?.sequence ?? 0) + 1);
    expect(header.checkpointSegment).toBe(1);
    expect(header.checkpointOffset).toBe(checkpoint.offset);
    expect(world.disk.list()[0]?.bytes).toBeLessThanOrEqual(16384);
  });

  test("a segment is not written to before the one in front is durable", () => {
    const world = new LogWorld({}, { writeMicros: 10, syncMicros: 100_000 });
    while (world.log.endAddress.segment === 1) world.append(1000);
    world.clock.advance(50_000);
    expect(world.disk.readSync(2, 0, 4).every((byte) => byte === 0)).toBe(true);
    world.clock.drain();
    expect(world.disk.readSync(2, 0, 4).every((byte) => byte === 0)).toBe(false);
  });

  test("bytes are read across the border between disk and memory", () => {
    const world = new LogWorld({ tailBytes: 0, segmentBytes: 2 ** 20, maxRecordBytes: 2 ** 19 });
    const first = world.append(400_000);
    world.append(400_000);
    const last = world.append(200_000);
    world.settle();
    world.clock.drain();
    const length = last.bodyOffset + 200_000 - first.bodyOffset;
    const bytes = world.await<Uint8Array>((done) => {
      world.log.read({ segment: first.segment, offset: first.bodyOffset }, length, done);
    });
    expect(equalBytes(bytes, world.disk.readSync(1, first.bodyOffset, length))).toBe(true);
    expect(world.log.statistics.diskReads).toBeGreaterThan(0);
  });

  test("a read that ends past the log, or in no segment, is an error with the address", () => {
    const world = new LogWorld();
    world.append(100);
    const past = () =>
      world.await((done) => world.log.read({ segment: 1, offset: 200 }, 5000, done));
    expect(past).toThrow(/5000 bytes at segment 1 offset 200 end past the log/);
    const nowhere = () =>
      world.await((done) => world.log.read({ segment: 9, offset: 64 }, 1, done));
    expect(codeOf(nowhere)).toBe("NOT_FOUND");
  });
});

describe("a full disk", () => {
  const full = { capacityBytes: 20480, reserveBytes: 8192 };

  test("refuses an append before anything changed, and everything stays readable", () => {
    const world = new LogWorld({}, full);
    const refused = fillUp(world);
    expect(refused).toBe("NO_SPACE");
    const { head } = world.log;
    expect(codeOf(() => world.append(2000))).toBe("NO_SPACE");
    expect(world.log.head).toEqual(head);
    expect(world.settle()).toBeNull();
    expect(world.records().length).toBe(head.sequence);
    expect(world.reopen().head).toEqual(head);
  });

  test("gives the reserve to operations that free space", () => {
    const world = new LogWorld({}, full);
    fillUp(world);
    expect(codeOf(() => world.append(2000, { privileged: true }))).toBeUndefined();
    expect(world.log.statistics.reserveReleases).toBe(1);
    expect(world.settle()).toBeNull();
  });

  test("gives ordinary appends nothing of the reserve, whoever used some of it before", () => {
    const world = new LogWorld({}, { capacityBytes: 65536, reserveBytes: 40960 });
    fillUp(world);
    world.append(2000, { privileged: true });
    const { freeBytes } = world.disk.space();
    fillUp(world);
    expect(freeBytes).toBeLessThan(4096);
    for (let i = 0; i < 4; i++) world.append(2000, { privileged: true });
    expect(world.settle()).toBeNull();
  });

  test("can be opened in a new epoch even when nothing else fits", () => {
    const world = new LogWorld({}, { capacityBytes: 65536, reserveBytes: 32768 });
    fillUp(world);
    expect(fillUp(world, { privileged: true })).toBe("NO_SPACE");
    expect(world.settle()).toBeNull();
    for (let opening = 1; opening <= 20; opening++) {
      world.reopen().startEpoch(opening, 2);
      expect(world.settle()).toBeNull();
    }
    expect(world.reopen().epoch).toBe(20);
  });

  function fillUp(world: LogWorld, options = {}): string | undefined {
    for (let i = 0; i < 100; i++) {
      const code = codeOf(() => world.append(2000, options));
      if (code !== undefined) return code;
    }
    return undefined;
  }
});

describe("a device that fails", () => {
  test("a failed write fails everyone who waits, and nothing is taken any more", () => {
    const world = new LogWorld();
    world.disk.failNextWrite({ kind: "short", bytes: 70 });
    world.append(100);
    expect(world.settle()?.message).toMatch(/write of \d+ bytes at segment 1 offset 64 failed/);
    expect(codeOf(() => world.append(100))).toBe("IO");
    expect(world.log.durableSequence).toBe(0);
  });

  test("a failed sync is never tried again", () => {
    const world = new LogWorld();
    world.append(100);
    world.disk.failNextSync("simulated disk: EIO");
    expect(world.settle()?.message).toMatch(/sync of segment 1 failed: simulated disk: EIO/);
    const { syncs } = world.disk.statistics;
    expect(world.settle()).not.toBeNull();
    world.clock.advance(10_000_000);
    expect(world.disk.statistics.syncs).toBe(syncs);
    expect(world.log.failure).not.toBeNull();
  });
});
