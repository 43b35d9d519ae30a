import { describe, expect, test } from "vitest";
import { crc32c } from "../../lib/crc32c.ts";
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";
import { KIND, RecordHeader, SegmentHeader } from "../../logfs/core/log/format.ts";
import type { DoomedTail } from "../../logfs/core/log/recovery.ts";
import { scanRecords } from "../../logfs/core/log/scan.ts";
import { LOG_ID, LogWorld } from "../sim/log-world.ts";

/** Three durable records, then `loose` more that were written and not synced. */
function worldWith(loose: number): LogWorld {
  const world = new LogWorld();
  for (let i = 0; i < 3; i++) world.append(300);
  world.settle();
  for (let i = 0; i < loose; i++) world.append(300);
  world.clock.advance(1000);
  return world;
}

function failureOf(world: LogWorld, options = {}) {
  const recovered = world.recover(options);
  if (recovered.ok) throw new Error(`recovered at ${recovered.log.head.sequence}`);
  return recovered.failure;
}

describe("what survives", () => {
  test("everything written survives the end of the process", () => {
    const world = worldWith(4);
    const { head } = world.log;
    world.kill();
    expect(world.reopen().head).toEqual(head);
    expect(world.records().map((record) => record.sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("everything synced survives the loss of power", () => {
    const world = worldWith(0);
    const { head } = world.log;
    world.append(300);
    world.disk.crash(new Prng(7));
    expect(world.reopen().head.sequence).toBeGreaterThanOrEqual(head.sequence);
  });

  test("the log goes on where it was, in the same chain", () => {
    const world = worldWith(2);
    world.kill();
    world.reopen();
    world.append(300);
    world.settle();
    world.kill();
    expect(world.reopen().head.sequence).toBe(6);
  });

  test("the newest checkpoint is found in the last segment or in its header", () => {
    const world = new LogWorld();
    const old = world.append(100, { kind: KIND.checkpoint });
    while (world.log.endAddress.segment < 3) world.append(1000);
    world.settle();
    expect(world.reopen().checkpoint).toEqual({ segment: old.segment, offset: old.offset });
    const young = world.append(100, { kind: KIND.checkpoint });
    world.settle();
    expect(world.reopen().checkpoint).toEqual({ segment: young.segment, offset: young.offset });
  });
});

describe("after a sync that failed", () => {
  /** The device drops what it was to write; the page cache still has it. */
  function worldWithDroppedPages(records: number): LogWorld {
    const world = worldWith(0);
    for (let i = 0; i < records; i++) world.append(300);
    world.disk.failNextSync("simulated disk: input/output error");
    expect(world.settle()).toMatchObject({ code: "IO" });
    world.kill();
    return world;
  }

  test.each([1, 2, 3, 4, 5])("what is found is on the disk before it is shown (%i)", (seed) => {
    const world = worldWithDroppedPages(seed);
    const { head, durableSequence } = world.reopen();
    expect(head.sequence).toBe(3 + seed);
    expect(durableSequence).toBe(head.sequence);
    world.append(300);
    world.disk.crash(new Prng(seed));
    expect(world.reopen().head.sequence).toBeGreaterThanOrEqual(head.sequence);
  });

  test.each([1, 2, 3, 4, 5])("what a follower finds is on its disk (%i)", (seed) => {
    const world = worldWithDroppedPages(seed);
    const { head } = world.reopen({ follower: true });
    world.disk.crash(new Prng(seed));
    expect(world.reopen({ follower: true }).head).toEqual(head);
  });

  test("a log does not open while the disk still says no", () => {
    const world = worldWithDroppedPages(2);
    world.disk.failNextSync("simulated disk: input/output error");
    expect(failureOf(world).code).toBe("IO");
    expect(world.reopen().head.sequence).toBe(5);
  });
});

describe("a torn tail", () => {
  test("is cut at the first record that does not verify", () => {
    const world = worldWith(2);
    const at = { segment: 1, offset: world.log.endAddress.offset - 200 };
    world.kill();
    world.disk.flipBit(1, at.offset, 3);
    const recovered = world.recover();
    if (!recovered.ok) throw recovered.failure;
    expect(recovered.log.head.sequence).toBe(4);
    expect(recovered.report.cutAt).toEqual(recovered.log.endAddress);
    expect(recovered.log.statistics.tornTailsCut).toBe(1);
    const rest = world.disk.readSync(1, recovered.log.endAddress.offset, 4096);
    expect(rest.every((byte) => byte === 0)).toBe(true);
  });

  test("may have a hole with records behind it that vouch for nothing", () => {
    const world = worldWith(4);
    const hole = 64 + 4 * 408;
    world.kill();
    world.disk.overwrite(1, hole, new Uint8Array(408));
    expect(world.reopen().head.sequence).toBe(4);
  });
});

describe("a last segment that ends where no allocation ends", () => {
  // Cut inside a record, inside a header, at whole pages and not.
  test.each([-100, -350, 0, 50])("is damage at the primary (%i bytes from the end)", (from) => {
    const world = worldWith(1);
    world.kill();
    world.disk.truncate(1, world.log.endAddress.offset + from);
    const failure = failureOf(world);
    expect(failure.code).toBe("DAMAGED");
    expect(failure.message).toMatch(/^segment 1 offset \d+: .*cut short/);
  });

  test("is reported by a follower, which goes on from what is left", () => {
    const world = worldWith(1);
    world.kill();
    world.disk.truncate(1, world.log.endAddress.offset - 100);
    const recovered = world.recover({ follower: true });
    expect(recovered).toMatchObject({ ok: true, report: { endedEarly: true } });
  });
});

describe("damage", () => {
  test("to a record that was durable once keeps the log closed, and says where", () => {
    const world = worldWith(1);
    world.kill();
    world.disk.flipBit(1, 64 + 408 + 200, 0);
    const failure = failureOf(world);
    expect(failure.code).toBe("DAMAGED");
    expect(failure.message).toMatch(/^segment 1 offset 472: .*record 2 is lost, but record 4 at/);
  });

  test("is the primary's to send again when this log only followed", () => {
    const world = worldWith(1);
    world.kill();
    world.disk.flipBit(1, 64 + 408 + 200, 0);
    const recovered = world.recover({ follower: true });
    if (!recovered.ok) throw recovered.failure;
    expect(recovered.log.head.sequence).toBe(1);
    expect(recovered.report.cutWasVouched).toBe(true);
  });

  test("nothing is cut off a follower's log before it was told to others", () => {
    const world = worldWith(1);
    world.kill();
    world.disk.flipBit(1, 64 + 408 + 200, 0);
    const before = world.disk.readSync(1, 0, 4096);
    const tails: DoomedTail[] = [];
    const beforeCut = (tail: DoomedTail): void => {
      tails.push(tail);
      throw new SmfsError("NO_SPACE", "no room to keep it");
    };
    const recovered = world.recover({ follower: true, beforeCut });
    expect(recovered).toMatchObject({ ok: false, failure: { code: "NO_SPACE" } });
    expect(world.disk.readSync(1, 0, 4096)).toEqual(before);
    const parts = [expect.objectContaining({ segment: 1, offset: 472 })];
    expect(tails).toEqual([{ keptSequence: 1, lostSequence: 4, parts }]);
  });

  test("to a sealed segment's header, or its absence, is refused", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 3) world.append(1000);
    world.settle();
    const other = world.disk.copy(world.clock.schedule);
    other.remove(2);
    world.disk.flipBit(1, 20, 1);
    expect(failureOf(world).message).toMatch(/segment 1 offset 0: has a header whose checksum/);
  });

  test("of a missing segment is refused", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 3) world.append(1000);
    world.settle();
    world.disk.remove(2);
    expect(failureOf(world).message).toBe("segment 2 is missing");
  });

  test("to the last segment's header is refused when its records were durable", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 2) world.append(1000);
    world.settle();
    world.append(100);
    world.settle();
    world.kill();
    world.disk.flipBit(2, 20, 1);
    expect(failureOf(world).message).toMatch(/^segment 2 offset 0: has a header whose checksum/);
  });

  test("of a misdirected write is found out by the address in the record", () => {
    const world = new LogWorld();
    world.append(300);
    world.settle();
    const length = 408;
    world.disk.failNextWrite({ kind: "misdirected", byBytes: length });
    world.append(300);
    world.settle();
    world.append(300);
    world.settle();
    world.append(300);
    world.settle();
    expect(failureOf(world).message).toMatch(/^segment 1 offset 472: /);
  });

  test("that the device reports is an error with the address", () => {
    const world = worldWith(0);
    world.disk.makeUnreadable(1, 600);
    expect(failureOf(world)).toMatchObject({ code: "IO" });
    expect(failureOf(world).message).toMatch(/segment 1 offset 512: unreadable sector/);
  });
});

