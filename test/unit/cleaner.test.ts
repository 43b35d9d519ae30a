import { beforeEach, describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { CleanerWorld } from "../cleaner-world.ts";
import { bytesOf, expectBytes, name, ROOT } from "../fs-world.ts";

const BLOCK = 4096;

/** A file of blocks with known contents, overwritten at random. */
class Churn {
  readonly content: Uint8Array;
  readonly handle: number;
  private readonly world: CleanerWorld;
  private readonly prng: Prng;

  constructor(world: CleanerWorld, handle: number, bytes: number, seed: number) {
    this.world = world;
    this.handle = handle;
    this.content = new Uint8Array(bytes);
    this.prng = new Prng(seed);
  }

  async fill(): Promise<void> {
    for (let at = 0; at < this.content.length; at += BLOCK) await this.write(at);
  }

  async overwrite(times: number): Promise<void> {
    const blocks = this.content.length / BLOCK;
    for (let i = 0; i < times; i++) await this.write(this.prng.below(blocks) * BLOCK);
  }

  async verify(): Promise<void> {
    for (let at = 0; at < this.content.length; at += 2 ** 20) {
      const wanted = this.content.subarray(at, at + 2 ** 20);
      expectBytes(await this.world.read(this.handle, at, wanted.length), wanted);
    }
  }

  private async write(at: number): Promise<void> {
    const data = this.prng.fill(new Uint8Array(BLOCK));
    expect(await this.world.write(this.handle, at, data)).toBe("ok");
    this.content.set(data, at);
  }
}

async function churn(world: CleanerWorld, bytes: number, seed = 1): Promise<Churn> {
  const { handle } = await world.create(`churn-${seed}`);
  const made = new Churn(world, handle, bytes, seed);
  await made.fill();
  return made;
}

let world: CleanerWorld;
beforeEach(() => {
  world = new CleanerWorld();
});

function capacity(share: number): number {
  return Math.floor((world.disk.space().totalBytes * share) / BLOCK) * BLOCK;
}

/** Half of the data is overwritten, so that trimming has to move the other half. */
async function halfDead(bytes = 512 * 1024): Promise<Churn> {
  const file = await churn(world, bytes);
  await file.overwrite(bytes / BLOCK);
  return file;
}

describe("a small store", () => {
  test.each([0.5, 0.75, 0.85])(
    "at %f of its capacity takes overwrites of its size",
    async (utilisation) => {
      const file = await churn(world, capacity(utilisation));
      await file.overwrite(1000);
      await file.verify();
      expect(world.troubles).toEqual([]);
      expect(world.cleaner.counters.cleanedSegments).toBeGreaterThan(5);
      await world.settle();
      expect(await world.findings()).toEqual([]);
    },
  );

  test("that is full says ENOSPC, and takes what deleting makes room for", async () => {
    const kept = await churn(world, capacity(0.4), 1);
    const going = await churn(world, capacity(0.3), 2);
    const { handle } = await world.create("last");
    let at = 0;
    while ((await world.write(handle, at, bytesOf(BLOCK))) === "ok") at += BLOCK;
    expect(at).toBeGreaterThan(capacity(0.05));
    const before = world.cleaner.counters.rounds;
    expect(await world.write(handle, at, bytesOf(BLOCK))).toBe("ENOSPC");
    expect(world.cleaner.counters.rounds).toBe(before);
    await world.remove("churn-2", going.handle);
    for (let i = 0; i < 300; i++) {
      expect(await world.write(handle, at + i * BLOCK, bytesOf(BLOCK, i))).toBe("ok");
    }
    await kept.verify();
    expect(await world.findings()).toEqual([]);
  });

  test("gives out about as much as statfs promises", async () => {
    await halfDead(2 ** 20);
    const { freeBytes } = world.fs.statfs();
    const { handle } = await world.create("filler");
    let written = 0;
    while ((await world.write(handle, written, bytesOf(16 * BLOCK))) === "ok") written += 65_536;
    expect(written).toBeGreaterThan(0.93 * freeBytes);
    expect(written).toBeLessThan(1.07 * freeBytes);
  });

  test("whose mirror is away says so when it is full, and goes on when it comes back", async () => {
    const file = await churn(world, capacity(0.5));
    world.setAway("its dead segments wait for the mirror, which is disconnected");
    const { handle } = await world.create("more");
    let at = 0;
    while ((await world.write(handle, 0, bytesOf(BLOCK, at))) === "ok") at++;
    expect(at).toBeGreaterThan(500);
    expect(world.troubles.at(-1)).toMatch(/the store is full: .* mirror, which is disconnected/);
    expect(world.cleaner.trouble).toBe(world.troubles.at(-1));
    world.setAway(null);
    for (let i = 0; i < 300; i++) {
      expect(await world.write(handle, 0, bytesOf(BLOCK, i))).toBe("ok");
    }
    await file.verify();
  });
});

describe("trimming", () => {
  test("returns a store whose files are gone to the size of an empty one", async () => {
    await world.trim();
    const empty = world.storeBytes;
    const file = await halfDead(2 ** 20);
    await world.remove("churn-1", file.handle);
    expect(world.storeBytes).toBeGreaterThan(2 * empty);
    await world.trim();
    expect(world.storeBytes).toBe(empty);
    expect(await world.findings()).toEqual([]);
  });

  test("moves what is alive, and nothing of it changes", async () => {
    const file = await halfDead();
    const inode = (await world.run(world.fs.lookup(ROOT, 1, name("churn-1")))).inode;
    const before = await world.run(world.fs.getattr(inode));
    world.clock.advance(60_000_000);
    const { movedBytes, cleanedSegments } = await world.trim();
    expect(movedBytes).toBeGreaterThan(100 * 1024);
    expect(cleanedSegments).toBeGreaterThan(2);
    expect(await world.run(world.fs.getattr(inode))).toEqual(before);
    await file.verify();
    expect(world.cleaner.usage.liveBytes / world.cleaner.usage.usedBytes).toBeGreaterThan(0.93);
    expect(await world.findings()).toEqual([]);
    const again = await world.trim();
    expect(again.movedBytes).toBeLessThan(movedBytes / 2);
  });

  test("joins small neighbours to blocks of 64 KiB", async () => {
    const { handle, inode } = await world.create("log");
    const other = await world.create("other");
    for (let i = 0; i < 300; i++) {
      await world.write(handle, i * 500, bytesOf(500, i));
      await world.write(other.handle, 0, bytesOf(500, i));
    }
    const extents = () => world.extentsOf(inode);
    expect(await extents()).toBeGreaterThanOrEqual(300);
    await world.trim();
    expect(await extents()).toBeLessThan(8);
    for (let i = 0; i < 300; i++) {
      expectBytes(await world.read(handle, i * 500, 500), bytesOf(500, i));
    }
    expect(await world.findings()).toEqual([]);
  });

  test("moves long values of extended attributes", async () => {
    const { inode } = await world.create("file");
    const value = bytesOf(20_000);
    await world.run(world.fs.setxattr(ROOT, inode, name("user.long"), value, 0));
    for (let i = 0; i < 3; i++) {
      await world.run(world.fs.setxattr(ROOT, inode, name("user.gone"), bytesOf(50_000), 0));
      await world.run(world.fs.removexattr(ROOT, inode, name("user.gone")));
    }
    const { movedBytes } = await world.trim();
    expect(movedBytes).toBeGreaterThanOrEqual(value.length);
    expectBytes(await world.run(world.fs.getxattr(ROOT, inode, name("user.long"))), value);
    expect(await world.findings()).toEqual([]);
  });

  test("moves a shared block once, for all of its owners", async () => {
    const source = await world.create("source");
    const data = bytesOf(65_536);
    await world.write(source.handle, 0, data);
    const copies = [await world.create("one"), await world.create("two")];
    for (const copy of copies) {
      await world.copy(source.handle, copy.handle, data.length);
    }
    await world.write(source.handle, 0, bytesOf(BLOCK));
    await world.write(source.handle, 4 * BLOCK, bytesOf(BLOCK));
    const { movedBytes } = await world.trim();
    expect(movedBytes).toBeLessThan(1.5 * data.length);
    for (const { handle } of copies) expectBytes(await world.read(handle, 0, data.length), data);
    expect(await world.findings()).toEqual([]);
  });

  test("finds a block whose last owner is not the one who wrote it", async () => {
    const source = await world.create("source");
    const copy = await world.create("copy");
    const data = bytesOf(65_536);
    await world.write(source.handle, 0, data);
    await world.copy(source.handle, copy.handle, data.length);
    await world.remove("source", source.handle);
    await halfDead();
    await world.trim();
    expect(world.cleaner.setAside).toEqual([]);
    expectBytes(await world.read(copy.handle, 0, data.length), data);
    expect(world.cleaner.usage.liveBytes / world.cleaner.usage.usedBytes).toBeGreaterThan(0.9);
    expect(await world.findings()).toEqual([]);
  });

  test("moves nothing out of a damaged block: its segment is kept, the rest goes on", async () => {
    const file = await halfDead();
    await world.settle();
    const [segment] = world.log.segments.map((one) => one.segment);
    const where = await world.someBlockIn(segment ?? 0);
    world.disk.flipBit(where.segment, where.offset + 10, 3);
    await world.trim();
    await world.trim();
    await world.trim();
    expect(world.cleaner.setAside).toEqual([segment]);
    expect(world.cleaner.counters.damagedBlocks).toBeGreaterThan(0);
    expect(world.cleaner.counters.cleanedSegments).toBeGreaterThan(2);
    expect(world.troubles.at(-1)).toBe(`segment ${segment} cannot be emptied: it is kept as it is`);
    const findings = await world.findings();
    expect(findings).toHaveLength(1);
    expect(findings[0]).toContain(`"segment":${segment},"offset":${where.offset}`);
    expect(file.content.length).toBeGreaterThan(0);
  });
});

describe("beside what goes on", () => {
  test("nothing that is written while its block is moved is lost", async () => {
    const file = await halfDead();
    const trimming = world.cleaner.trim(() => {});
    const over = { yet: false };
    trimming.finally(() => (over.yet = true)).catch(() => {});
    const prng = new Prng(5);
    for (let i = 0; i < 400 || !over.yet; i++) {
      await file.overwrite(1);
      if (prng.chance(0.3)) await world.step(prng.below(4));
      if (i > 20_000) throw new Error("trimming never ends");
    }
    await world.run(trimming);
    await file.verify();
    expect(await world.findings()).toEqual([]);
  });

  test("those who wait for space go on in the order in which they came", async () => {
    const file = await churn(world, capacity(0.75));
    const order: number[] = [];
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < 600; i++) {
      const done = world.fs.write(file.handle, (i % 50) * BLOCK, bytesOf(BLOCK, i), "none");
      writes.push(Promise.resolve(done).then(() => order.push(i)));
    }
    await world.run(Promise.all(writes));
    expect(world.cleaner.gate.statistics.waits).toBeGreaterThan(100);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test("removing never waits at the gate", async () => {
    const file = await churn(world, capacity(0.75));
    const blocked = Array.from({ length: 600 }, (_, i) =>
      world.fs.write(file.handle, (i % 50) * BLOCK, bytesOf(BLOCK, i), "none"),
    );
    expect(world.cleaner.gate.waiting).toBeGreaterThan(0);
    await world.create("x").catch(() => {});
    expect(world.fs.unlink(ROOT, 1, name("churn-1"))).toBeUndefined();
    await world.run(Promise.allSettled(blocked.map((one) => Promise.resolve(one))));
  });
});

test.each([1, 2, 3, 4])(
  "after a crash at any moment everything durable is there (seed %i)",
  async (seed) => {
    const prng = new Prng(seed);
    const file = await churn(world, capacity(0.4));
    for (let life = 0; life < 3; life++) {
      await file.overwrite(200 + prng.below(300));
      await world.durable();
      const trimming = world.cleaner.trim(() => {});
      trimming.catch(() => {});
      await world.step(prng.below(400));
      await world.crash(prng.u32());
      const handle = await world.open("churn-1");
      Object.assign(file, { handle, world });
      await file.verify();
    }
    await world.trim();
    await file.verify();
    expect(await world.findings()).toEqual([]);
  },
);
