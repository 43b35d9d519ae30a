import { describe, expect, test } from "vitest";
import type { Address } from "../../logfs/core/log/api.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { ScannedRecord } from "../../logfs/core/log/scan.ts";
import { type FsWorld, name, ROOT } from "../fs-world.ts";
import { VirtualClock } from "../sim/clock.ts";
import type { SimulatedDisk } from "../sim/disk.ts";
import {
  copyOf,
  expectClean,
  populate,
  recordsOf,
  repair,
  type Repaired,
  smallSegments,
  stop,
  treeOf,
} from "../repair-world.ts";

async function stopped(files = 150): Promise<{ world: FsWorld; tree: Map<string, string> }> {
  const world = smallSegments();
  await populate(world, files, 7);
  world.volume.checkpoint();
  // Later records say that all of that was durable: damage to it is no torn tail.
  for (const text of ["x", "y"]) {
    world.settle();
    await world.run(world.fs.mkdir(ROOT, 1, name(text), 0o755));
  }
  const tree = await treeOf(world);
  stop(world);
  return { world, tree };
}

function contents({ disk }: FsWorld): string {
  const parts = disk.list().map(({ segment, bytes }) => disk.readSync(segment, 0, bytes));
  return Buffer.concat(parts).toString("latin1");
}

/** A long record that is still needed, not in the last segment: there, the log would not open. */
function sealedRecord({ disk }: FsWorld, kind: number): ScannedRecord {
  const last = disk.list().at(-1)?.segment ?? 0;
  const found = recordsOf(disk).findLast(
    ({ header, segment }) => header.kind === kind && header.bodyBytes > 6000 && segment < last,
  );
  return found ?? expect.unreachable();
}

/** Each once: several extents may be in one damaged block. */
function problemsOf({ check }: Repaired): string[] {
  return [...new Set(check.findings.map(({ problem }) => problem))];
}

describe("without a mirror", () => {
  test("a whole store is not written to", async () => {
    const { world } = await stopped();
    const before = contents(world);
    const repaired = await repair(world);
    expectClean(repaired);
    expect(repaired.actions).toEqual([]);
    expect(contents(world) === before).toBe(true);
  });

  test("damaged nodes are made again from the log, and nothing is lost", async () => {
    const { world, tree } = await stopped();
    const nodes = recordsOf(world.disk).filter(({ header }) => header.kind === KIND.nodes);
    expect(nodes.length).toBeGreaterThan(2);
    for (const { segment, bodyOffset, header } of nodes.slice(-2)) {
      for (let at = 30; at < header.bodyBytes; at += 500) {
        world.disk.flipBit(segment, bodyOffset + at, 1);
      }
    }
    const repaired = await repair(world);
    expectClean(repaired);
    expect(repaired.actions.map(({ problem }) => problem)).toContain("salvage");
    await world.remount();
    expect(await treeOf(world)).toEqual(tree);
  });

  test("a damaged superblock: the one before, and what follows it", async () => {
    const { world, tree } = await stopped();
    const checkpoints = recordsOf(world.disk).filter(
      ({ header }) => header.kind === KIND.checkpoint,
    );
    const { segment, offset } = checkpoints.at(-1) ?? expect.unreachable();
    world.disk.flipBit(segment, offset + 110, 3);
    expectClean(await repair(world));
    await world.remount();
    expect(await treeOf(world)).toEqual(tree);
  });

  test("what was rolled back does not come back with the nodes that are made again", async () => {
    const world = smallSegments();
    await populate(world, 60, 7);
    await world.run(world.volume.snapshots.take("before"));
    const tree = await treeOf(world);
    const names = [...tree.keys()].filter((path) => path.lastIndexOf("/") === 0).slice(0, 5);
    for (const path of names.map((one) => one.slice(1))) {
      await world.run(world.fs.rename(ROOT, 1, name(path), 1, name(`${path}-renamed`), 0));
    }
    await world.run(world.fs.mkdir(ROOT, 1, name("new"), 0o755));
    world.volume.checkpoint();
    await world.run(world.volume.snapshots.rollBack("before"));
    for (let i = 0; i < 2; i++) {
      world.settle();
      world.volume.checkpoint("always");
    }
    stop(world);
    expect(names.length).toBe(5);
    const nodes = recordsOf(world.disk).filter(({ header }) => header.kind === KIND.nodes);
    for (const { segment, bodyOffset, header } of nodes) {
      for (let at = 30; at < header.bodyBytes; at += 500) {
        world.disk.flipBit(segment, bodyOffset + at, 1);
      }
    }
    const repaired = await repair(world);
    const active = repaired.check.findings.filter(({ snapshot }) => snapshot === null);
    expect(active).toEqual([]);
    await world.remount();
    expect(await treeOf(world)).toEqual(tree);
  });

  test("a damaged record costs its operation, and the log goes on", async () => {
    const { world, tree } = await stopped();
    await world.remount();
    const home = await world.run(world.fs.mkdir(ROOT, 1, name("later"), 0o755));
    for (let i = 0; i < 20; i++) {
      await world.run(world.fs.mkdir(ROOT, home.inode, name(`${i}`), 0o755));
      world.settle();
    }
    stop(world);
    const updates = recordsOf(world.disk).filter(({ header }) => header.kind === KIND.update);
    const { segment, offset } = updates.at(-12) ?? expect.unreachable();
    world.disk.flipBit(segment, offset + 3, 3);
    const last = recordsOf(world.disk).at(-1) ?? expect.unreachable();
    const kept: Address[] = [];
    const repaired = await repair(world, { keepAside: (parts) => kept.push(...parts) });
    expect(kept).toEqual([{ segment: last.segment, offset: last.offset + last.totalBytes }]);
    expectClean(repaired);
    expect(repaired.left).toBeGreaterThan(0);
    await world.remount();
    const after = await treeOf(world);
    for (const [path, what] of tree) expect(after.get(path)).toBe(what);
    expect([...after.keys()].filter((path) => path.startsWith("/later/")).length).toBe(19);
    expectClean(await repair(world));
  });

  test("a damaged segment header is made again", async () => {
    const { world, tree } = await stopped();
    const segment = world.disk.list()[1]?.segment ?? 0;
    world.disk.flipBit(segment, 20, 1);
    expectClean(await repair(world));
    await world.remount();
    expect(await treeOf(world)).toEqual(tree);
  });

  test("damaged data stays unreadable, or becomes zeros when that is wanted", async () => {
    const { world } = await stopped();
    const { segment, bodyOffset } = sealedRecord(world, KIND.update);
    world.disk.flipBit(segment, bodyOffset + 3000, 1);
    const first = await repair(world);
    expect(problemsOf(first)).toEqual(["data"]);
    const second = await repair(world, { damagedData: "zero" });
    expectClean(second);
    expect(second.actions.map(({ what }) => what).join()).toMatch(/are zeros now/);
    await world.remount();
    expect([...(await treeOf(world)).values()].join()).not.toContain("EIO");
  });
});