describe("a crash at the roll", () => {
  test("a next segment that was only allocated is removed", () => {
    const world = new LogWorld({}, { syncMicros: 100_000 });
    while (world.log.endAddress.segment < 2) world.append(1000);
    world.clock.advance(50_000);
    world.kill();
    expect(world.disk.list().length).toBe(2);
    const recovered = world.recover();
    if (!recovered.ok) throw recovered.failure;
    expect(recovered.report.removedSegments).toBe(1);
    const sealed = recovered.log.head;
    world.log = recovered.log;
    const at = world.append(1000);
    expect(at).toMatchObject({ segment: 2, offset: 64, sequence: sealed.sequence + 1 });
    world.settle();
    expect(world.reopen().head.sequence).toBe(sealed.sequence + 1);
  });

  test("a log that was never completed is not found, and can be created", () => {
    const world = new LogWorld();
    world.kill(3);
    world.disk.overwrite(1, 0, new Uint8Array(64));
    expect(failureOf(world).code).toBe("NOT_FOUND");
    expect(world.disk.list()).toEqual([]);
  });
});

describe("versions", () => {
  test("a newer record or segment is refused as newer, not as damaged", () => {
    for (const [offset, struct] of [
      [64, RecordHeader],
      [0, SegmentHeader],
    ] as const) {
      const world = worldWith(0);
      const checksumAt = offset + struct.offsetOf("headerChecksum");
      const bytes = world.disk.readSync(1, offset, checksumAt - offset);
      bytes.set([2, 0], struct.offsetOf("version"));
      world.disk.overwrite(1, offset, bytes);
      const sum = new Uint8Array(Uint32Array.of(crc32c(bytes)).buffer);
      world.disk.overwrite(1, checksumAt, sum);
      expect(failureOf(world)).toMatchObject({ code: "NEWER_VERSION" });
    }
  });
});

