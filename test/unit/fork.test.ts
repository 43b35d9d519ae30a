/** Forks on a real disk, without mounts: two stores that share files and must never notice. */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { configFrom } from "../../cli/config.ts";
import { fork } from "../../cli/fork.ts";
import { repairCommand } from "../../cli/fsck-repair.ts";
import { openOffline } from "../../cli/offline.ts";
import { MirrorSite } from "../../cli/site/mirror.ts";
import type { PrimarySite } from "../../cli/site/primary.ts";
import { inspectLog } from "../../logfs/core/log/inspect.ts";
import { StoreRegistry } from "../../logfs/log/registry.ts";
import { FileSegmentStore } from "../../logfs/log/store.ts";
import { systemTime } from "../../sys/time.ts";
import { digests, type Digests, durable, ForkWorld, SILENT, write } from "../fork-world.ts";
import { bytesOf, name, ROOT } from "../fs-world.ts";

const MIB = 2 ** 20;

let world: ForkWorld;
beforeEach(() => {
  world = new ForkWorld();
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await world.close();
});

const at = (store: string): string => world.at(store);
const mkfs = (store: string): Promise<PrimarySite> => world.mkfs(store);
const mount = (store: string): Promise<PrimarySite> => world.mount(store);
const unmount = (site: PrimarySite): Promise<void> => world.unmount(site);
const findings = (store: string): Promise<readonly unknown[]> => world.findings(store);
const links = (store: string): number[] => world.links(store);

/** Six mebibytes in three files, over several segments. */
async function fill(site: PrimarySite): Promise<Digests> {
  for (const file of ["a", "b", "c"]) await write(site, file, bytesOf(2 * MIB, file.charCodeAt(0)));
  return digests(site);
}

async function dropped(site: PrimarySite, most: number): Promise<void> {
  site.volume.checkpoint();
  await durable(site);
  await vi.waitFor(() => expect(site.log.segmentCount).toBeLessThanOrEqual(most));
}

