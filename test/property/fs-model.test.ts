/**
 * Random operations on the file system and on a model of it: every errno and every result agree,
 * with checkpoints, kills and mounts in between, whatever the size of tree nodes and of the cache.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  type MaybePromise,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
} from "../../logfs/core/vfs.ts";
import { ModelError, ModelFs, type ModelNode, refuse } from "../fs-model.ts";
import {
  bytesOf,
  expectBytes,
  FsWorld,
  name,
  READ_WRITE,
  ROOT,
  type WorldOptions,
} from "../fs-world.ts";

const NAMES = ["a", "b", "c", "d", "a longer name with \xc3\xa9", "x".repeat(255)];
const KINDS = [
  "create",
  "mkdir",
  "mkdir",
  "symlink",
  "link",
  "unlink",
  "rmdir",
  "rename",
  "rename",
  "open",
  "release",
  "write",
  "write",
  "write",
  "truncate",
  "punch",
  "zero",
  "copy",
  "copy",
  "read",
  "setxattr",
  "removexattr",
  "checkpoint",
  "remount",
  "compare",
] as const;

const RENAMES = ["replace", "noReplace", "replace", "exchange"] as const;

interface Step {
  readonly kind: (typeof KINDS)[number];
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly size: number;
  readonly offset: number;
}

const number = fc.nat(1000);
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  a: number,
  b: number,
  c: number,
  size: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 200_000 })),
  offset: fc.oneof(fc.nat(5000), fc.nat(300_000)),
});

interface Open {
  readonly node: ModelNode;
  readonly handle: number;
}

class Comparison {
  readonly world: FsWorld;
  readonly model = new ModelFs();
  open: Open[] = [];

  constructor(options: WorldOptions) {
    this.world = new FsWorld(options);
  }

  get fs() {
    return this.world.fs;
  }

  async perform(at: Step): Promise<void> {
    const { model, fs } = this;
    const directories = model.directories();
    const one = directories[at.a % directories.length] as ModelNode;
    const two = directories[at.b % directories.length] as ModelNode;
    const nodes = model.all();
    const node = nodes[at.b % nodes.length] as ModelNode;
    const first = NAMES[at.c % NAMES.length] as string;
    const second = NAMES[(at.c + at.a) % NAMES.length] as string;
    const [n1, n2] = [name(first), name(second)];
    const present = [...one.entries.keys()];
    const taken = (at.size % 4 > 0 ? present[at.c % present.length] : undefined) ?? first;
    switch (at.kind) {
      case "create":
        return this.make(
          () => model.make(one, first, "file"),
          async () => {
            const made = await this.world.run(
              fs.create(ROOT, one.inode, n1, 0o644, true, READ_WRITE),
            );
            return [made.attributes.inode, made.handle];
          },
        );
      case "mkdir":
        return this.make(
          () => model.make(one, first, "directory"),
          async () => [(await this.world.run(fs.mkdir(ROOT, one.inode, n1, 0o755))).inode],
        );
      case "symlink": {
        const target = bytesOf(1 + (at.size % 4000), at.a);
        return this.make(
          () => model.make(one, first, "symlink", target),
          async () => [(await this.world.run(fs.symlink(ROOT, one.inode, n1, target))).inode],
        );
      }
      case "link":
        return this.agree(
          () => model.link(node, one, first),
          () => fs.link(ROOT, node.inode, one.inode, n1),
        );
      case "unlink":
        return this.agree(
          () => model.unlink(one, taken),
          () => fs.unlink(ROOT, one.inode, name(taken)),
        );
      case "rmdir":
        return this.agree(
          () => model.rmdir(one, taken),
          () => fs.rmdir(ROOT, one.inode, name(taken)),
        );
      case "rename": {
        const mode = RENAMES[at.offset % RENAMES.length] as (typeof RENAMES)[number];
        const flags = { replace: 0, noReplace: RENAME_NOREPLACE, exchange: RENAME_EXCHANGE };
        return this.agree(
          () => model.rename(one, taken, two, second, mode),
          () => fs.rename(ROOT, one.inode, name(taken), two.inode, n2, flags[mode]),
        );
      }
      case "open":
        return this.openOne(node);
      case "release":
        return this.releaseOne(at.a);
      case "setxattr": {
        const value = bytesOf(at.size % 9000, at.b);
        return this.agree(
          () => {
            if (node.kind === "symlink") refuse("EPERM");
            node.xattrs.set(`user.${first}`.slice(0, 255), value);
          },
          () => fs.setxattr(ROOT, node.inode, name(`user.${first}`.slice(0, 255)), value, 0),
        );
      }
      case "removexattr":
        return this.agree(
          () => {
            if (node.kind === "symlink") refuse("EPERM");
            if (!node.xattrs.delete(`user.${first}`.slice(0, 255))) refuse("ENODATA");
          },
          () => fs.removexattr(ROOT, node.inode, name(`user.${first}`.slice(0, 255))),
        );
      case "checkpoint":
        this.world.volume.checkpoint();
        return;
      case "remount":
        this.open = [];
        return this.world.remount();
      case "compare":
        return this.compareAll();
      case "copy":
        return this.copy(at);
      case "write":
      case "truncate":
      case "punch":
      case "zero":
      case "read": {
        const target = this.open[at.a % Math.max(1, this.open.length)];
        if (target !== undefined && target.node.kind === "file") await this.data(at, target);
      }
    }
  }

  private async copy({ a, b, c, size, offset: any }: Step): Promise<void> {
    const files = this.open.filter(({ node }) => node.kind === "file");
    const [from, to] = [files[a % Math.max(1, files.length)], files[b % Math.max(1, files.length)]];
    if (from === undefined || to === undefined) return;
    const offset = any % (from.node.content.length + 10);
    const targetOffset = c * 100;
    const bytes = from.node.content.slice(offset, offset + size);
    const source = { handle: from.handle, offset };
    const target = { handle: to.handle, offset: targetOffset };
    const copy = () => this.fs.copyRange(source, target, size);
    if (from.node === to.node && Math.abs(offset - targetOffset) < bytes.length) {
      expect(await this.world.errno(copy)).toBe("EINVAL");
      return;
    }
    const copied = await this.world.run(copy());
    expect(copied).toBe(bytes.length);
    if (copied > 0) this.model.write(to.node, targetOffset, bytes);
  }

  private async data(at: Step, { node, handle }: Open): Promise<void> {
    const { model, fs } = this;
    const { offset, size } = at;
    if (at.kind === "write") {
      const data = bytesOf(size, at.b + at.c);
      model.write(node, offset, data);
      expect(await this.world.run(fs.write(handle, offset, data, "none"))).toBe(size);
    } else if (at.kind === "truncate") {
      model.resize(node, offset);
      const { size: now } = await this.world.run(
        fs.setattr(ROOT, node.inode, { size: offset }, handle),
      );
      expect(now).toBe(offset);
    } else if (at.kind === "punch") {
      model.zero(node, offset, size);
      const mode = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
      await this.world.run(fs.fallocate(handle, offset, size, mode));
    } else if (at.kind === "zero") {
      model.resize(node, Math.max(node.content.length, offset + size));
      model.zero(node, offset, size);
      await this.world.run(fs.fallocate(handle, offset, size, FALLOC_ZERO_RANGE));
    } else {
      const bytes = concatBytes(await this.world.run(fs.read(handle, offset, size)));
      expectBytes(bytes, node.content.subarray(offset, offset + size));
    }
  }

  private async make(
    inModel: () => ModelNode,
    inFs: () => Promise<(number | undefined)[]>,
  ): Promise<void> {
    let made: ModelNode | undefined;
    let real: (number | undefined)[] = [];
    await this.agree(
      () => {
        made = inModel();
      },
      async () => {
        real = await inFs();
      },
    );
    const [inode, handle] = real;
    if (made === undefined || inode === undefined) return;
    made.inode = inode;
    if (handle !== undefined) this.open.push({ node: made, handle });
  }

  private async openOne(node: ModelNode): Promise<void> {
    if (node.kind !== "file" || this.open.length > 8) return;
    const handle = await this.world.run(this.fs.open(ROOT, node.inode, READ_WRITE));
    this.open.push({ node, handle });
  }

  private async releaseOne(index: number): Promise<void> {
    const [closed] = this.open.splice(index % Math.max(1, this.open.length), 1);
    if (closed !== undefined) await this.world.run(this.fs.release(closed.handle));
  }

  private async agree(inModel: () => void, inFs: () => MaybePromise<unknown>): Promise<void> {
    let expected = "ok";
    try {
      inModel();
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      expected = error.code;
    }
    expect(await this.world.errno(inFs)).toBe(expected);
  }

  async compareAll(): Promise<void> {
    let dataBytes = 0;
    const nodes = new Set([...this.model.all(), ...this.open.map(({ node }) => node)]);
    for (const node of nodes) dataBytes += await this.compareNode(node);
    const { statistics } = this.world.volume;
    expect(statistics.inodes).toBe(nodes.size);
    expect(statistics.dataBytes).toBe(dataBytes);
  }

  /** Gives the bytes it stores. */
  private async compareNode(node: ModelNode): Promise<number> {
    const { fs, world } = this;
    const attributes = await world.run(fs.getattr(node.inode));
    expect(attributes.links).toBe(node.links);
    if (node.kind === "directory") await this.compareDirectory(node, attributes.size);
    else expect(attributes.size).toBe(node.content.length);
    if (node.kind === "symlink") {
      expectBytes(await world.run(fs.readlink(node.inode)), node.content);
    }
    if (node.kind === "file") {
      const handle = await world.run(fs.open(ROOT, node.inode, READ_WRITE));
      const whole = await world.run(fs.read(handle, 0, node.content.length + 10));
      expectBytes(concatBytes(whole), node.content);
      await world.run(fs.release(handle));
    }
    return attributes.allocatedBytes + (await this.compareXattrs(node));
  }

  private async compareDirectory(node: ModelNode, size: number): Promise<void> {
    const { fs, world } = this;
    const found = new Map<string, number>();
    await world.run(
      fs.readdir(ROOT, node.inode, 0, (entry) => {
        found.set(String.fromCharCode(...entry.name), entry.inode);
        return true;
      }),
    );
    const expected = [...node.entries].map(([key, child]) => [key, child.inode] as const);
    expect(found).toEqual(new Map(expected));
    expect(size).toBe(32 * node.entries.size);
    if (node.links === 0) return;
    const up = await world.run(fs.lookup(ROOT, node.inode, name("..")));
    expect(up.inode).toBe((node.parent ?? node).inode);
  }

  private async compareXattrs(node: ModelNode): Promise<number> {
    const { fs, world } = this;
    const names = await world.run(fs.listxattr(ROOT, node.inode));
    const texts = names.map((bytes) => String.fromCharCode(...bytes));
    expect(texts.toSorted()).toEqual([...node.xattrs.keys()].toSorted());
    let located = 0;
    for (const [key, value] of node.xattrs) {
      expectBytes(await world.run(fs.getxattr(ROOT, node.inode, name(key))), value);
      if (value.length > 2048) located += value.length;
    }
    return located;
  }
}

