/** Stores on a real disk that are opened in their roles, without a mount. */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { configFrom } from "../../cli/config.ts";
import { mkfsCommand } from "../../cli/mkfs.ts";
import { promoteOffline } from "../../cli/promote.ts";
import { MirrorSite } from "../../cli/site/mirror.ts";
import { volumeLimits } from "../../cli/site/limits.ts";
import { closeLog, openPrimary, openStore } from "../../cli/site/primary.ts";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { StoreRegistry } from "../../logfs/log/registry.ts";
import { PROTOCOL_VERSION } from "../../mirror/core/messages.ts";
import { systemTime } from "../../sys/time.ts";

const ROOT = { uid: 0, gid: 0, groups: () => [] };
const SILENT = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
const NO_EVENTS = { onSettled: () => {}, onFenced: () => {} };

const HELLO = {
  version: PROTOCOL_VERSION,
  logId: new Uint8Array(16).fill(1),
  writerId: new Uint8Array(16),
  epoch: 1,
  headSequence: 1,
  segmentBytes: 2 ** 20,
  maxRecordBytes: 2 ** 18,
};

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "smfs-roles-"));
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

async function primary(...flags: string[]) {
  const path = join(directory, "store");
  await mkfsCommand().parseAsync([path, ...flags], { from: "user" });
  const registry = StoreRegistry.open(path);
  return openPrimary(registry, configFrom({}, path), systemTime, SILENT, NO_EVENTS);
}

it("an opening's epoch is durable before anybody can hear of it", async () => {
  const site = await primary();
  expect(site.log.durableSequence).toBe(site.log.head.sequence);
  await site.close();
});

it("a standalone primary drops the segments of what was overwritten", async () => {
  const site = await primary("--segment-size", "2MiB");
  const { fileSystem, log } = site;
  const options = { read: true, write: true, append: false, truncate: false };
  const name = new TextEncoder().encode("name");
  const { handle } = await fileSystem.create(ROOT, 1, name, 0o644, true, options);
  const data = new Uint8Array(2 ** 20);
  for (let i = 0; i < 12; i++) await fileSystem.write(handle, 0, data.fill(i), "none");
  site.volume.checkpoint();
  await new Promise((resolve) => {
    log.whenDurable(log.head.sequence, resolve);
  });
  await vi.waitFor(() => expect(log.segmentCount).toBeLessThanOrEqual(2));
  expect(log.statistics.segmentsDropped).toBeGreaterThan(4);
  expect(site.store.list().length).toBe(log.segmentCount);
  expect((await fileSystem.read(handle, 0, 4))[0]).toEqual(Uint8Array.of(11, 11, 11, 11));
  await site.close();
});

it("a primary that was fenced closes, without a checkpoint", async () => {
  const site = await primary();
  await site.fileSystem.mkdir(ROOT, 1, new TextEncoder().encode("name"), 0o755);
  site.log.fence("superseded");
  await site.close();
  expect(site.log.durableSequence).toBe(site.log.head.sequence);
});

it("a mirror without a whole file system is not promoted, and stays what it is", async () => {
  const path = join(directory, "mirror");
  const registry = StoreRegistry.create(path, "mirror");
  const {
    id: logId,
    segmentBytes,
    maxRecordBytes,
    ...place
  } = registry.createLog(2 ** 20, 2 ** 18);
  const store = openStore(place.directory, null);
  const log = Log.create(store, { logId, segmentBytes, maxRecordBytes }, systemTime);
  log.startEpoch(1, 1);
  await closeLog(log);
  store.close();
  await expect(promoteOffline(registry, { force: false })).rejects.toThrow("whole file system");
  expect(StoreRegistry.open(path).role).toBe("mirror");
});

function recordsFrom(log: Log, sequence: number): Promise<RawRecord[]> {
  return new Promise((resolve, reject) => {
    log.readRecords(sequence, 2 ** 20, (error, found) => (error ? reject(error) : resolve(found)));
  });
}

