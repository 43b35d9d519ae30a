/** What a mount shows of snapshots, and what it refuses. */
import { describe, expect, test } from "vitest";
import type { ErrnoName } from "../../lib/errno.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { LeasedVolume } from "../../logfs/core/fs/leased-volume.ts";
import {
  CONTROL_INODE,
  shownInode,
  SNAPSHOTS_INODE,
} from "../../logfs/core/fs/snapshot-numbers.ts";
import { SnapshotVfs } from "../../logfs/core/fs/snapshot-vfs.ts";
import type { Attributes, MaybePromise, Vfs } from "../../logfs/core/vfs.ts";
import { FsWorld, name, READ, READ_WRITE, ROOT, user } from "../fs-world.ts";

class ShownWorld extends FsWorld {
  vfs: SnapshotVfs = new SnapshotVfs(this.fs, this.volume);

  override async remount(): Promise<void> {
    await super.remount();
    this.vfs = new SnapshotVfs(this.fs, this.volume);
  }

  at(path: string): Promise<Attributes> {
    return this.walk(path.split("/").filter((part) => part !== ""));
  }

  private async walk(parts: readonly string[]): Promise<Attributes> {
    let found = await this.run(this.vfs.getattr(1));
    for (const part of parts) {
      found = await this.run(this.vfs.lookup(ROOT, found.inode, name(part)));
    }
    return found;
  }

  async write(parent: number, file: string, text: string): Promise<number> {
    const { attributes, handle } = await this.run(
      this.vfs.create(ROOT, parent, name(file), 0o644, false, { ...READ_WRITE, truncate: true }),
    );
    await this.run(this.vfs.write(handle, 0, name(text), "none"));
    await this.run(this.vfs.release(handle));
    return attributes.inode;
  }

  async text(inode: number): Promise<string> {
    const handle = await this.run(this.vfs.open(ROOT, inode, READ));
    try {
      return await this.textOf(handle);
    } finally {
      await this.run(this.vfs.release(handle));
    }
  }

  async textOf(handle: number): Promise<string> {
    const pieces = await this.run(this.vfs.read(handle, 0, 1000));
    return Buffer.concat(pieces).toString("latin1");
  }

  async list(inode: number): Promise<[string, number][]> {
    const entries: [string, number][] = [];
    await this.run(
      this.vfs.readdir(ROOT, inode, 0, (entry) => {
        entries.push([Buffer.from(entry.name).toString("latin1"), entry.inode]);
        return true;
      }),
    );
    return entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
  }
}

/** /file "old", /folder/inner, /link to it with an attribute; then a snapshot; then all is otherwise. */
async function changedWorld() {
  const world = new ShownWorld();
  const { vfs } = world;
  const file = await world.write(1, "file", "old");
  const folder = await world.run(vfs.mkdir(ROOT, 1, name("folder"), 0o750));
  const inner = await world.write(folder.inode, "inner", "inside");
  await world.run(vfs.symlink(ROOT, 1, name("link"), name("folder/inner")));
  await world.run(vfs.setxattr(ROOT, inner, name("user.long"), new Uint8Array(5000).fill(7), 0));
  const before = await world.at("file");
  const snapshot = world.volume.snapshots.take("monday");
  world.clock.advance(5e6);
  await world.write(1, "file", "new and longer");
  await world.run(vfs.unlink(ROOT, folder.inode, name("inner")));
  await world.run(vfs.rmdir(ROOT, 1, name("folder")));
  await world.run(vfs.unlink(ROOT, 1, name("link")));
  return { world, vfs, file, folder: folder.inode, inner, before, snapshot };
}

describe("the directory .smfs", () => {
  test("is found in the root directory only, and not listed there", async () => {
    const { world, vfs } = await changedWorld();
    expect(await world.list(1)).toEqual([["file", expect.any(Number)]]);
    expect((await world.at(".smfs")).inode).toBe(CONTROL_INODE);
    const folder = await world.run(vfs.mkdir(ROOT, 1, name("other"), 0o755));
    expect(await world.errno(() => vfs.lookup(ROOT, folder.inode, name(".smfs")))).toBe("ENOENT");
    expect(await world.list(CONTROL_INODE)).toEqual([["snapshots", SNAPSHOTS_INODE]]);
    expect(await world.list(SNAPSHOTS_INODE)).toEqual([["monday", shownInode(1, 1)]]);
  });

  test("leads back up by ..", async () => {
    const { world } = await changedWorld();
    expect((await world.at(".smfs/snapshots/monday/folder/..")).inode).toBe(shownInode(1, 1));
    expect((await world.at(".smfs/snapshots/monday/..")).inode).toBe(SNAPSHOTS_INODE);
    expect((await world.at(".smfs/snapshots/..")).inode).toBe(CONTROL_INODE);
    expect((await world.at(".smfs/..")).inode).toBe(1);
  });

  test("changes its time whenever the list changes", async () => {
    const { world } = await changedWorld();
    const { snapshots } = world.volume;
    const times = new Set<string>();
    const note = async (): Promise<void> => {
      times.add(JSON.stringify((await world.at(".smfs/snapshots")).modified));
    };
    await note();
    world.clock.advance(1e6);
    snapshots.take("b");
    await note();
    snapshots.remove("monday");
    await note();
    snapshots.remove("b");
    await note();
    expect(times.size).toBe(4);
  });

  test("and the roots of snapshots are not to be cached, everything else is", async () => {
    const { vfs, snapshot, file } = await changedWorld();
    const transient = [CONTROL_INODE, SNAPSHOTS_INODE, shownInode(snapshot.slot, 1)];
    expect(transient.map((inode) => vfs.isTransient(inode))).toEqual([true, true, true]);
    const stable = [1, file, shownInode(snapshot.slot, file)];
    expect(stable.map((inode) => vfs.isTransient(inode))).toEqual([false, false, false]);
  });
});

