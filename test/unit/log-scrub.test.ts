import { expect, test } from "vitest";
import { Scrub, type ScrubOptions, type ScrubProgress } from "../../logfs/core/log/scrub.ts";
import { type FsWorld, name, ROOT } from "../fs-world.ts";
import { copyOf, populate, recordsOf, smallSegments } from "../repair-world.ts";
import type { SimulatedDisk } from "../sim/disk.ts";

async function busy(): Promise<FsWorld> {
  const world = smallSegments();
  await populate(world, 120, 5);
  world.settle();
  return world;
}

async function scrubbed(
  world: FsWorld,
  options: Partial<ScrubOptions> = {},
): Promise<ScrubProgress> {
  const { log, disk: store, clock: time } = world;
  const scrub = new Scrub({ log, store, time, bytesPerSecond: 2 ** 30, fetch: null, ...options });
  await world.run(scrub.ended);
  return scrub.progress;
}

function copiesFrom(mirror: SimulatedDisk): NonNullable<ScrubOptions["fetch"]> {
  return ({ segment, offset }, length) => Promise.resolve(mirror.readSync(segment, offset, length));
}

function contents({ disk }: FsWorld): string {
  const parts = disk.list().map(({ segment, bytes }) => disk.readSync(segment, 0, bytes));
  return Buffer.concat(parts).toString("latin1");
}

test("a whole log has no findings, and all its durable records are read", async () => {
  const world = await busy();
  const progress = await scrubbed(world);
  expect(progress).toMatchObject({ state: "finished", damaged: 0, findings: [], reason: null });
  expect(progress.records).toBe(world.log.durableSequence);
  expect(progress.records).toBe(recordsOf(world.disk).length);
});

test("damage is found wherever it is, with the record and its place", async () => {
  const world = await busy();
  const records = recordsOf(world.disk);
  const [body, header] = [records[40], records[90]];
  if (body === undefined || header === undefined) throw new Error("records");
  world.disk.flipBit(body.segment, body.offset + body.totalBytes - 20, 1);
  world.disk.flipBit(header.segment, header.offset + 9, 1);
  const { findings, damaged, repaired, state } = await scrubbed(world);
  expect({ damaged, repaired, state }).toEqual({ damaged: 2, repaired: 0, state: "finished" });
  expect(findings).toMatchObject([
    { sequence: body.header.sequence, segment: body.segment, offset: body.offset },
    { sequence: null, segment: header.segment, offset: header.offset, outcome: "left" },
  ]);
});

test("with a copy, what is damaged comes back byte for byte while the log is in use", async () => {
  const world = await busy();
  const before = contents(world);
  const mirror = copyOf(world.disk);
  const records = recordsOf(world.disk);
  for (const i of [20, 21, 60, 100]) {
    const record = records[i];
    if (record === undefined) throw new Error("records");
    world.disk.flipBit(record.segment, record.offset + (i % 2 === 0 ? 5 : 130), 1);
  }
  const { damaged, repaired, findings } = await scrubbed(world, { fetch: copiesFrom(mirror) });
  // Two destroyed headers in a row are one gap.
  expect(damaged).toBeGreaterThanOrEqual(3);
  expect({ repaired, outcomes: new Set(findings.map(({ outcome }) => outcome)) }).toEqual({
    repaired: damaged,
    outcomes: new Set(["repaired"]),
  });
  expect(contents(world) === before).toBe(true);
  await world.run(world.fs.mkdir(ROOT, 1, name("still-works"), 0o755));
});

test("a copy that is not the record is not taken", async () => {
  const world = await busy();
  const other = copyOf(world.disk);
  const record = recordsOf(world.disk)[50];
  if (record === undefined) throw new Error("records");
  world.disk.flipBit(record.segment, record.offset + 150, 1);
  const damagedContents = contents(world);
  other.flipBit(record.segment, record.offset + 151, 1);
  expect(await scrubbed(world, { fetch: copiesFrom(other) })).toMatchObject({
    damaged: 1,
    repaired: 0,
  });
  expect(contents(world) === damagedContents).toBe(true);
});

test("it keeps to its rate, stops when told, and says how far it was", async () => {
  const world = await busy();
  const bytes = world.disk.list().reduce((sum, info) => sum + info.bytes, 0);
  const began = world.clock.nowMicros();
  await scrubbed(world, { bytesPerSecond: bytes / 10 });
  expect(world.clock.nowMicros() - began).toBeGreaterThan(7e6);

  const { log, disk: store, clock: time } = world;
  const scrub = new Scrub({ log, store, time, bytesPerSecond: bytes / 1e6, fetch: null });
  world.clock.advance(3_000_000);
  const stoppedAt = world.clock.nowMicros();
  scrub.stop();
  await world.run(scrub.ended);
  expect(world.clock.nowMicros() - stoppedAt).toBeLessThan(1e6);
  const { state, scrubbedBytes, endedMicros } = scrub.progress;
  expect(state).toBe("stopped");
  expect(scrubbedBytes).toBeLessThan(bytes);
  expect(endedMicros).not.toBe(null);
});

test("the last records of a sealed segment, unreadable or broken, are damage like any other", async () => {
  const world = await busy();
  const before = contents(world);
  const mirror = copyOf(world.disk);
  const sealed = recordsOf(world.disk).filter(({ segment }) => segment === 1);
  const [last, seal] = sealed.slice(-2);
  if (last === undefined || seal === undefined) throw new Error("records");
  world.disk.makeUnreadable(1, last.offset);
  world.disk.flipBit(1, seal.offset + 9, 1);
  const { damaged, repaired, findings } = await scrubbed(world, { fetch: copiesFrom(mirror) });
  expect({ damaged, repaired }).toEqual({ damaged: 2, repaired: 2 });
  // What stands in readable sectors before is not suspected.
  expect(findings[0]?.offset).toBeGreaterThan(last.offset - 4096);
  expect(contents(world) === before).toBe(true);
});
