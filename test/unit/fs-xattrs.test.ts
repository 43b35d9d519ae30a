import { describe, expect, test } from "vitest";
import type { ErrnoName } from "../../lib/errno.ts";
import { SmfsError } from "../../lib/errors.ts";
import {
  XATTR_CREATE,
  XATTR_REPLACE,
  type Caller,
  type MaybePromise,
} from "../../logfs/core/vfs.ts";
import { bytesOf, expectBytes, FsWorld, name, READ_WRITE, ROOT, user } from "../fs-world.ts";

const OWNER = user(1000);
const OTHER = user(1001);

/** /f with user.a and trusted.t, owned by OWNER; /s a symlink; /sticky a directory anyone may write. */
async function files() {
  const world = new FsWorld();
  const { fs } = world;
  const made = await world.run(fs.create(ROOT, 1, name("f"), 0o644, true, READ_WRITE));
  const f = made.attributes.inode;
  await world.run(fs.setattr(ROOT, f, { uid: 1000 }));
  const s = (await world.run(fs.symlink(ROOT, 1, name("s"), name("f")))).inode;
  const sticky = (await world.run(fs.mkdir(ROOT, 1, name("sticky"), 0o777))).inode;
  await world.run(fs.setattr(ROOT, sticky, { mode: 0o1777 }));
  await world.run(fs.setxattr(ROOT, f, name("user.a"), bytesOf(10), 0));
  await world.run(fs.setxattr(ROOT, f, name("trusted.t"), bytesOf(10), 0));
  await world.run(fs.setxattr(ROOT, f, name("security.s"), bytesOf(10), 0));
  return { world, fs, f, s, sticky };
}

type Files = Awaited<ReturnType<typeof files>>;
type Act = (files: Files) => MaybePromise<unknown>;
const set =
  (caller: Caller, key: string, value = bytesOf(1), flags = 0): Act =>
  ({ fs, f }) =>
    fs.setxattr(caller, f, name(key), value, flags);
const get =
  (caller: Caller, key: string): Act =>
  ({ fs, f }) =>
    fs.getxattr(caller, f, name(key));

