import * as fc from "fast-check";
import { expect, test } from "vitest";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import { Reaper } from "../../logfs/core/fs/reaper.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { CleanerWorld, LOG_ID } from "../cleaner-world.ts";
import { bytesOf, expectBytes, name, READ, ROOT } from "../fs-world.ts";
import { SimulatedDisk } from "../sim/disk.ts";

const FILES = 3;
const FILE_BYTES = 200_000;

type Step =
  | { kind: "write"; file: number; offset: number; length: number; seed: number }
  | { kind: "truncate"; file: number; size: number }
  | { kind: "copy"; from: number; to: number; length: number }
  | { kind: "trim" }
  | { kind: "pass"; events: number }
  | { kind: "crash"; seed: number };

const file = fc.nat({ max: FILES - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      file,
      offset: fc.nat({ max: FILE_BYTES - 20_000 }),
      length: fc.integer({ min: 1, max: 20_000 }),
      seed: fc.nat(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("truncate" as const),
      file,
      size: fc.nat({ max: FILE_BYTES }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("copy" as const),
      from: file,
      to: file,
      length: fc.integer({ min: 1, max: 100_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "trim" }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), events: fc.nat({ max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const), seed: fc.nat() }) },
);

/** A mirror of a log: the same records, a file system that follows, a reaper of its own. */
class Mirror {
  readonly disk: SimulatedDisk;
  readonly log: Log;
  readonly volume: VolumeFollower;
  private readonly world: CleanerWorld;
  private readonly reaper: Reaper;

  constructor(world: CleanerWorld) {
    this.world = world;
    this.disk = new SimulatedDisk(world.clock.schedule);
    this.log = Log.create(this.disk, { ...world.logOptions, logId: LOG_ID }, world.clock);
    const { log } = this;
    this.reaper = new Reaper(log, () => Math.min(log.durableSequence, log.vouchedSequence));
    const environment = {
      clock: world.clock,
      space: () => this.disk.space(),
      onCheckpoint: (reached: Parameters<Reaper["handleCheckpoint"]>[0]) =>
        this.reaper.handleCheckpoint(reached),
    };
    this.volume = new VolumeFollower(log, environment, 1);
  }

  /** Takes what the primary has. */
  async catchUp(): Promise<void> {
    const { log: source } = this.world;
    while (this.log.head.sequence < source.head.sequence) {
      const records = await this.world.records(this.log.head.sequence + 1);
      for (const { bytes } of records) this.log.appendRaw(bytes);
    }
    await this.world.step(40);
    await this.world.run(this.volume.settled());
    expect(this.volume.failure).toBeNull();
    while (this.reaper.isDue) this.reaper.step();
    this.world.progress();
  }

  /** Follows until `work` is over. */
  async during(work: Promise<unknown>): Promise<void> {
    const progress = { ended: false };
    const end = (): void => {
      progress.ended = true;
    };
    work.then(end, end);
    while (!progress.ended) await this.catchUp();
    await work;
  }

  /** What both hold is the same, byte for byte. */
  expectEqualSegments(): number {
    let compared = 0;
    for (const { segment, usedBytes } of this.log.segments) {
      const ours = this.world.log.segments.find((one) => one.segment === segment);
      if (ours === undefined) continue;
      const length = Math.min(usedBytes, ours.usedBytes);
      const [mine, theirs] = [this.disk, this.world.disk].map((disk) =>
        disk.readSync(segment, 0, length),
      );
      if (mine === undefined || theirs === undefined) throw new Error("no bytes");
      expect(equalBytes(mine, theirs)).toBe(true);
      compared++;
    }
    return compared;
  }
}

class History {
  readonly world = new CleanerWorld({ capacityBytes: 6 * 2 ** 20, garbageShare: 0.1 });
  readonly contents: Uint8Array[] = [];
  private handles: number[] = [];

  async begin(): Promise<void> {
    for (let i = 0; i < FILES; i++) {
      this.handles.push((await this.world.create(`file-${i}`)).handle);
      this.contents.push(new Uint8Array(0));
    }
  }

  async run(one: Step): Promise<void> {
    const { world } = this;
    switch (one.kind) {
      case "write": {
        const data = bytesOf(one.length, one.seed);
        expect(await world.write(this.handle(one.file), one.offset, data)).toBe("ok");
        this.grow(one.file, one.offset + one.length).set(data, one.offset);
        return;
      }
      case "truncate": {
        const { inode } = await world.run(world.fs.lookup(ROOT, 1, name(`file-${one.file}`)));
        await world.run(world.fs.setattr(ROOT, inode, { size: one.size }));
        this.contents[one.file] = this.grow(one.file, one.size).slice(0, one.size);
        return;
      }
      case "copy":
        return this.copy(one);
      case "trim":
        // Not waited for: what follows goes on beside it.
        world.cleaner.trim(() => {}).catch(() => {});
        return;
      case "pass":
        return world.step(one.events);
      case "crash": {
        await world.durable();
        await world.crash(one.seed);
        this.handles = [];
        for (let i = 0; i < FILES; i++) this.handles.push(await world.open(`file-${i}`));
      }
    }
  }

  private async copy({ from, to, length }: Step & { kind: "copy" }): Promise<void> {
    const source = this.contents[from] ?? new Uint8Array(0);
    const bytes = source.slice(0, length);
    if (from === to || bytes.length === 0) return;
    await this.world.copy(this.handle(from), this.handle(to), bytes.length);
    this.grow(to, bytes.length).set(bytes);
  }

  private handle(index: number): number {
    return this.handles[index] as number;
  }

  private grow(index: number, size: number): Uint8Array {
    const old = this.contents[index] as Uint8Array;
    if (old.length >= size) return old;
    const grown = new Uint8Array(size);
    grown.set(old);
    this.contents[index] = grown;
    return grown;
  }
}

async function expectContents({ world, contents }: History, fs: FileSystem): Promise<void> {
  for (const [i, content] of contents.entries()) {
    const { inode, size } = await world.run(fs.lookup(ROOT, 1, name(`file-${i}`)));
    expect(size).toBe(content.length);
    const handle = await world.run(fs.open(ROOT, inode, READ));
    expectBytes(await world.readFrom(fs, handle, 0, content.length), content);
    await world.run(fs.release(handle));
  }
}

test("whatever is cleaned, and whenever it crashes, files are what was written; a mirror's, too", async () => {
  const tally = { cleaned: 0, compared: 0 };
  const steps = fc.array(step, { minLength: 40, maxLength: 120, size: "max" });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const history = new History();
      const { world } = history;
      await history.begin();
      const mirror = new Mirror(world);
      // The primary drops nothing that this mirror lacks.
      world.mirror = mirror.log;
      for (const [i, one] of all.entries()) {
        await history.run(one);
        if (i % 10 !== 9) continue;
        await world.durable();
        await mirror.catchUp();
        tally.compared += mirror.expectEqualSegments();
      }
      await mirror.during(world.cleaner.trim(() => {}));
      await expectContents(history, world.fs);
      expect(await world.findings()).toEqual([]);
      await world.durable();
      await mirror.catchUp();
      tally.compared += mirror.expectEqualSegments();
      const shown = new FileSystem(mirror.volume, { wait: () => undefined });
      await expectContents(history, shown);
      tally.cleaned += world.cleaner.counters.cleanedSegments;
      await world.run(world.cleaner.stop());
    }),
    { numRuns: 8, endOnFailure: true },
  );
  expect(tally.cleaned).toBeGreaterThan(20);
  expect(tally.compared).toBeGreaterThan(50);
});
