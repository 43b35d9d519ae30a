/**
 * Copies that share blocks, among writes, holes, truncations and removals: every file has the bytes
 * that plain arrays have, and the lists of owners and the live bytes are those that the extents say,
 * to the byte.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE } from "../../logfs/core/vfs.ts";
import { OWNERS_MAX } from "../../logfs/core/fs/sharing.ts";
import { moveShared } from "../../logfs/core/fs/sharing-move.ts";
import { bytesOf, expectBytes } from "../fs-world.ts";
import { SharingWorld } from "../unit/sharing-world.ts";

const FILES = 4;
const KINDS = ["write", "copy", "copy", "copy", "punch", "truncate", "remove", "move"] as const;

interface Step {
  readonly kind: (typeof KINDS)[number];
  readonly file: number;
  readonly other: number;
  readonly offset: number;
  readonly otherOffset: number;
  readonly length: number;
}

/** Small numbers cut blocks often; multiples of a page let copies meet. */
const place = fc.oneof(
  fc.nat(300),
  fc.nat(40).map((page) => page * 4096),
  fc.nat(200_000),
);
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  file: fc.nat(FILES - 1),
  other: fc.nat(FILES - 1),
  offset: place,
  otherOffset: place,
  length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 150_000 })),
});

interface File {
  inode: number;
  content: Uint8Array;
}

class Comparison {
  readonly world = new SharingWorld();
  readonly files: File[] = Array.from({ length: FILES }, () => this.fresh());

  perform(at: Step): void {
    const { world } = this;
    const { offset, length } = at;
    const file = this.files[at.file] as File;
    const other = this.files[at.other] as File;
    switch (at.kind) {
      case "write": {
        const data = bytesOf(length, offset + at.otherOffset);
        world.write(file.inode, offset, data);
        put(file, offset, data);
        return;
      }
      case "copy":
        return this.copy(other, at.otherOffset, file, offset, length);
      case "punch":
        world.allocate(file.inode, { offset, length, mode: PUNCH });
        file.content.fill(0, offset, offset + length);
        return;
      case "truncate":
        world.truncate(file.inode, offset);
        file.content = resized(file.content, offset);
        return;
      case "move":
        world.moveOne(at.offset);
        return;
      case "remove":
        world.remove(file.inode);
        this.files[at.file] = this.fresh();
    }
  }

  compare(): void {
    for (const { inode, content } of this.files) {
      expect(this.world.sizeOf(inode)).toBe(content.length);
      expectBytes(this.world.read(inode, 0, content.length), content);
    }
    expect(this.world.flaws()).toEqual([]);
  }

  private copy(from: File, fromOffset: number, to: File, toOffset: number, length: number): void {
    const real = Math.min(length, Math.max(0, from.content.length - fromOffset));
    const run = () => this.world.copy(from.inode, fromOffset, to.inode, toOffset, length);
    if (from === to && Math.abs(fromOffset - toOffset) < real) {
      expect(run).toThrow("EINVAL");
      return;
    }
    const { bytes } = run();
    expect(bytes > 0).toBe(real > 0);
    expect(bytes).toBeLessThanOrEqual(real);
    if (bytes > 0) put(to, toOffset, from.content.slice(fromOffset, fromOffset + bytes));
  }

  private fresh(): File {
    return { inode: this.world.make(), content: new Uint8Array(0) };
  }
}

function put(file: File, offset: number, data: Uint8Array): void {
  file.content = resized(file.content, Math.max(file.content.length, offset + data.length));
  file.content.set(data, offset);
}

function resized(content: Uint8Array, size: number): Uint8Array {
  const made = new Uint8Array(size);
  made.set(content.subarray(0, size));
  return made;
}

const PAGE = 4096;
const BLOCK = 65_536;
const PUNCH = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;

function newBlock(world: SharingWorld): { inode: number; data: Uint8Array } {
  const inode = world.make();
  const data = bytesOf(BLOCK);
  world.write(inode, 0, data);
  return { inode, data };
}