describe("scanning", () => {
  test("walks all segments and gives each record's parts checked", () => {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 4) world.append(700);
    world.settle();
    const start = { segment: 1, offset: 0, logId: LOG_ID, after: { sequence: 0, checksum: 0 } };
    let records = 0;
    const end = scanRecords(world.disk, start, null, (record) => {
      records++;
      return record.metadata() !== null && record.body() !== null;
    });
    expect(records).toBe(world.log.head.sequence);
    expect(end).toMatchObject({ reason: "end", ...world.log.endAddress });
  });

  test("stops at damage with the place and a sentence, and tells which part is broken", () => {
    const world = worldWith(0);
    world.disk.flipBit(1, 64 + 408 + 150, 1);
    const start = { segment: 1, offset: 64, logId: LOG_ID, after: null };
    const broken: number[] = [];
    scanRecords(world.disk, start, null, (record) => {
      if (record.body() === null) broken.push(record.header.sequence);
      expect(record.metadata()).not.toBeNull();
      return true;
    });
    expect(broken).toEqual([2]);
    world.disk.flipBit(1, 64 + 408 + 10, 1);
    const end = scanRecords(world.disk, start, null, () => true);
    expect(end).toMatchObject({ reason: "damage", code: "DAMAGED", segment: 1, offset: 472 });
  });
});