describe("rules", () => {
  test.each<[string, ErrnoName | "ok", Act]>([
    ["CREATE of a new name", "ok", set(OWNER, "user.n", bytesOf(1), XATTR_CREATE)],
    ["CREATE of one that is there", "EEXIST", set(OWNER, "user.a", bytesOf(1), XATTR_CREATE)],
    ["REPLACE of one that is there", "ok", set(OWNER, "user.a", bytesOf(1), XATTR_REPLACE)],
    ["REPLACE of a new name", "ENODATA", set(OWNER, "user.n", bytesOf(1), XATTR_REPLACE)],
    ["an unknown flag", "EINVAL", set(OWNER, "user.n", bytesOf(1), 4)],
    ["a value of 64 KiB", "ok", set(OWNER, "user.n", bytesOf(65_536))],
    ["one byte more", "E2BIG", set(OWNER, "user.n", bytesOf(65_537))],
    ["an empty value", "ok", set(OWNER, "user.n", new Uint8Array(0))],
    ["a name of 255 bytes", "ok", set(OWNER, `user.${"x".repeat(250)}`)],
    ["a name of 256 bytes", "ERANGE", set(OWNER, `user.${"x".repeat(251)}`)],
    ["an empty name", "ERANGE", set(OWNER, "")],
    ["a prefix alone", "EINVAL", set(OWNER, "user.")],
    ["another namespace", "EOPNOTSUPP", set(ROOT, "other.x")],
    ["a POSIX ACL", "EOPNOTSUPP", set(ROOT, "system.posix_acl_access")],
    ["reading a POSIX ACL", "EOPNOTSUPP", get(ROOT, "system.posix_acl_default")],
    ["reading what is not there", "ENODATA", get(OWNER, "user.n")],
    ["user. read by others who may read", "ok", get(OTHER, "user.a")],
    ["user. written by who may not write", "EACCES", set(OTHER, "user.a")],
    ["trusted. written by a user", "EPERM", set(OWNER, "trusted.t")],
    ["trusted. read by a user", "ENODATA", get(OWNER, "trusted.t")],
    ["trusted. by root", "ok", set(ROOT, "trusted.t")],
    ["security. written by a user", "EPERM", set(OWNER, "security.s")],
    ["security. read by a user", "ok", get(OTHER, "security.s")],
    [
      "user. on a symlink",
      "EPERM",
      ({ fs, s }) => fs.setxattr(ROOT, s, name("user.x"), bytesOf(1), 0),
    ],
    ["user. read from a symlink", "ENODATA", ({ fs, s }) => fs.getxattr(ROOT, s, name("user.x"))],
    [
      "trusted. on a symlink",
      "ok",
      ({ fs, s }) => fs.setxattr(ROOT, s, name("trusted.x"), bytesOf(1), 0),
    ],
    [
      "user. on another's sticky directory",
      "EPERM",
      ({ fs, sticky }) => fs.setxattr(OTHER, sticky, name("user.x"), bytesOf(1), 0),
    ],
    ["removing", "ok", ({ fs, f }) => fs.removexattr(OWNER, f, name("user.a"))],
    [
      "removing what is not there",
      "ENODATA",
      ({ fs, f }) => fs.removexattr(OWNER, f, name("user.n")),
    ],
    [
      "removing without the right",
      "EACCES",
      ({ fs, f }) => fs.removexattr(OTHER, f, name("user.a")),
    ],
  ])("%s: %s", async (_, expected, act) => {
    const made = await files();
    expect(await made.world.errno(() => act(made))).toBe(expected);
  });

  test("TheListHidesTrustedNamesFromUsers", async () => {
    const { world, fs, f } = await files();
    const list = async (caller: Caller) =>
      (await world.run(fs.listxattr(caller, f)))
        .map((key) => String.fromCharCode(...key))
        .toSorted((a, b) => (a < b ? -1 : 1));
    expect(await list(ROOT)).toEqual(["security.s", "trusted.t", "user.a"]);
    expect(await list(OTHER)).toEqual(["security.s", "user.a"]);
  });

  test("TheListNeverGrowsPast64KiB", async () => {
    const { world, fs, f } = await files();
    const key = (i: number) => name(`user.${String(i).padStart(250, "x")}`);
    for (let i = 0; i < 255; i++) await world.run(fs.setxattr(ROOT, f, key(i), bytesOf(1), 0));
    expect(await world.errno(() => fs.setxattr(ROOT, f, key(255), bytesOf(1), 0))).toBe("ENOSPC");
    expect(await world.errno(() => fs.setxattr(ROOT, f, key(0), bytesOf(9), 0))).toBe("ok");
  });
});

describe("values", () => {
  test.each([0, 1, 2048, 2049, 65_536])("of %i bytes survive a mount", async (length) => {
    const { world, f } = await files();
    const value = bytesOf(length, 3);
    await world.run(world.fs.setxattr(OWNER, f, name("user.v"), value, 0));
    await world.remount();
    expectBytes(await world.run(world.fs.getxattr(OWNER, f, name("user.v"))), value);
    await world.run(world.fs.removexattr(OWNER, f, name("user.v")));
    expect(world.volume.statistics.dataBytes).toBe(0);
  });

  test("ChangingOneSetsCtimeOnly", async () => {
    const { world, fs, f } = await files();
    const before = await world.run(fs.getattr(f));
    world.clock.advance(2_000_000);
    await world.run(fs.setxattr(OWNER, f, name("user.a"), bytesOf(5), 0));
    const after = await world.run(fs.getattr(f));
    expect(after.changed.seconds).toBe(before.changed.seconds + 2);
    expect(after.modified).toEqual(before.modified);
  });

  test("ADamagedLongValueIsEIO", async () => {
    const { world, fs, f } = await files();
    await world.run(fs.setxattr(OWNER, f, name("user.v"), bytesOf(60_000), 0));
    const { volume } = world;
    const readBlock = volume.readBlock.bind(volume);
    volume.readBlock = (...where) => {
      const bytes = (readBlock(...where) as Uint8Array).slice();
      bytes[59_999] = (bytes[59_999] as number) ^ 1;
      return bytes;
    };
    await expect(async () => world.run(fs.getxattr(OWNER, f, name("user.v")))).rejects.toThrow(
      SmfsError,
    );
    expect(fs.statistics.checksumFailures).toBe(1);
  });
});
