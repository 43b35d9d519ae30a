/** Comparing two snapshots by what they do not share gives what comparing everything gives. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { diffTrees, type PathChange } from "../../logfs/core/fs/diff.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { isDirectory } from "../../logfs/core/fs/modes.ts";
import type { Snapshot } from "../../logfs/core/fs/snapshot.ts";
import type { Attributes, Vfs } from "../../logfs/core/vfs.ts";
import { FsWorld, name, READ_WRITE, ROOT } from "../fs-world.ts";

const NAMES = ["a", "b", "c", "d"];
const OPERATIONS = ["write", "mkdir", "remove", "rename", "link", "chmod", "xattr"] as const;

/** Numbers choose among what is there when the operation is run. */
interface Operation {
  readonly what: (typeof OPERATIONS)[number];
  readonly one: number;
  readonly other: number;
  readonly name: string;
  readonly newName: string;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  what: fc.constantFrom(...OPERATIONS),
  one: fc.nat({ max: 1000 }),
  other: fc.nat({ max: 1000 }),
  name: fc.constantFrom(...NAMES),
  newName: fc.constantFrom(...NAMES),
});
const operations = (minLength: number) =>
  fc.array(operation, { minLength, maxLength: minLength + 30, size: "max" });

interface Place {
  readonly directory: number;
  readonly name: string;
  readonly path: string;
}

interface Known {
  readonly attributes: Attributes;
  readonly places: Place[];
}

/** Everything, by walking from the root. */
async function walk(world: FsWorld, vfs: Vfs): Promise<Map<number, Known>> {
  const found = new Map<number, Known>();
  const visit = async (inode: number, path: string): Promise<void> => {
    const entries: { name: string; inode: number }[] = [];
    await world.run(
      vfs.readdir(ROOT, inode, 0, (entry) => {
        entries.push({ name: Buffer.from(entry.name).toString(), inode: entry.inode });
        return true;
      }),
    );
    for (const entry of entries) {
      const place = { directory: inode, name: entry.name, path: `${path}/${entry.name}` };
      const known = found.get(entry.inode);
      known?.places.push(place);
      if (known !== undefined) continue;
      const attributes = await world.run(vfs.getattr(entry.inode));
      found.set(entry.inode, { attributes, places: [place] });
      if (isDirectory(attributes.mode)) await visit(entry.inode, place.path);
    }
  };
  const root = await world.run(vfs.getattr(1));
  found.set(1, { attributes: root, places: [{ directory: 1, name: "", path: "/" }] });
  await visit(1, "");
  return found;
}

/** Does it, or not when what is there does not allow it. */
async function run(world: FsWorld, { what, one, other, ...chosen }: Operation): Promise<void> {
  const { fs } = world;
  world.clock.advance(1000);
  const all = await walk(world, fs);
  const directories = [...all].filter(([, { attributes }]) => isDirectory(attributes.mode));
  const pick = (number: number) => directories[number % directories.length]?.[0] ?? 1;
  const [parent, target] = [pick(one), pick(other)];
  const inode = [...all.keys()][other % all.size] ?? 1;
  await world.errno(() => {
    switch (what) {
      case "write":
        return write(world, parent, chosen.name, other);
      case "mkdir":
        return fs.mkdir(ROOT, parent, name(chosen.name), 0o755);
      case "remove":
        return remove(world, parent, chosen.name);
      case "rename":
        return fs.rename(ROOT, parent, name(chosen.name), target, name(chosen.newName), 0);
      case "link":
        return fs.link(ROOT, inode, parent, name(chosen.name));
      case "chmod":
        return fs.setattr(ROOT, inode, { mode: 0o600 + (one % 8) });
      case "xattr":
        return fs.setxattr(ROOT, inode, name("user.x"), name(`${one}`), 0);
    }
  });
}

async function write(world: FsWorld, parent: number, file: string, length: number): Promise<void> {
  const { fs } = world;
  const { handle } = await world.run(fs.create(ROOT, parent, name(file), 0o644, false, READ_WRITE));
  await world.run(fs.write(handle, 0, new Uint8Array(length + 1).fill(length), "none"));
  await world.run(fs.release(handle));
}

async function remove(world: FsWorld, parent: number, file: string): Promise<void> {
  const { fs } = world;
  const result = await world.errno(() => fs.unlink(ROOT, parent, name(file)));
  if (result !== "ok") await world.run(fs.rmdir(ROOT, parent, name(file)));
}

interface Expected {
  /** Paths by inode: where it was and is not, where it is and was not. */
  readonly lost: string[];
  readonly gained: string[];
  readonly modified: number[];
}

const keyOfPlace = ({ directory, name: own }: Place): string => `${directory}/${own}`;