describe("with a mirror", () => {
  test("whatever is damaged comes back, byte for byte", async () => {
    const { world } = await stopped();
    const mirror = copyOf(world.disk);
    const before = contents(world);
    const records = recordsOf(world.disk);
    for (let i = 3; i < records.length; i += 5) {
      const { segment, offset, totalBytes } = records[i] ?? expect.unreachable();
      world.disk.flipBit(segment, offset + ((i * 37) % totalBytes), i % 8);
    }
    for (const { segment } of world.disk.list()) world.disk.flipBit(segment, 33, 2);
    const repaired = await repair(world, { mirror });
    expectClean(repaired);
    expect(repaired.left).toBe(0);
    expect(repaired.actions.length).toBeGreaterThan(20);
    expect(contents(world) === before).toBe(true);
  });

  test("a copy that is damaged, too, is not taken", async () => {
    const { world } = await stopped();
    const mirror = copyOf(world.disk);
    const { segment, bodyOffset } = sealedRecord(world, KIND.update);
    world.disk.flipBit(segment, bodyOffset + 3000, 1);
    mirror.flipBit(segment, bodyOffset + 10, 1);
    const repaired = await repair(world, { mirror });
    expect(repaired.actions.map(({ outcome }) => outcome)).toEqual(["left"]);
    expect(problemsOf(repaired)).toEqual(["data"]);
  });

  test("a store that may only be patched is not appended to", async () => {
    const { world } = await stopped();
    const before = contents(world);
    const { segment, bodyOffset } = sealedRecord(world, KIND.update);
    world.disk.flipBit(segment, bodyOffset + 40, 1);
    const damaged = contents(world);
    const alone = await repair(world, { extent: "patch" });
    expect(alone.check.errors).toBeGreaterThan(0);
    expect(contents(world) === damaged).toBe(true);
    const mirror = copyOf(world.disk);
    mirror.flipBit(segment, bodyOffset + 40, 1);
    expectClean(await repair(world, { extent: "patch", mirror }));
    expect(contents(world) === before).toBe(true);
  });
});

test("a mirror that has everything follows a log that goes on behind damage", async () => {
  const { world } = await stopped();
  const mirror = followerOn(copyOf(world.disk));
  const nodes = recordsOf(world.disk).filter(({ header }) => header.kind === KIND.nodes);
  const { segment, bodyOffset } = nodes.at(-1) ?? expect.unreachable();
  world.disk.flipBit(segment, bodyOffset + 40, 1);
  const repaired = await repair(world);
  expect(repaired.actions.map(({ what }) => what).join()).toContain("the log goes on in segment");

  const before = mirror.head.sequence;
  await world.remount();
  await world.run(world.fs.mkdir(ROOT, 1, name("after"), 0o755));
  for (const record of recordsOf(world.disk)) {
    if (record.header.sequence <= before) continue;
    mirror.appendRaw(record.raw().slice());
  }
  expect(mirror.head).toEqual(world.log.head);
});

function followerOn(disk: SimulatedDisk): Log {
  const options = { segmentBytes: 256 * 1024, allocationBytes: 32 * 1024, follower: true };
  const recovered = Log.recover(disk, options, new VirtualClock());
  return recovered.ok ? recovered.log : expect.unreachable();
}

describe("with a mirror that has whole files", () => {
  test("a segment that is gone comes back", async () => {
    const { world } = await stopped();
    const mirror = copyOf(world.disk);
    const before = contents(world);
    const gone = world.disk.list().at(-2)?.segment ?? 0;
    world.disk.remove(gone);
    const repaired = await repair(world, { mirror });
    expectClean(repaired);
    expect(repaired.actions.map(({ problem }) => problem)).toContain("segment-missing");
    expect(contents(world) === before).toBe(true);
  });

  test.each([-1, -2])(
    "a segment that was cut short is whole again (%i from the end)",
    async (at) => {
      const { world, tree } = await stopped();
      const mirror = copyOf(world.disk);
      const { segment } = world.disk.list().at(at) ?? expect.unreachable();
      world.disk.truncate(segment, 5001);
      const repaired = await repair(world, { mirror });
      expectClean(repaired);
      expect(repaired.left).toBe(0);
      await world.remount();
      expect(await treeOf(world)).toEqual(tree);
    },
  );
});
