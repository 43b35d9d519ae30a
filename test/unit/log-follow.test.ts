import { describe, expect, test } from "vitest";
import { crc32c } from "../../lib/crc32c.ts";
import { viewOf } from "../../lib/codec.ts";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { KIND, RecordHeader } from "../../logfs/core/log/format.ts";
import { codeOf, LogWorld } from "../sim/log-world.ts";

const CHECKSUM_AT = RecordHeader.offsetOf("headerChecksum");

/** A primary with an epoch and a few records, and a mirror that has `followed` of them. */
function pair(followed: number) {
  const primary = new LogWorld();
  primary.log.startEpoch(1, 1);
  for (let i = 0; i < 4; i++) primary.append(200);
  const records = primary.records();
  const mirror = new LogWorld();
  for (const { bytes } of records.slice(0, followed)) mirror.log.appendRaw(bytes);
  return { primary, mirror, records };
}

/** A copy of the record with some header fields changed and its header checksum right again. */
function altered({ bytes }: RawRecord, changes: Partial<RecordHeader>): Uint8Array {
  const copy = bytes.slice();
  const view = viewOf(copy);
  RecordHeader.encode(view, 0, { ...RecordHeader.decode(view, 0), ...changes });
  view.setUint32(CHECKSUM_AT, crc32c(copy.subarray(0, CHECKSUM_AT)), true);
  return copy;
}

describe("a follower takes", () => {
  test("records as they were written, at the same addresses, across segments", () => {
    const { primary, mirror } = pair(0);
    while (primary.log.endAddress.segment < 4) primary.append(900);
    for (const { bytes } of primary.records()) mirror.log.appendRaw(bytes);
    expect(mirror.log.head).toEqual(primary.log.head);
    expect(mirror.log.endAddress).toEqual(primary.log.endAddress);
    mirror.settle();
    expect(mirror.reopen({ follower: true }).head).toEqual(primary.log.head);
  });

  test("an epoch record that raises the epoch", () => {
    const { primary, mirror, records } = pair(5);
    primary.log.startEpoch(2, 2);
    for (const { bytes } of primary.records(primary.log, records.length + 1)) {
      mirror.log.appendRaw(bytes);
    }
    expect(mirror.log.epoch).toBe(2);
  });
});

describe("a follower refuses, and changes nothing", () => {
  const cases: [string, string, (next: RawRecord, records: RawRecord[]) => Uint8Array][] = [
    ["a record of another log", "OTHER_HISTORY", (r) => altered(r, { logId: new Uint8Array(16) })],
    ["a record of a lower epoch", "FENCED", (r) => altered(r, { epoch: 0 })],
    ["a higher epoch without an epoch record", "OTHER_HISTORY", (r) => altered(r, { epoch: 9 })],
    [
      "a record that leaves one out",
      "OTHER_HISTORY",
      (_, all) => all[4]?.bytes ?? new Uint8Array(),
    ],
    ["a record again", "OTHER_HISTORY", (_, all) => all[1]?.bytes ?? new Uint8Array()],
    ["another chain", "OTHER_HISTORY", (r) => altered(r, { previousChecksum: 1 })],
    ["another address", "OTHER_HISTORY", (r) => altered(r, { offset: 8 })],
    ["a newer version", "NEWER_VERSION", (r) => altered(r, { version: 2 })],
    ["a record that vouches for itself", "DAMAGED", (r) => altered(r, { durableSequence: 99 })],
    ["an absurd length", "DAMAGED", (r) => altered(r, { bodyBytes: 0xffffffff })],
    ["a cut record", "DAMAGED", (r) => r.bytes.subarray(0, 120)],
    ["half a header", "SHORT", (r) => r.bytes.subarray(0, 50)],
    ["a flipped bit in the body", "DAMAGED", ({ bytes }) => flipped(bytes, 150)],
    ["a flipped bit in the metadata", "DAMAGED", ({ bytes }) => flipped(bytes, 99)],
    ["a flipped bit in the header", "DAMAGED", ({ bytes }) => flipped(bytes, 30)],
    ["something in the padding", "DAMAGED", ({ bytes }) => flipped(bytes, 92)],
  ];

  for (const [what, code, make] of cases) {
    test(what, () => {
      const { mirror, records } = pair(3);
      const { head, endAddress } = mirror.log;
      const next = records[3];
      if (next === undefined) throw new Error("the primary has too few records");
      expect(codeOf(() => mirror.log.appendRaw(make(next, records)))).toBe(code);
      expect(mirror.log.head).toEqual(head);
      expect(mirror.log.endAddress).toEqual(endAddress);
      expect(codeOf(() => mirror.log.appendRaw(next.bytes))).toBeUndefined();
    });
  }

  function flipped(bytes: Uint8Array, at: number): Uint8Array {
    const copy = bytes.slice();
    copy[at] = (copy[at] ?? 0) ^ 4;
    return copy;
  }
});

