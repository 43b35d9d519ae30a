/** Segments that are sealed early, and segments that are dropped. */
import { describe, expect, test } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import { Prng } from "../../lib/prng.ts";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { KIND, RecordHeader } from "../../logfs/core/log/format.ts";
import { LogWorld } from "../sim/log-world.ts";

/** Six segments; the newest checkpoint stands in the fifth. */
function sixSegments(): LogWorld {
  const world = new LogWorld({ tailBytes: 0 });
  for (let segment = 1; segment <= 6; segment++) {
    while (world.log.endAddress.segment < segment) world.append(1000);
    if (segment === 5) world.append(100, { kind: KIND.checkpoint });
  }
  world.settle();
  return world;
}

function segmentsOf({ log }: LogWorld): number[] {
  return log.segments.map(({ segment }) => segment);
}

function failureOf(world: LogWorld) {
  const recovered = world.recover();
  if (recovered.ok) throw new Error(`recovered at ${recovered.log.head.sequence}`);
  return recovered.failure;
}

describe("sealing early", () => {
  test("the next record starts a segment", () => {
    const world = new LogWorld();
    world.append(100);
    world.log.sealSegment();
    expect(world.log.segments).toEqual([
      { segment: 1, firstSequence: 1, usedBytes: world.log.endAddress.offset, sealed: true },
    ]);
    expect(world.append(100)).toMatchObject({ segment: 2, offset: 64, sequence: 3 });
    world.settle();
    expect(world.reopen().head.sequence).toBe(3);
    expect(world.records().map(({ bytes }) => RecordHeader.decode(viewOf(bytes), 0).kind)).toEqual([
      KIND.update,
      KIND.seal,
      KIND.update,
    ]);
  });

  test("does nothing to a segment without records, or to a sealed one", () => {
    const world = new LogWorld();
    world.log.sealSegment();
    expect(world.log.head.sequence).toBe(0);
    world.append(100);
    world.log.sealSegment();
    world.log.sealSegment();
    expect(world.log.head.sequence).toBe(2);
  });

  test("gives back what was allocated behind the seal", () => {
    const world = new LogWorld({ allocationBytes: 16384 });
    world.append(100);
    world.log.sealSegment();
    world.append(100);
    world.settle();
    expect(world.disk.list()).toEqual([
      { segment: 1, bytes: 4096 },
      { segment: 2, bytes: 16384 },
    ]);
  });

  test.each([1, 2, 3, 4, 5])("survives a crash at any moment (seed %i)", (seed) => {
    const world = new LogWorld();
    world.append(300);
    world.settle();
    world.log.sealSegment();
    world.append(300);
    world.clock.advance(seed * 700);
    world.disk.crash(new Prng(seed));
    expect(world.reopen().head.sequence).toBeGreaterThanOrEqual(1);
    world.append(300);
    world.settle();
    expect(world.reopen().head).toEqual(world.log.head);
  });

  test("a mirror follows, and opens a log that ends with an early seal", () => {
    const primary = new LogWorld();
    const mirror = new LogWorld();
    primary.append(100);
    primary.log.sealSegment();
    for (const { bytes } of primary.records()) mirror.log.appendRaw(bytes);
    mirror.settle();
    expect(mirror.reopen({ follower: true }).head).toEqual(primary.log.head);
    primary.append(100);
    const last = primary.records().at(-1);
    expect(mirror.log.appendRaw(last?.bytes ?? new Uint8Array(0))).toMatchObject({ segment: 2 });
  });
});

