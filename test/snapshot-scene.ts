/**
 * A small store with snapshots, cleaned, cut off and returned to, beside a model of what every file of
 * every tree holds. Steps are data, so that a property can draw and shrink them.
 */
import * as fc from "fast-check";
import { expect } from "vitest";
import { concatBytes, equalBytes } from "../lib/bytes.ts";
import { ERRNO } from "../lib/errno.ts";
import { toErrno } from "../lib/errors.ts";
import { Prng } from "../lib/prng.ts";
import { FileSystem } from "../logfs/core/fs/filesystem.ts";
import type { SnapshotSource } from "../logfs/core/fs/snapshot-volume.ts";
import type { Vfs } from "../logfs/core/vfs.ts";
import { CleanerWorld } from "./cleaner-world.ts";
import { name, READ, READ_WRITE, ROOT } from "./fs-world.ts";

const FILES = ["f", "g", "h"];
const SNAPSHOTS = ["a", "b", "c"];
const BLOCK = 4096;
const BLOCKS = 24;
const MARK = name("user.mark");

export type Step =
  | { readonly write: string; readonly at: number; readonly blocks: number; readonly seed: number }
  | { readonly patch: string; readonly at: number; readonly length: number; readonly seed: number }
  | { readonly mark: string; readonly length: number; readonly seed: number }
  | { readonly remove: string }
  | { readonly share: string; readonly to: string }
  | { readonly take: string }
  | { readonly forget: string }
  | { readonly rollBack: string }
  | { readonly crash: number }
  /** The power goes so many events after trimming has begun. */
  | { readonly cutTrim: number; readonly seed: number }
  /** Trimming goes on while this is done, so many events after it has begun. */
  | { readonly amidTrim: Step; readonly after: number }
  | "trim";

const file = fc.constantFrom(...FILES);
const snapshot = fc.constantFrom(...SNAPSHOTS);
export const step: fc.Arbitrary<Step> = fc.oneof(
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

const someSeed = fc.nat();

/** As `step`, with more that is moved, in smaller pieces, and with trimming that is disturbed. */
export const stepAmidTrimming: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: step },
  {
    weight: 6,
    arbitrary: fc.record({
      patch: file,
      at: fc.nat({ max: BLOCKS * BLOCK }),
      length: fc.integer({ min: 1, max: 6000 }),
      seed: someSeed,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      mark: file,
      length: fc.integer({ min: 2049, max: 20_000 }),
      seed: someSeed,
    }),
  },
  { weight: 2, arbitrary: fc.record({ take: snapshot }) },
  { weight: 3, arbitrary: fc.record({ cutTrim: fc.nat({ max: 250 }), seed: someSeed }) },
  { weight: 5, arbitrary: fc.record({ amidTrim: step, after: fc.nat({ max: 250 }) }) },
);

type Files = ReadonlyMap<string, Uint8Array>;

export class SnapshotScene {
  readonly world = new CleanerWorld();
  files: Files = new Map();
  readonly kept = new Map<string, Files>();
  /** Lets time pass until what the cleaner does is over. */
  during = (work: Promise<unknown>): Promise<unknown> => this.world.run(work);
  rollBacks = 0;

  async run(next: Step): Promise<void> {
    const { world } = this;
    if (next === "trim") await this.during(world.cleaner.trim(() => {}));
    else if ("write" in next) await this.write(next);
    else if ("remove" in next) await this.remove(next.remove);
    else if ("patch" in next) await this.patch(next);
    else if ("mark" in next) await this.mark(next);
    else if ("cutTrim" in next) await this.cutTrim(next);
    else if ("amidTrim" in next) await this.amidTrim(next);
    else if ("share" in next) await this.share(next.share, next.to);
    else if ("take" in next) this.take(next.take);
    else if ("forget" in next) this.forget(next.forget);
    else if ("rollBack" in next) await this.rollBack(next.rollBack);
    else {
      await world.settle();
      await world.crash(next.crash);
    }
  }

  private write(next: { write: string; at: number; blocks: number; seed: number }) {
    return this.put(next.write, next.at * BLOCK, next.blocks * BLOCK, next.seed);
  }

  private patch(next: { patch: string; at: number; length: number; seed: number }) {
    return this.put(next.patch, next.at, next.length, next.seed);
  }

  private async put(path: string, offset: number, length: number, seed: number): Promise<void> {
    const data = new Prng(seed).fill(new Uint8Array(length));
    const handle = await this.open(path);
    const result = await this.world.write(handle, offset, data);
    await this.world.run(this.world.fs.release(handle));
    if (result === "ok") this.set(path, written(this.files.get(path), offset, data));
    else this.set(path, this.files.get(path) ?? new Uint8Array(0));
  }

  /** A long value of an extended attribute; in the model it is a file beside the file. */
  private async mark({ mark: path, length, seed }: { mark: string; length: number; seed: number }) {
    if (!this.files.has(path)) return;
    const { fs } = this.world;
    const value = new Prng(seed).fill(new Uint8Array(length));
    const { inode } = await this.world.run(fs.lookup(ROOT, 1, name(path)));
    try {
      await this.world.run(fs.setxattr(ROOT, inode, MARK, value, 0));
      this.set(`${path}#`, value);
    } catch (error) {
      if (toErrno(error) !== ERRNO.ENOSPC) throw error;
    }
  }

  private async cutTrim({ cutTrim, seed }: { cutTrim: number; seed: number }): Promise<void> {
    const { world } = this;
    await world.durable();
    world.cleaner.trim(() => {}).catch(() => {});
    await world.step(cutTrim);
    await world.crash(seed);
  }

  private async amidTrim({ amidTrim, after }: { amidTrim: Step; after: number }): Promise<void> {
    const { world } = this;
    const trimming = world.cleaner.trim(() => {});
    trimming.catch(() => {});
    await world.step(after);
    // Two at a time are one after the other.
    if (amidTrim !== "trim") await this.run(amidTrim);
    // After a crash nobody answers.
    if (typeof amidTrim === "string" || !("crash" in amidTrim)) await this.during(trimming);
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
    files.delete(`${path}#`);
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

  /** All files and snapshots go. */
  async clear(): Promise<void> {
    for (const label of [...this.kept.keys()]) this.forget(label);
    for (const path of [...this.files.keys()].filter((one) => !one.endsWith("#"))) {
      await this.remove(path);
    }
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
      const marks = await world.run(fs.listxattr(ROOT, inode));
      if (marks.length > 0) {
        found.set(`${path}#`, await world.run(fs.getxattr(ROOT, inode, MARK)));
      }
    }
    return found;
  }

  async verify(): Promise<void> {
    const { volume, fs } = this.world;
    expectFiles(await this.contents(fs), this.files);
    expect(volume.keptSnapshots.map((one) => one.name).toSorted()).toEqual(
      [...this.kept.keys()].toSorted(),
    );
    await this.verifySnapshotsOf(volume);
    expect(await this.world.findings()).toEqual([]);
  }

  /** Gives how many there are. */
  async verifySnapshotsOf(source: SnapshotSource): Promise<number> {
    for (const one of source.keptSnapshots) {
      const shown = new FileSystem(source.openSnapshot(one), { wait: () => undefined });
      expectFiles(await this.contents(shown), this.kept.get(one.name) ?? new Map());
    }
    return source.keptSnapshots.length;
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