const WORLDS: Record<string, WorldOptions> = {
  "large nodes, all in memory": {},
  "small nodes and almost no cache": {
    nodeBytes: 13_000,
    limits: { cacheBytes: 0, dirtyBytes: 16_384, replayBytes: 200_000 },
    log: { tailBytes: 0 },
  },
};

describe.each(Object.entries(WORLDS))("with %s", (_, options) => {
  test("EveryAnswerAgreesWithTheModel", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: "max" }), async (steps) => {
        const comparison = new Comparison(options);
        for (const at of steps) await comparison.perform(at);
        await comparison.compareAll();
        expect(await comparison.world.findings()).toEqual([]);
        comparison.open = [];
        await comparison.world.remount();
        await comparison.compareAll();
        expect(await comparison.world.findings()).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test("APowerLossAtAnyMomentLeavesAWholeFileSystem", async () => {
    const moments = fc.record({ seed: fc.nat(), micros: fc.nat(3000) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), moments, async (steps, moment) => {
        const comparison = new Comparison(options);
        comparison.world.settle();
        for (const at of steps) {
          if (at.kind !== "remount") await comparison.perform(at);
        }
        comparison.world.clock.advance(moment.micros);
        await comparison.world.crash(moment.seed);
        expect(await comparison.world.findings()).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
