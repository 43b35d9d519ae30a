import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { CleanerMirror } from "../cleaner-mirror.ts";
import { CleanerWorld } from "../cleaner-world.ts";
import { bytesOf, expectBytes, name, READ, ROOT } from "../fs-world.ts";

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
      const mirror = new CleanerMirror(world);
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