/** A mirror's store with a whole file system, and a damaged record with another one behind it. */
async function damagedMirror(): Promise<StoreRegistry> {
  const site = await primary();
  const registry = StoreRegistry.create(join(directory, "mirror"), "mirror");
  const limits = { segmentBytes: 100_000_000, maxRecordBytes: 4 * 2 ** 20 };
  const place = registry.createLog(
    limits.segmentBytes,
    limits.maxRecordBytes,
    Buffer.from(site.log.id),
  );
  const store = openStore(place.directory, null);
  const log = Log.create(store, { logId: place.id, ...limits }, systemTime);
  for (const { bytes } of await recordsFrom(site.log, 1)) log.appendRaw(bytes);
  const damaged = log.endAddress.offset + 100;
  for (const name of ["first", "second"]) {
    await site.fileSystem.mkdir(ROOT, 1, new TextEncoder().encode(name), 0o755);
    await new Promise((resolve) => {
      site.log.whenDurable(site.log.head.sequence, resolve);
    });
  }
  for (const { bytes } of await recordsFrom(site.log, log.head.sequence + 1)) log.appendRaw(bytes);
  await closeLog(log);
  await site.close();
  store.close();
  const fd = openSync(join(place.directory, "00000001.seg"), "r+");
  writeSync(fd, Uint8Array.of(0xff), 0, 1, damaged);
  closeSync(fd);
  return registry;
}

it("the damaged end of a mirror's log is kept, and promotion does without it only when forced", async () => {
  const registry = await damagedMirror();
  const place = registry.log?.directory ?? "";
  const before = readFileSync(join(place, "00000001.seg"));
  const site = await MirrorSite.open(
    registry,
    configFrom({}, registry.path),
    systemTime,
    SILENT,
    () => {},
  );
  const { sequence = 0 } = site.log?.head ?? {};
  const offset = site.log?.endAddress.offset ?? 0;
  await site.close();
  const [file = "", ...others] = readdirSync(join(registry.path, "setaside"));
  expect([file, ...others]).toEqual([`damaged-1-${offset}.raw`]);
  const kept = readFileSync(join(registry.path, "setaside", file));
  expect(kept.length).toBeGreaterThan(100);
  expect(Buffer.compare(kept, before.subarray(offset, offset + kept.length))).toBe(0);
  const again = StoreRegistry.open(registry.path);
  expect(again.lostSequence).toBe(sequence + 2);
  await expect(promoteOffline(again, { force: false })).rejects.toThrow(
    `damaged behind record ${sequence}, and had at least record ${sequence + 2}`,
  );
  expect(StoreRegistry.open(registry.path).role).toBe("mirror");
  await promoteOffline(again, { force: true });
  expect(StoreRegistry.open(registry.path)).toMatchObject({ role: "primary", lostSequence: null });
});

it("a mirror that had no room for its log makes it when there is some", async () => {
  const path = join(directory, "mirror");
  const registry = StoreRegistry.create(path, "mirror");
  const config = configFrom({}, path);
  const small = { ...config, store: { ...config.store, capacityBytes: 1 } };
  const site = await MirrorSite.open(registry, small, systemTime, SILENT, () => {});
  expect(() => site.create(HELLO)).toThrow("no space");
  small.store.capacityBytes = 2 ** 30;
  expect(site.create(HELLO).head.sequence).toBe(0);
  await site.close();
});

it("a mirror whose log is closed for a moment does not take another one", async () => {
  const path = join(directory, "mirror");
  const registry = StoreRegistry.create(path, "mirror");
  const site = await MirrorSite.open(registry, configFrom({}, path), systemTime, SILENT, () => {});
  site.create(HELLO);
  const opened = registry.log;
  await site.close();
  expect(() => site.create({ ...HELLO, logId: new Uint8Array(16).fill(2) })).toThrow(
    "being opened",
  );
  expect(registry.log).toEqual(opened);
});

it("keeps fewer changed nodes in memory for a small store, and never more than configured", () => {
  const config = configFrom({}, directory);
  const dirtyMiB = (totalBytes: number, dirtyLimitBytes = 64 * 2 ** 20): number => {
    const store = { ...config.store, dirtyLimitBytes };
    const space = () => ({ totalBytes, freeBytes: 0, usedBytes: 0 });
    return volumeLimits({ ...config, store }, { space }).dirtyBytes / 2 ** 20;
  };
  expect(dirtyMiB(2 ** 40)).toBe(64);
  expect(dirtyMiB(2 * 2 ** 30)).toBe(32);
  expect(dirtyMiB(2 ** 20)).toBe(16);
  expect(dirtyMiB(2 ** 20, 2 ** 20)).toBe(1);
});