function compareWhole(before: Map<number, Known>, after: Map<number, Known>): Expected {
  const expected: Expected = { lost: [], gained: [], modified: [] };
  for (const inode of new Set([...before.keys(), ...after.keys()])) {
    const [then, now] = [before.get(inode), after.get(inode)];
    const was = new Set((then?.places ?? []).map(keyOfPlace));
    const is = new Set((now?.places ?? []).map(keyOfPlace));
    for (const place of then?.places ?? []) {
      if (!is.has(keyOfPlace(place))) expected.lost.push(`${inode} ${place.path}`);
    }
    for (const place of now?.places ?? []) {
      if (!was.has(keyOfPlace(place))) expected.gained.push(`${inode} ${place.path}`);
    }
    if (then && now && isModified(then.attributes, now.attributes)) expected.modified.push(inode);
  }
  return expected;
}

function isModified(before: Attributes, after: Attributes): boolean {
  const keys = ["mode", "uid", "gid", "size", "modified"] as const;
  return keys.some((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]));
}

const text = (path: Uint8Array | undefined): string => Buffer.from(path ?? []).toString();

function asExpected(changes: readonly PathChange[]): Expected {
  const of = (...kinds: PathChange["kind"][]) => changes.filter(({ kind }) => kinds.includes(kind));
  return {
    lost: of("removed", "renamed").map(({ inode, path }) => `${inode} ${text(path)}`),
    gained: of("added", "renamed").map(
      ({ inode, kind, path, newPath }) => `${inode} ${text(kind === "renamed" ? newPath : path)}`,
    ),
    modified: of("modified").map(({ inode }) => inode),
  };
}

const sorted = ({ lost, gained, modified }: Expected) => ({
  lost: lost.toSorted(),
  gained: gained.toSorted(),
  modified: modified.toSorted((a, b) => a - b),
});

test("the difference of two trees is that of all their files", async () => {
  const tally = { lost: 0, gained: 0, modified: 0, renamed: 0, attributesOnly: 0 };
  await fc.assert(
    fc.asyncProperty(operations(20), operations(1), async (first, then) => {
      const world = new FsWorld({ nodeBytes: 1024 });
      for (const one of first) await run(world, one);
      const older = world.volume.snapshots.take("older");
      for (const one of then) await run(world, one);
      const newer = world.volume.snapshots.take("newer");
      const open = (snapshot: Snapshot) => world.volume.openSnapshot(snapshot);
      const changes = await world.run(diffTrees(open(older).nodes, open(newer).nodes));
      const all = async (snapshot: Snapshot) =>
        walk(world, new FileSystem(open(snapshot), { wait: () => undefined }));
      const [before, after] = [await all(older), await all(newer)];
      const whole = compareWhole(before, after);
      const found = asExpected(changes);
      // An attribute that changed alone shows in no stat field but the time of change.
      const changedOnly = found.modified.filter((inode) => !whole.modified.includes(inode));
      for (const inode of changedOnly) {
        const times = [before, after].map((side) => side.get(inode)?.attributes.changed);
        expect(times[0]).not.toEqual(times[1]);
      }
      tally.attributesOnly += changedOnly.length;
      const modified = found.modified.filter((inode) => whole.modified.includes(inode));
      expect(sorted({ ...found, modified })).toEqual(sorted(whole));
      for (const { kind, inode, path } of changes) {
        if (kind !== "modified") continue;
        expect(after.get(inode)?.places.map((place) => place.path)).toContain(text(path));
      }
      tally.lost += whole.lost.length;
      tally.gained += whole.gained.length;
      tally.modified += whole.modified.length;
      tally.renamed += changes.filter(({ kind }) => kind === "renamed").length;
    }),
    { numRuns: 80, endOnFailure: true },
  );
  for (const count of Object.values(tally)) expect(count).toBeGreaterThan(10);
});

test("costs what changed, however large the trees are", async () => {
  const world = new FsWorld({ nodeBytes: 1024, limits: { cacheBytes: 2 ** 14 } });
  const { fs } = world;
  for (let i = 0; i < 30; i++) {
    const { inode } = await world.run(fs.mkdir(ROOT, 1, name(`d${i}`), 0o755));
    for (let k = 0; k < 60; k++) await write(world, inode, `f${k}`, 10);
  }
  const older = world.volume.openSnapshot(world.volume.snapshots.take("older"));
  const { inode } = await world.run(fs.lookup(ROOT, 1, name("d7")));
  await write(world, inode, "f7", 20);
  await world.run(fs.rename(ROOT, inode, name("f8"), 1, name("moved"), 0));
  const newer = world.volume.openSnapshot(world.volume.snapshots.take("newer"));
  const before = world.volume.statistics.misses;
  const changes = await world.run(diffTrees(older.nodes, newer.nodes));
  expect(changes.map(({ kind, path, newPath }) => [kind, text(path), text(newPath)])).toEqual([
    ["modified", "/", ""],
    ["modified", "/d7", ""],
    ["modified", "/d7/f7", ""],
    ["renamed", "/d7/f8", "/moved"],
  ]);
  // Some 700 nodes in each tree.
  expect(world.volume.statistics.misses - before).toBeLessThan(90);
});
