/**
 * Snapshots while the cleaner moves data, segments are dropped and the power goes: every file of
 * every snapshot is what it was, byte for byte, and fsck finds nothing.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { concatBytes, equalBytes } from "../../lib/bytes.ts";
import { toErrno } from "../../lib/errors.ts";
import { ERRNO } from "../../lib/errno.ts";
import { Prng } from "../../lib/prng.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import type { Vfs } from "../../logfs/core/vfs.ts";
import { CleanerWorld } from "../cleaner-world.ts";
import { name, READ, READ_WRITE, ROOT } from "../fs-world.ts";

const FILES = ["f", "g", "h"];
const SNAPSHOTS = ["a", "b", "c"];
const BLOCK = 4096;
const BLOCKS = 24;

type Step =
  | { readonly write: string; readonly at: number; readonly blocks: number; readonly seed: number }
  | { readonly remove: string }
  | { readonly share: string; readonly to: string }
  | { readonly take: string }
  | { readonly forget: string }
  | { readonly rollBack: string }
  | { readonly crash: number }
  | "trim";

const file = fc.constantFrom(...FILES);
const snapshot = fc.constantFrom(...SNAPSHOTS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      write: file,
      at: fc.nat({ max: BLOCKS - 1 }),
      blocks: fc.integer({ min: 1, max: 8 }),
      seed: fc.nat(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ remove: file }) },
  { weight: 2, arbitrary: fc.record({ share: file, to: file }) },
  { weight: 3, arbitrary: fc.record({ take: snapshot }) },
  { weight: 1, arbitrary: fc.record({ forget: snapshot }) },
  { weight: 1, arbitrary: fc.record({ rollBack: snapshot }) },
  { weight: 1, arbitrary: fc.record({ crash: fc.nat() }) },
  { weight: 3, arbitrary: fc.constant<Step>("trim") },
);

type Files = ReadonlyMap<string, Uint8Array>;

class Scene {
  readonly world = new CleanerWorld();
  files: Files = new Map();
  readonly kept = new Map<string, Files>();
  rollBacks = 0;

  async run(next: Step): Promise<void> {
    const { world } = this;
    if (next === "trim") await world.trim();
    else if ("write" in next) await this.write(next);
    else if ("remove" in next) await this.remove(next.remove);
    else if ("share" in next) await this.share(next.share, next.to);
    else if ("take" in next) this.take(next.take);
    else if ("forget" in next) this.forget(next.forget);
    else if ("rollBack" in next) await this.rollBack(next.rollBack);
    else {
      await world.settle();
      await world.crash(next.crash);
    }
  }

  private async write(next: { write: string; at: number; blocks: number; seed: number }) {
    const data = new Prng(next.seed).fill(new Uint8Array(next.blocks * BLOCK));
    const offset = next.at * BLOCK;
    const handle = await this.open(next.write);
    const result = await this.world.write(handle, offset, data);
    await this.world.run(this.world.fs.release(handle));
    if (result === "ok") this.set(next.write, written(this.files.get(next.write), offset, data));
    else this.set(next.write, this.files.get(next.write) ?? new Uint8Array(0));
  }

  private async open(path: string): Promise<number> {
    const { world } = this;
    const { handle } = await world.run(
      world.fs.create(ROOT, 1, name(path), 0o644, false, READ_WRITE),
    );
    return handle;
  }

  private async remove(path: string): Promise<void> {
    if (!this.files.has(path)) return;
    await this.world.run(this.world.fs.unlink(ROOT, 1, name(path)));
    const files = new Map(this.files);
    files.delete(path);
    this.files = files;
  }

  private async share(from: string, to: string): Promise<void> {
    const source = this.files.get(from);
    if (source === undefined || from === to) return;
    const [one, other] = [await this.open(from), await this.open(to)];
    try {
      await this.world.copy(one, other, source.length);
      this.set(to, written(this.files.get(to), 0, source));
    } catch (error) {
      if (toErrno(error) !== ERRNO.ENOSPC) throw error;
      this.set(to, (await this.contents(this.world.fs)).get(to) ?? new Uint8Array(0));
    }
    for (const handle of [one, other]) await this.world.run(this.world.fs.release(handle));
  }

  private take(label: string): void {
    if (this.kept.has(label)) return;
    this.world.volume.snapshots.take(label);
    this.kept.set(label, this.files);
  }

  private forget(label: string): void {
    if (this.kept.delete(label)) this.world.volume.snapshots.remove(label);
  }

  private async rollBack(label: string): Promise<void> {
    const files = this.kept.get(label);
    if (files === undefined) return;
    await this.world.run(this.world.volume.snapshots.rollBack(label));
    this.files = files;
    this.rollBacks++;
  }

  private set(path: string, content: Uint8Array): void {
    this.files = new Map(this.files).set(path, content);
  }

  async contents(fs: Vfs): Promise<Files> {
    const { world } = this;
    const found = new Map<string, Uint8Array>();
    const entries: [string, number][] = [];
    await world.run(
      fs.readdir(ROOT, 1, 0, (entry) => {
        entries.push([Buffer.from(entry.name).toString("latin1"), entry.inode]);
        return true;
      }),
    );
    for (const [path, inode] of entries) {
      const handle = await world.run(fs.open(ROOT, inode, READ));
      found.set(path, concatBytes(await world.run(fs.read(handle, 0, 2 * BLOCKS * BLOCK))));
      await world.run(fs.release(handle));
    }
    return found;
  }

  async verify(): Promise<void> {
    const { volume, fs } = this.world;
    expectFiles(await this.contents(fs), this.files);
    expect(volume.keptSnapshots.map((one) => one.name).toSorted()).toEqual(
      [...this.kept.keys()].toSorted(),
    );
    for (const one of volume.keptSnapshots) {
      const shown = new FileSystem(volume.openSnapshot(one), { wait: () => undefined });
      expectFiles(await this.contents(shown), this.kept.get(one.name) ?? new Map());
    }
    expect(await this.world.findings()).toEqual([]);
  }
}

function written(old: Uint8Array | undefined, offset: number, data: Uint8Array): Uint8Array {
  const content = new Uint8Array(Math.max(old?.length ?? 0, offset + data.length));
  if (old !== undefined) content.set(old);
  content.set(data, offset);
  return content;
}

function expectFiles(actual: Files, expected: Files): void {
  expect([...actual.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
  for (const [path, content] of expected) {
    const found = actual.get(path) ?? new Uint8Array(0);
    expect(`${path} of ${found.length}`).toBe(`${path} of ${content.length}`);
    if (!equalBytes(found, content)) expect.fail(`${path} has other bytes`);
  }
}

test("every file of every snapshot is what it was, whatever is cleaned, dropped and lost", async () => {
  const tally = { cleaned: 0, dropped: 0, rollBacks: 0 };
  const history = fc.array(step, { minLength: 40, maxLength: 90, size: "max" });
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const scene = new Scene();
      for (const next of steps) {
        await scene.run(next);
        tally.cleaned = Math.max(tally.cleaned, scene.world.cleaner.counters.cleanedSegments);
        tally.dropped = Math.max(tally.dropped, scene.world.log.statistics.segmentsDropped);
      }
      await scene.verify();
      await scene.world.trim();
      await scene.verify();
      tally.rollBacks += scene.rollBacks;
    }),
    { numRuns: 25, endOnFailure: true },
  );
  expect(tally.cleaned).toBeGreaterThan(3);
  expect(tally.dropped).toBeGreaterThan(5);
  expect(tally.rollBacks).toBeGreaterThan(5);
});