describe("shared blocks", () => {
  test("TheSixtyFifthOwnerGetsACopyOfTheBytes", () => {
    const world = new SharingWorld();
    const { inode, data } = newBlock(world);
    const kinds = Array.from({ length: OWNERS_MAX + 1 }, () => {
      const copy = world.make();
      const { kind } = world.copy(inode, 0, copy, 0, BLOCK);
      expectBytes(world.read(copy, 0, BLOCK), data);
      return kind;
    });
    const shared = Array.from({ length: OWNERS_MAX - 1 }, () => "shared");
    expect(kinds).toEqual([...shared, "crowded", "crowded"]);
    expect(world.flaws()).toEqual([]);
    expect(world.state.live.totalBytes).toBe(3 * BLOCK);
  });

  test("ABlockHeldTogetherByManyPiecesIsLetGoOfInParts", () => {
    const world = new SharingWorld();
    const { inode, data } = newBlock(world);
    const copy = world.make();
    world.copy(inode, 0, copy, 0, BLOCK);
    const holes = Array.from({ length: 300 }, (_, i) => i * 200);
    for (const offset of holes) {
      world.allocate(copy, { offset, length: 100, mode: PUNCH });
      data.fill(0, offset, offset + 100);
    }
    expect(world.flaws()).toEqual([]);
    world.remove(inode);
    expectBytes(world.read(copy, 0, BLOCK), data);
    expect(world.flaws()).toEqual([]);
    expect(world.state.live.totalBytes).toBe(BLOCK - holes.length * 100);
  });

  test("ABlockOfManyPiecesIsMovedInParts", () => {
    const world = new SharingWorld();
    const { inode, data } = newBlock(world);
    const copies = Array.from({ length: 5 }, () => world.make());
    for (const [i, copy] of copies.entries()) {
      world.copy(inode, 0, copy, 1000 * i, BLOCK);
      for (let at = 0; at < BLOCK; at += 500) world.write(copy, 1000 * i + at, bytesOf(100, i));
    }
    world.allocate(inode, { offset: 30_000, length: 90, mode: PUNCH });
    const before = copies.map((copy) => world.read(copy, 0, world.sizeOf(copy)));
    world.copy(inode, 0, world.make(), 0, 2000);
    const records = world.moveOne(0, () => expect(world.flaws()).toEqual([]));
    expect(records).toBeGreaterThan(1);
    for (const [i, copy] of copies.entries()) {
      expectBytes(world.read(copy, 0, world.sizeOf(copy)), before[i] as Uint8Array);
    }
    expectBytes(world.read(inode, 0, 30_000), data.subarray(0, 30_000));
  });

  test("OwnersOfMoreThanABlockHoldsAreDamage", () => {
    const world = new SharingWorld();
    const { inode } = newBlock(world);
    world.copy(inode, 0, world.make(), 0, BLOCK);
    const [block] = world.sharedBlocks();
    if (block === undefined) throw new Error("the block is shared");
    const short = world.stored(block).subarray(0, BLOCK - 1);
    const move = () => world.change((transaction) => moveShared(transaction, block, short, 0));
    expect(move).toThrow(/owners of 65536 bytes in the 65535/);
    expect(world.flaws()).toEqual([]);
  });

  test("SmallStepsAreJoinedToTheBlockThatTheyCopy", () => {
    const world = new SharingWorld();
    const { inode, data } = newBlock(world);
    const copy = world.make();
    for (let at = 0; at < BLOCK; at += PAGE) world.copy(inode, at, copy, at, PAGE);
    expectBytes(world.read(copy, 0, BLOCK), data);
    expect(world.extentsOf(copy)).toBe(1);
    expect(world.flaws()).toEqual([]);
  });

  test("ACopyOfManyExtentsIsCutIntoRecords", () => {
    const world = new SharingWorld();
    const inode = world.make();
    const count = 5000;
    for (let i = 0; i < count; i++) world.write(inode, i * 100, bytesOf(50, i));
    const size = world.sizeOf(inode);
    const copy = world.make();
    let calls = 0;
    for (let at = 0; at < size; calls++) at += world.copy(inode, at, copy, at, size - at).bytes;
    expect(calls).toBeGreaterThan(1);
    expectBytes(world.read(copy, 0, size), world.read(inode, 0, size));
    expect(world.flaws()).toEqual([]);
  });

  test("EveryFileAndEveryLiveByteIsAsTheModelSays", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60, size: "max" }), (steps) => {
        const comparison = new Comparison();
        for (const at of steps) comparison.perform(at);
        comparison.compare();
        for (const { inode } of comparison.files) comparison.world.remove(inode);
        expect(comparison.world.state.live.entries).toEqual([]);
        expect(comparison.world.state.tree.height).toBe(1);
      }),
      { numRuns: 150 },
    );
  });
});