describe("dropping", () => {
  test("removes files and entries, and counts them", () => {
    const world = sixSegments();
    const bytes = world.log.segments.slice(1, 3).reduce((sum, one) => sum + one.usedBytes, 0);
    world.log.drop([2, 3]);
    expect(segmentsOf(world)).toEqual([1, 4, 5, 6]);
    expect(world.disk.list().map(({ segment }) => segment)).toEqual([1, 4, 5, 6]);
    expect(world.log.statistics).toMatchObject({ segmentsDropped: 2, bytesDropped: bytes });
  });

  test("never takes the checkpoint's segment or one behind it", () => {
    const world = sixSegments();
    expect(() => world.log.drop([5])).toThrow(/segment 5 is not before the newest checkpoint's/);
    expect(() => world.log.drop([6])).toThrow(/segment 6/);
    expect(() => new LogWorld().log.drop([1])).toThrow(/segment 1/);
  });

  test("the log opens with gaps before the checkpoint, and goes on", () => {
    const world = sixSegments();
    const { head } = world.log;
    world.log.drop([1, 3]);
    expect(world.reopen().head).toEqual(head);
    expect(segmentsOf(world)).toEqual([2, 4, 5, 6]);
    world.append(1000);
    world.settle();
    expect(world.reopen().head.sequence).toBeGreaterThan(head.sequence);
  });

  test.each([
    [5, "segment 5 is missing"],
    [4, null],
  ])("a log without segment %i opens or does not", (missing, message) => {
    const world = sixSegments();
    world.disk.remove(missing);
    if (message === null) expect(world.recover().ok).toBe(true);
    else expect(failureOf(world)).toMatchObject({ code: "DAMAGED", message });
  });

  test("a log without a checkpoint has no gaps, not even at its start", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 3) world.append(1000);
    world.settle();
    world.disk.remove(1);
    expect(failureOf(world).message).toBe("segment 1 is missing");
  });

  test("records are read by sequence from the last gap on, and not before", () => {
    const world = sixSegments();
    const [one, , three, four] = world.log.segments.map(({ firstSequence }) => firstSequence);
    world.log.drop([2, 3]);
    expect(world.log.firstSequence).toBe(four);
    expect(world.records()[0]?.sequence).toBe(four);
    for (const gone of [one, three, (four ?? 0) - 1]) {
      expect(() => world.readRecords(gone ?? 0, 100)).toThrow(/can be read from record/);
      expect(world.await((done) => world.log.positionOf(gone ?? 0, done))).toBeNull();
    }
  });

  test("records of one segment are read by address, whatever stands around it", () => {
    const world = sixSegments();
    world.log.drop([2, 3]);
    const at = { segment: 1, offset: 0 };
    const records = world.await<RawRecord[]>((done) => world.log.readRecordsAt(at, 1e6, done));
    expect(records[0]?.sequence).toBe(1);
    const last = records.at(-1)?.bytes ?? new Uint8Array(0);
    expect(RecordHeader.decode(viewOf(last), 0).kind).toBe(KIND.seal);
    const gone = (done: (error: Error | null, value: unknown) => void): void =>
      world.log.readRecordsAt({ segment: 2, offset: 0 }, 100, done);
    expect(() => world.await(gone)).toThrow(/there is no segment 2/);
  });

  test("bytes of a dropped segment are not found, at once and from the disk", () => {
    const world = sixSegments();
    world.log.drop([2]);
    const read = (): unknown =>
      world.await((done) => world.log.read({ segment: 2, offset: 64 }, 8, done));
    expect(read).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
    expect(() => world.disk.readSync(2, 64, 8)).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
  });

  test("a search for records that is under way ends as it would have", () => {
    const world = sixSegments();
    const at = { segment: 2, offset: 0 };
    const records = world.await<RawRecord[]>((done) => {
      world.log.readRecordsAt(at, 100, done);
      world.log.drop([2]);
    });
    expect(records.length).toBe(1);
  });

  test("a cut works on a log with gaps", () => {
    const world = sixSegments();
    world.log.drop([1, 3]);
    const [, , five] = world.log.segments;
    const target = (five?.firstSequence ?? 0) + 1;
    const kept: number[] = [];
    const setAside = (records: { sequence: number }[]): void => {
      kept.push(...records.map(({ sequence }) => sequence));
    };
    const { sequence } = world.log.head;
    world.await<void>((done) =>
      world.log.truncateTo(target, setAside, (error) => done(error, undefined)),
    );
    expect(kept).toEqual(Array.from({ length: sequence - target }, (_, i) => target + 1 + i));
    expect(world.reopen().head.sequence).toBe(target);
    expect(segmentsOf(world)).toEqual([2, 4, 5]);
    const before = (world.log.firstSequence ?? 0) - 1;
    const cut = (done: (error: Error | null, value: void) => void): void =>
      world.log.truncateTo(before, setAside, (error) => done(error, undefined));
    expect(() => world.await(cut)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });
});