describe("a snapshot that is shown", () => {
  test("has the files, directories, links and attributes of its time", async () => {
    const { world, before, file, inner } = await changedWorld();
    for (const again of [false, true]) {
      if (again) await world.remount();
      const { vfs } = world;
      expect(await world.text((await world.at("file")).inode)).toBe("new and longer");
      const old = await world.at(".smfs/snapshots/monday/file");
      expect(old).toEqual({ ...before, inode: shownInode(1, file) });
      expect(await world.text(old.inode)).toBe("old");
      const folder = await world.at(".smfs/snapshots/monday/folder");
      expect(await world.list(folder.inode)).toEqual([["inner", shownInode(1, inner)]]);
      const link = await world.at(".smfs/snapshots/monday/link");
      expect(await world.run(vfs.readlink(link.inode))).toEqual(name("folder/inner"));
      const value = vfs.getxattr(ROOT, shownInode(1, inner), name("user.long"));
      expect(await world.run(value)).toEqual(new Uint8Array(5000).fill(7));
      const names = await world.run(vfs.listxattr(ROOT, shownInode(1, inner)));
      expect(names).toEqual([name("user.long")]);
    }
  });

  test("keeps its data when nothing else needs it and dead segments are dropped", async () => {
    const world = new ShownWorld({ log: { segmentBytes: 256 * 1024, allocationBytes: 16_384 } });
    const big = "x".repeat(60_000);
    await world.write(1, "file", big);
    world.volume.snapshots.take("a");
    for (let i = 0; i < 30; i++) await world.write(1, "file", `${i}${big}`);
    world.settle();
    world.volume.checkpoint();
    world.settle();
    while (world.reaper.isDue) world.reaper.step();
    expect(world.disk.list().length).toBeLessThan(6);
    const old = await world.at(".smfs/snapshots/a/file");
    expect(await world.text(old.inode)).toBe(big.slice(0, 1000));
    expect(await world.findings()).toEqual([]);
  });

  test("checks permissions as the file system does", async () => {
    const { world, vfs, folder } = await changedWorld();
    const shown = shownInode(1, folder);
    const stranger = user(5);
    expect(await world.errno(() => vfs.lookup(stranger, shown, name("inner")))).toBe("EACCES");
    expect(await world.errno(() => vfs.access(ROOT, shown, 2))).toBe("EROFS");
    expect(await world.errno(() => vfs.access(ROOT, shown, 4))).toBe("ok");
  });

  test("that was removed is ESTALE, handles too, and its name is gone", async () => {
    const { world, vfs, file } = await changedWorld();
    const shown = shownInode(1, file);
    const handle = await world.run(vfs.open(ROOT, shown, READ));
    expect(vfs.openFilesOf(1)).toBe(1);
    world.volume.snapshots.remove("monday");
    const gone: [() => MaybePromise<unknown>, ErrnoName][] = [
      [() => vfs.getattr(shown), "ESTALE"],
      [() => vfs.read(handle, 0, 10), "ESTALE"],
      [() => vfs.lookup(ROOT, shownInode(1, 1), name("file")), "ESTALE"],
      [() => vfs.readdir(ROOT, shownInode(1, 1), 0, () => true), "ESTALE"],
      [() => vfs.lookup(ROOT, SNAPSHOTS_INODE, name("monday")), "ENOENT"],
    ];
    for (const [act, errno] of gone) expect(await world.errno(act)).toBe(errno);
    await world.run(vfs.release(handle));
    expect(vfs.openFilesOf(1)).toBe(0);
    expect(await world.errno(() => vfs.read(handle, 0, 1))).toBe("EBADF");
  });

  test("whose slot was given again is the new one by name, and stale by old handles", async () => {
    const { world, vfs, file } = await changedWorld();
    const handle = await world.run(vfs.open(ROOT, shownInode(1, file), READ));
    const { snapshots } = world.volume;
    snapshots.remove("monday");
    for (let i = 0; i < 499; i++) {
      snapshots.take("passing");
      snapshots.remove("passing");
    }
    expect(snapshots.take("tuesday").slot).toBe(1);
    expect(await world.text(shownInode(1, file))).toBe("new and longer");
    expect(await world.errno(() => vfs.read(handle, 0, 10))).toBe("ESTALE");
  });
});

