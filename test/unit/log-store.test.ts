import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Clock, Timers } from "../../lib/ports.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { FileSegmentStore } from "../../logfs/log/store.ts";
import { bodyOf, codeOf, LOG_ID, SMALL } from "../sim/log-world.ts";

let directory: string;
let store: FileSegmentStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "smfs-store-"));
  store = new FileSegmentStore(directory, { reserveBytes: 65536 });
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

const time: Clock & Timers = {
  wallMicros: () => 1_600_000_000_000_000,
  nowMicros: () => 0,
  at: () => () => {},
};

const written = (segment: number, offset: number, parts: Uint8Array[]) =>
  new Promise<Error | null>((resolve) => store.write(segment, offset, parts, resolve));

const synced = (segment: number) =>
  new Promise<Error | null>((resolve) => store.sync(segment, resolve));

const read = (segment: number, offset: number, length: number) =>
  new Promise<Uint8Array>((resolve, reject) => {
    store.read(segment, offset, length, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });

/** Of a descriptor of this process; nothing when it is closed meanwhile. */
function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

describe("segment files", () => {
  test("have the space they were allocated, in blocks", () => {
    store.allocate(1, 65536);
    const { size, blocks } = statSync(join(directory, "00000001.seg"));
    expect(size).toBe(65536);
    expect(blocks * 512).toBeGreaterThanOrEqual(65536);
    expect(store.list()).toEqual([{ segment: 1, bytes: 65536 }]);
  });

  test("give back what was written, in any number of parts", async () => {
    store.allocate(1, 2 ** 20);
    const parts = Array.from({ length: 3000 }, (_, i) => bodyOf(i % 50));
    expect(await written(1, 100, parts)).toBeNull();
    expect(await synced(1)).toBeNull();
    const whole = Buffer.concat(parts);
    expect(Buffer.compare(await read(1, 100, whole.length), whole)).toBe(0);
    expect(Buffer.compare(store.readSync(1, 100, whole.length), whole)).toBe(0);
  });

  test("take a write of 1 MiB before the call returns, a longer one and one beside a sync after", async () => {
    store.allocate(1, 4 * 2 ** 20);
    let done = 0;
    const count = (error: Error | null): void => void (done += error === null ? 1 : Number.NaN);
    store.write(1, 4096, [bodyOf(2 ** 20)], count);
    store.write(1, 0, [bodyOf(10), bodyOf(20)], count);
    expect(done).toBe(2);
    expect(store.readSync(1, 10, 20)).toEqual(bodyOf(20));
    const sync = synced(1);
    const large = written(1, 4096, [bodyOf(2 ** 21)]);
    store.write(1, 64, [bodyOf(30)], count);
    expect(done).toBe(2);
    expect(await sync).toBeNull();
    expect(await large).toBeNull();
    expect(await written(1, 64, [bodyOf(30)])).toBeNull();
    expect(await read(1, 64, 30)).toEqual(bodyOf(30));
    expect(Buffer.compare(await read(1, 4096, 2 ** 21), bodyOf(2 ** 21))).toBe(0);
  });

  test("what was just written is read without waiting, into memory given; never past the end", async () => {
    store.allocate(1, 2 ** 20);
    expect(await written(1, 100, [bodyOf(5000)])).toBeNull();
    const into = new Uint8Array(5000);
    // Where the file system cannot tell (then it says so once) a second call settles it.
    const cached = store.readCached(1, 100, into) || store.readCached(1, 100, into);
    if (cached) expect(into).toEqual(bodyOf(5000));
    expect(store.readCached(1, 2 ** 20 - 10, new Uint8Array(20))).toBe(false);
  });

  test("a read past the end gives what is there and takes no memory for the rest", async () => {
    store.allocate(1, 4096);
    expect((await read(1, 4000, 2 ** 40)).length).toBe(96);
    expect(store.readSync(1, 8000, 100).length).toBe(0);
  });

  test("clear leaves zeros and the allocation", async () => {
    store.allocate(1, 8192);
    await written(1, 0, [bodyOf(8192)]);
    store.clear(1, 1000);
    expect(store.readSync(1, 0, 1000)).toEqual(bodyOf(8192).subarray(0, 1000));
    expect(store.readSync(1, 1000, 8192).every((byte) => byte === 0)).toBe(true);
    expect(store.list()).toEqual([{ segment: 1, bytes: 8192 }]);
  });

  test("a call on a segment that is not there fails through its callback", async () => {
    expect(await written(7, 0, [bodyOf(10)])).toMatchObject({ code: "NOT_FOUND" });
    expect(codeOf(() => store.readSync(7, 0, 10))).toBe("NOT_FOUND");
    await expect(read(7, 0, 10)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("written again they are what they were", async () => {
    store.allocate(1, 4 * 2 ** 20);
    const bytes = bodyOf(3 * 2 ** 20);
    await written(1, 1000, [bytes]);
    store.rewrite(1, 500, 1000 + bytes.length);
    expect(Buffer.compare(await read(1, 1000, bytes.length), bytes)).toBe(0);
    expect((await read(1, 0, 1000)).every((byte) => byte === 0)).toBe(true);
    expect(store.list()).toEqual([{ segment: 1, bytes: 4 * 2 ** 20 }]);
  });

  test("trim gives the end of the allocation back", async () => {
    store.allocate(1, 2 ** 20);
    await written(1, 0, [bodyOf(4096)]);
    store.trim(1, 4096);
    store.trim(1, 8192);
    expect(store.list()).toEqual([{ segment: 1, bytes: 4096 }]);
    expect(statSync(join(directory, "00000001.seg")).blocks * 512).toBeLessThan(2 ** 20);
    expect(await read(1, 0, 8192)).toEqual(bodyOf(4096));
    store.allocate(1, 8192);
    expect((await read(1, 4096, 4096)).every((byte) => byte === 0)).toBe(true);
  });

  test("one that another process removed is not there any more", async () => {
    store.allocate(1, 4096);
    const looker = new FileSegmentStore(directory, { readOnly: true });
    store.remove(1);
    expect(looker.list()).toEqual([{ segment: 1, bytes: 4096 }]);
    expect(codeOf(() => looker.readSync(1, 0, 10))).toBe("NOT_FOUND");
    expect(looker.list()).toEqual([]);
    looker.close();
  });

  test.each([{ capacityBytes: 2 ** 30 }, { capacityBytes: 2 ** 20 }])(
    "a removed one is gone at once, and its blocks are given back (%o)",
    async (options) => {
      const place = join(directory, "own");
      const own = new FileSegmentStore(place, { reserveBytes: 0, ...options });
      const isHeld = (): boolean =>
        readdirSync("/proc/self/fd").some((fd) => targetOf(fd).startsWith(join(place, "0")));
      own.allocate(1, 2 ** 19);
      expect(isHeld()).toBe(true);
      own.remove(1);
      expect(readdirSync(place)).not.toContain("00000001.seg");
      if (options.capacityBytes === 2 ** 20) expect(isHeld()).toBe(false);
      await expect.poll(isHeld).toBe(false);
      expect(codeOf(() => own.remove(1))).toBe("IO");
      own.close();
    },
  );

  test("more segments than descriptors are kept open can all be read", async () => {
    for (let segment = 1; segment <= 80; segment++) {
      store.allocate(segment, 4096);
      await written(segment, 0, [Uint8Array.of(segment)]);
    }
    for (let segment = 1; segment <= 80; segment++) {
      expect((await read(segment, 0, 1))[0]).toBe(segment);
    }
    const open = readdirSync("/proc/self/fd").length;
    expect(open).toBeLessThan(64 + 60);
  });
});

describe("calls under way", () => {
  test("come back when their segment is removed and another takes its descriptor", async () => {
    store.allocate(1, 2 ** 20);
    await written(1, 0, [bodyOf(2 ** 20)]);
    const reads = Array.from({ length: 8 }, () => read(1, 0, 2 ** 20));
    store.remove(1);
    store.allocate(2, 2 ** 20);
    for (const bytes of await Promise.all(reads)) {
      expect(Buffer.compare(bytes, bodyOf(2 ** 20))).toBe(0);
    }
  });
});

describe("space", () => {
  test("over the quota is refused and nothing is left behind", () => {
    store.close();
    store = new FileSegmentStore(directory, { capacityBytes: 200_000, reserveBytes: 65536 });
    expect(codeOf(() => store.allocate(1, 150_000))).toBe("NO_SPACE");
    expect(store.list()).toEqual([]);
    store.allocate(1, 100_000);
    expect(store.space().freeBytes).toBe(200_000 - 100_000 - 65536);
  });

  test("more than the device has is refused, and the file is as it was", () => {
    store.allocate(1, 4096);
    const { freeBytes } = store.space();
    expect(codeOf(() => store.allocate(1, freeBytes + 2 ** 34))).toMatch(/NO_SPACE|IO/);
    expect(statSync(join(directory, "00000001.seg")).size).toBe(4096);
  });

  test("the reserve is given in parts, its last quarter to epochs only, and taken again", () => {
    const size = (): number => statSync(join(directory, "reserve")).size;
    expect(size()).toBe(65536);
    expect(store.releaseReserve(40960, "freeing")).toBe(true);
    expect(size()).toBe(24576);
    expect(store.releaseReserve(12288, "freeing")).toBe(false);
    expect(size()).toBe(24576);
    expect(store.releaseReserve(12288, "epoch")).toBe(true);
    store.restoreReserve();
    expect(size()).toBe(65536);
  });
});

describe("one writer", () => {
  test("another process that opens the store for writing finds it busy", () => {
    expect(codeOf(() => new FileSegmentStore(directory))).toBe("BUSY");
    const looking = new FileSegmentStore(directory, { readOnly: true });
    expect(looking.list()).toEqual([]);
    looking.close();
  });

  test("the lock goes with its process, however it ends", () => {
    store.close();
    const held = join(directory, "lock");
    const script = `exec 9>>"${held}"; flock -n 9 && kill -9 $$`;
    expect(() => execFileSync("bash", ["-c", script])).toThrow(/SIGKILL|failed/);
    store = new FileSegmentStore(directory, { reserveBytes: 65536 });
    expect(store.locked).toBe(true);
  });
});

describe("a log on files", () => {
  test("comes back after it was closed, and says when its last file lost its end", async () => {
    const log = Log.create(store, { logId: LOG_ID, ...SMALL }, time);
    while (log.endAddress.segment < 3) log.append(16, 0, [bodyOf(900)], () => {});
    const { head, endAddress } = log;
    expect(await new Promise((resolve) => log.close(resolve))).toBeNull();
    expect(reopened().head).toEqual(head);
    store.close();
    truncateSync(join(directory, "00000003.seg"), endAddress.offset - 10);
    store = new FileSegmentStore(directory);
    expect(reopened).toThrow(/cut short/);
  });

  function reopened(): Log {
    const recovered = Log.recover(store, SMALL, time);
    if (!recovered.ok) throw recovered.failure;
    return recovered.log;
  }
});