describe("a fork", () => {
  test("has what the snapshot had, shares its files, and both change on their own", async () => {
    const parent = await mkfs("parent");
    const before = await fill(parent);
    parent.volume.snapshots.take("monday");
    await write(parent, "a", bytesOf(MIB, 1));
    const { linked, copied } = await fork({ store: at("parent"), name: "monday" }, at("child"));
    expect(linked).toBeGreaterThan(1);
    expect(copied).toBeLessThanOrEqual(1);
    expect(links("child").filter((count) => count === 2).length).toBe(linked);
    const child = await mount("child");
    expect(await digests(child)).toEqual(before);
    expect(child.volume.keptSnapshots).toEqual([]);
    expect(child.volume.identity.volumeId).not.toEqual(parent.volume.identity.volumeId);
    await write(child, "b", bytesOf(MIB, 2));
    await write(child, "new", bytesOf(3 * MIB, 3));
    await write(parent, "c", bytesOf(MIB, 4));
    const [parents, childs] = [await digests(parent), await digests(child)];
    await unmount(parent);
    await unmount(child);
    expect(await findings("parent")).toEqual([]);
    expect(await findings("child")).toEqual([]);
    expect(await digests(await mount("parent"))).toEqual(parents);
    expect(await digests(await mount("child"))).toEqual(childs);
  });

  test("is whole when its parent has dropped everything, and when the parent is gone", async () => {
    const parent = await mkfs("parent");
    const before = await fill(parent);
    parent.volume.snapshots.take("monday");
    await fork({ store: at("parent"), name: "monday" }, at("child"));
    for (const file of ["a", "b", "c"]) await parent.fileSystem.unlink(ROOT, 1, name(file));
    parent.volume.snapshots.remove("monday");
    await write(parent, "d", bytesOf(2 * MIB, 4));
    await dropped(parent, 3);
    const first = await mount("child");
    expect(await digests(first)).toEqual(before);
    await unmount(parent);
    rmSync(at("parent"), { recursive: true });
    await unmount(first);
    expect(await findings("child")).toEqual([]);
    const child = await mount("child");
    expect(await digests(child)).toEqual(before);
    for (const file of ["a", "b", "c"]) await child.fileSystem.unlink(ROOT, 1, name(file));
    await write(child, "d", bytesOf(2 * MIB, 4));
    await dropped(child, 3);
  });

  test("drops on its own what its parent still has", async () => {
    const parent = await mkfs("parent");
    const before = await fill(parent);
    parent.volume.snapshots.take("monday");
    await fork({ store: at("parent"), name: "monday" }, at("child"));
    const child = await mount("child");
    for (const file of ["a", "b", "c"]) await write(child, file, bytesOf(2 * MIB, 9));
    await dropped(child, 6);
    expect(await digests(parent)).toEqual(before);
    await unmount(parent);
    await unmount(child);
    expect(await findings("parent")).toEqual([]);
    expect(await findings("child")).toEqual([]);
  });

  test("can be forked, and the fork of the fork stands alone", async () => {
    const parent = await mkfs("parent");
    await fill(parent);
    parent.volume.snapshots.take("one");
    await fork({ store: at("parent"), name: "one" }, at("child"));
    const child = await mount("child");
    await write(child, "new", bytesOf(MIB, 5));
    const before = await digests(child);
    child.volume.snapshots.take("two");
    await fork({ store: at("child"), name: "two" }, at("grandchild"));
    expect(StoreRegistry.open(at("grandchild")).log?.ancestors.length).toBe(2);
    await unmount(parent);
    await unmount(child);
    rmSync(at("parent"), { recursive: true });
    rmSync(at("child"), { recursive: true });
    expect(await findings("grandchild")).toEqual([]);
    expect(await digests(await mount("grandchild"))).toEqual(before);
  });

  test("can be made at the mirror, while its log grows", async () => {
    const parent = await mkfs("parent");
    const before = await fill(parent);
    parent.volume.snapshots.take("monday");
    await durable(parent);
    cpSync(at("parent"), at("mirror"), { recursive: true });
    StoreRegistry.open(at("mirror")).adoptAsMirror();
    const site = await MirrorSite.open(
      StoreRegistry.open(at("mirror")),
      configFrom({}, at("mirror")),
      systemTime,
      SILENT,
      () => {},
    );
    await fork({ store: at("mirror"), name: "monday" }, at("child"));
    await write(parent, "later", bytesOf(MIB));
    parent.log.readRecords((site.log?.head.sequence ?? 0) + 1, MIB, (_error, records) => {
      for (const { bytes } of records) site.log?.appendRaw(bytes);
    });
    await site.close();
    const child = await mount("child");
    expect(await digests(child)).toEqual(before);
    await unmount(child);
    await unmount(parent);
    expect(await findings("child")).toEqual([]);
    expect(await findings("mirror")).toEqual([]);
  });

  test("of a snapshot in the segment that is written to leaves that segment alone", async () => {
    const parent = await mkfs("parent");
    await write(parent, "small", bytesOf(1000));
    parent.volume.snapshots.take("now");
    const shared = await fork({ store: at("parent"), name: "now" }, at("child"));
    expect(shared).toEqual({ linked: 0, copied: 1 });
    const child = await mount("child");
    await write(parent, "parent", bytesOf(1000, 1));
    await write(child, "child", bytesOf(1000, 2));
    expect([...(await digests(child)).keys()].toSorted()).toEqual(["child", "small"]);
    await unmount(child);
    await unmount(parent);
    expect([...(await digests(await mount("parent"))).keys()].toSorted()).toEqual([
      "parent",
      "small",
    ]);
    expect(await findings("child")).toEqual([]);
  });
});

test("fsck --repair finds nothing to repair in a whole fork, or in a store with gaps", async () => {
  const parent = await mkfs("parent");
  await fill(parent);
  parent.volume.snapshots.take("monday");
  await fork({ store: at("parent"), name: "monday" }, at("child"));
  parent.volume.snapshots.remove("monday");
  for (const file of ["a", "c"]) await write(parent, file, bytesOf(2 * MIB, 9));
  await dropped(parent, 6);
  const segments = parent.log.segments.map(({ segment }) => segment);
  expect((segments.at(-1) ?? 0) - segments.length).toBeGreaterThan(1);
  await unmount(parent);
  const flags = { memory: 64 * MIB, deep: true, json: true } as const;
  expect(await repairCommand(at("child"), flags)).toBe(0);
  expect(await repairCommand(at("parent"), flags)).toBe(0);
});