test("what a file system has under way when its lease ends happens to no other tree", async () => {
  const world = new FsWorld({ nodeBytes: 1024, limits: { cacheBytes: 0 } });
  for (let i = 0; i < 200; i++) await world.run(world.fs.mkdir(ROOT, 1, name(`d${i}`), 0o755));
  world.volume.checkpoint();
  await world.remount();
  const lease = new LeasedVolume(world.volume);
  const old = new FileSystem(lease, { wait: () => undefined });
  const { sequence } = world.log.head;
  const late = [old.mkdir(ROOT, 1, name("late"), 0o755), old.lookup(ROOT, 1, name("d77"))] as const;
  for (const answer of late) expect(answer).toBeInstanceOf(Promise);
  lease.end();
  for (const answer of late) expect(await world.errno(() => answer)).toBe("ESTALE");
  expect(await world.errno(() => old.mkdir(ROOT, 1, name("later"), 0o755))).toBe("ESTALE");
  expect(world.log.head.sequence).toBe(sequence);
});

type Act = (
  vfs: Vfs,
  at: { file: number; folder: number; handle: number },
) => MaybePromise<unknown>;

describe("a snapshot refuses", () => {
  test.each<[string, ErrnoName, Act]>([
    ["chmod", "EROFS", (vfs, { file }) => vfs.setattr(ROOT, file, { mode: 0 })],
    ["mknod", "EROFS", (vfs, { folder }) => vfs.mknod(ROOT, folder, name("n"), 0o100644, 0)],
    ["mkdir", "EROFS", (vfs, { folder }) => vfs.mkdir(ROOT, folder, name("n"), 0o755)],
    ["mkdir beside it", "EROFS", (vfs) => vfs.mkdir(ROOT, SNAPSHOTS_INODE, name("n"), 0o755)],
    ["rmdir of it", "EROFS", (vfs) => vfs.rmdir(ROOT, SNAPSHOTS_INODE, name("monday"))],
    ["symlink", "EROFS", (vfs, { folder }) => vfs.symlink(ROOT, folder, name("n"), name("x"))],
    ["link within", "EROFS", (vfs, { file, folder }) => vfs.link(ROOT, file, folder, name("n"))],
    ["link out", "EXDEV", (vfs, { file }) => vfs.link(ROOT, file, 1, name("n"))],
    ["unlink", "EROFS", (vfs, { folder }) => vfs.unlink(ROOT, folder, name("inner"))],
    [
      "rename out",
      "EROFS",
      (vfs, { folder }) => vfs.rename(ROOT, folder, name("inner"), 1, name("n"), 0),
    ],
    [
      "rename in",
      "EROFS",
      (vfs, { folder }) => vfs.rename(ROOT, 1, name("file"), folder, name("n"), 0),
    ],
    ["create", "EROFS", (vfs, { folder }) => vfs.create(ROOT, folder, name("n"), 0, true, READ)],
    ["open for writing", "EROFS", (vfs, { file }) => vfs.open(ROOT, file, READ_WRITE)],
    ["write", "EBADF", (vfs, { handle }) => vfs.write(handle, 0, name("x"), "none")],
    ["fallocate", "EBADF", (vfs, { handle }) => vfs.fallocate(handle, 0, 1, 0)],
    [
      "sharing",
      "EXDEV",
      (vfs, { handle }) => vfs.copyRange({ handle, offset: 0 }, { handle: 0, offset: 0 }, 1),
    ],
    [
      "setxattr",
      "EROFS",
      (vfs, { file }) => vfs.setxattr(ROOT, file, name("user.a"), name("b"), 0),
    ],
    ["removexattr", "EROFS", (vfs, { file }) => vfs.removexattr(ROOT, file, name("user.a"))],
    ["mkdir of .smfs", "EEXIST", (vfs) => vfs.mkdir(ROOT, 1, name(".smfs"), 0o755)],
    ["create of .smfs", "EISDIR", (vfs) => vfs.create(ROOT, 1, name(".smfs"), 0, false, READ)],
    ["rename to .smfs", "EBUSY", (vfs) => vfs.rename(ROOT, 1, name("file"), 1, name(".smfs"), 0)],
    ["rmdir of .smfs", "EBUSY", (vfs) => vfs.rmdir(ROOT, 1, name(".smfs"))],
    ["open of .smfs", "EISDIR", (vfs) => vfs.open(ROOT, CONTROL_INODE, READ)],
    ["readlink of .smfs", "EINVAL", (vfs) => vfs.readlink(CONTROL_INODE)],
    [
      "an attribute of .smfs",
      "ENODATA",
      (vfs) => vfs.getxattr(ROOT, CONTROL_INODE, name("user.a")),
    ],
    ["a snapshot that never was", "ESTALE", (vfs) => vfs.getattr(shownInode(7, 1))],
  ])("%s: %s", async (_, errno, act) => {
    const { world, vfs, file, folder } = await changedWorld();
    const handle = await world.run(vfs.open(ROOT, shownInode(1, file), READ));
    const head = world.log.head.sequence;
    const at = { file: shownInode(1, file), folder: shownInode(1, folder), handle };
    expect(await world.errno(() => act(vfs, at))).toBe(errno);
    expect(world.log.head.sequence).toBe(head);
  });
});