describe("epochs", () => {
  test("only rise", () => {
    const world = new LogWorld();
    world.log.startEpoch(5, 1);
    expect(codeOf(() => world.log.startEpoch(5, 2))).toBe("FENCED");
    expect(codeOf(() => world.log.startEpoch(4, 2))).toBe("FENCED");
    world.log.startEpoch(6, 2);
    world.settle();
    expect(world.reopen().epoch).toBe(6);
  });
});

describe("cutting a tail off", () => {
  test("hands the records over first, and the log goes on from there", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 4) world.append(900);
    const kept = world.await<{ sequence: number } | null>((done) => world.log.positionOf(5, done));
    const all = world.records().map((record) => record.sequence);
    const aside: number[] = [];
    world.await<undefined>((done) =>
      world.log.truncateTo(
        5,
        (records) => aside.push(...records.map((record) => record.sequence)),
        (error) => done(error, undefined),
      ),
    );
    expect(aside).toEqual(all.slice(5));
    expect(world.log.head).toEqual(kept);
    expect(world.disk.list().length).toBe(1);
    world.append(100);
    world.settle();
    expect(world.reopen().head.sequence).toBe(6);
    expect(world.records().length).toBe(6);
  });

  test("cuts nothing when the records could not be set aside", () => {
    const world = new LogWorld();
    for (let i = 0; i < 5; i++) world.append(100);
    const { head } = world.log;
    const refuse = () => {
      throw new Error("no room for them");
    };
    const call = () =>
      world.await<undefined>((done) =>
        world.log.truncateTo(2, refuse, (error) => done(error, undefined)),
      );
    expect(call).toThrow("no room for them");
    expect(world.log.head).toEqual(head);
    expect(codeOf(() => world.append(100))).toBeUndefined();
  });

  test("finds the checkpoint that is the newest then", () => {
    const world = new LogWorld();
    const first = world.append(100, { kind: KIND.checkpoint });
    world.append(100);
    world.append(100, { kind: KIND.checkpoint });
    world.await<undefined>((done) =>
      world.log.truncateTo(
        2,
        () => {},
        (error) => done(error, undefined),
      ),
    );
    expect(world.log.checkpoint).toEqual({ segment: 1, offset: first.offset });
  });

  test("is over before the log is closed, so that nobody opens it in between", () => {
    const world = new LogWorld({ tailBytes: 0 });
    while (world.log.endAddress.segment < 4) world.append(900);
    const events: string[] = [];
    world.log.truncateTo(
      5,
      (records) => events.push(`aside from ${records[0]?.sequence}`),
      () => events.push("cut"),
    );
    world.await<undefined>((done) => world.log.close((error) => done(error, undefined)));
    expect(events[0]).toBe("aside from 6");
    expect(events.at(-1)).toBe("cut");
    expect(codeOf(() => world.append(100))).toBe("BUSY");
    const image = world.disk.list();
    world.clock.drain();
    expect(world.disk.list()).toEqual(image);
    expect(world.reopen().head.sequence).toBe(5);
  });

  test("back to nothing leaves an empty log that takes another history", () => {
    const { primary, mirror } = pair(0);
    mirror.append(50);
    mirror.await<undefined>((done) =>
      mirror.log.truncateTo(
        0,
        () => {},
        (error) => done(error, undefined),
      ),
    );
    for (const { bytes } of primary.records()) mirror.log.appendRaw(bytes);
    expect(mirror.log.head).toEqual(primary.log.head);
  });
});

describe("reading records", () => {
  test("from the disk, from any record on, gives the same as from memory", () => {
    const world = new LogWorld({ tailBytes: 0 });
    while (world.log.endAddress.segment < 4) world.append(700);
    world.settle();
    const fromMemory = world.records();
    const cold = world.reopen();
    for (const { sequence, bytes } of fromMemory) {
      const [record] = world.readRecords(sequence, 1, cold);
      expect(record?.sequence).toBe(sequence);
      expect(record?.bytes).toEqual(bytes);
    }
  });

  test("gives at least one record, and no more than about the bytes asked for", () => {
    const world = new LogWorld();
    for (let i = 0; i < 10; i++) world.append(896);
    expect(world.readRecords(1, 1).length).toBe(1);
    expect(world.readRecords(1, 2500).length).toBe(2);
    expect(world.readRecords(11, 2500)).toEqual([]);
  });

  test("a record that is damaged on the disk is an error with its address", () => {
    const world = new LogWorld();
    for (let i = 0; i < 4; i++) world.append(300);
    world.settle();
    const log = world.reopen();
    world.disk.flipBit(1, 64 + 408 + 200, 1);
    expect(() => world.readRecords(2, 1, log)).toThrow(/segment 1 offset 472: record has a body/);
  });

  test("positions name the record's own checksum, and null what is not there", () => {
    const world = new LogWorld();
    world.append(300);
    const { head } = world.log;
    world.append(300);
    const position = (sequence: number) =>
      world.await<unknown>((done) => world.log.positionOf(sequence, done));
    expect(position(1)).toEqual(head);
    expect(position(0)).toEqual({ sequence: 0, epoch: 0, checksum: 0 });
    expect(position(3)).toBeNull();
  });
});