describe("what cannot be forked", () => {
  test("leaves nothing behind", async () => {
    const parent = await mkfs("parent");
    await fill(parent);
    parent.volume.snapshots.take("monday");
    const target = { store: at("parent"), name: "monday" };
    await expect(fork({ ...target, name: "tuesday" }, at("child"))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "there is no snapshot tuesday",
    });
    await expect(fork(target, at("parent"))).rejects.toMatchObject({ code: "BUSY" });
    await unmount(parent);
    rmSync(join(StoreRegistry.open(at("parent")).log?.directory ?? "", "00000001.seg"));
    await expect(fork(target, at("child"))).rejects.toThrow(
      "segment 1, which the snapshot needs, is missing",
    );
    expect(readdirSync(at("child"))).toEqual([]);
  });

  test("is another log's segment without the ancestor's name", async () => {
    const parent = await mkfs("parent");
    await fill(parent);
    parent.volume.snapshots.take("monday");
    await fork({ store: at("parent"), name: "monday" }, at("child"));
    const place = StoreRegistry.open(at("child")).log;
    if (place === null) throw new Error("no log");
    const { files, options, close } = openOffline(at("child"), "keep out");
    const { failure } = inspectLog(files, { ...options, ancestors: [] }, systemTime);
    expect(failure).toMatchObject({ code: "OTHER_HISTORY" });
    close();
  });
});

/** A directory on another device than the temporary one; undefined when there is none. */
function elsewhere(): string | undefined {
  const memory = "/dev/shm";
  const isOther = existsSync(memory) && statSync(memory).dev !== statSync(tmpdir()).dev;
  return isOther ? memory : undefined;
}

test.skipIf(elsewhere() === undefined)("on another device the segments are copied", async () => {
  const parent = await mkfs("parent");
  const before = await fill(parent);
  parent.volume.snapshots.take("monday");
  const far = mkdtempSync(join(elsewhere() ?? "", "smfs-fork-"));
  try {
    const { linked, copied } = await fork({ store: at("parent"), name: "monday" }, join(far, "x"));
    expect([linked, copied > 1]).toEqual([0, true]);
    const child = await mount(join(far, "x"));
    expect(await digests(child)).toEqual(before);
    await unmount(child);
  } finally {
    rmSync(far, { recursive: true });
  }
});

test("a segment that a fork shares gets a file of its own before it is cleared", async () => {
  const parent = await mkfs("parent");
  await fill(parent);
  parent.volume.snapshots.take("monday");
  await fork({ store: at("parent"), name: "monday" }, at("child"));
  await unmount(parent);
  const [mine, theirs] = ["parent", "child"].map((store) => {
    return new FileSegmentStore(StoreRegistry.open(at(store)).log?.directory ?? "");
  }) as [FileSegmentStore, FileSegmentStore];
  const segment = links("child").indexOf(2) + 1;
  const { bytes = 0 } = theirs.list().find((one) => one.segment === segment) ?? {};
  const before = theirs.readSync(segment, 0, bytes);
  mine.clear(segment, 1000);
  expect(Buffer.compare(theirs.readSync(segment, 0, bytes), before)).toBe(0);
  const cleared = mine.readSync(segment, 0, bytes);
  expect(cleared.length).toBe(bytes);
  expect(Buffer.compare(cleared.subarray(0, 1000), before.subarray(0, 1000))).toBe(0);
  expect(cleared.subarray(1000).every((byte) => byte === 0)).toBe(true);
  await new Promise((resolve) => {
    mine.write(segment, 0, [bytesOf(5000)], resolve);
  });
  expect(Buffer.compare(theirs.readSync(segment, 0, bytes), before)).toBe(0);
  mine.close();
  theirs.close();
});
