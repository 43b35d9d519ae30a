import { describe, expect, test } from "vitest";
import type { ErrnoName } from "../../lib/errno.ts";
import { mayAccess, withoutSetId } from "../../logfs/core/fs/access.ts";
import { newInode } from "../../logfs/core/fs/items.ts";
import { S_IFBLK, S_IFDIR, S_IFREG } from "../../logfs/core/fs/modes.ts";
import type { AttributeChanges, Caller, MaybePromise } from "../../logfs/core/vfs.ts";
import { bytesOf, FsWorld, name, READ, READ_WRITE, ROOT, user, WRITE } from "../fs-world.ts";

const OWNER = user(1000, 100);
const FRIEND = user(1001, 50, 100, 101);
const OTHER = user(1002, 200);
const NOW = { seconds: 0, nanoseconds: 0 };
const PAST = { seconds: 1_000_000, nanoseconds: 5 };

/** /d (owned by OWNER) with /d/f, /d/sub and /d/sub/x, of the modes given. */
async function tree(modes: { d?: number; f?: number; sub?: number } = {}) {
  const world = new FsWorld();
  const { fs } = world;
  const d = (await world.run(fs.mkdir(ROOT, 1, name("d"), 0o777))).inode;
  await world.run(fs.setattr(ROOT, d, { uid: 1000, gid: 100, mode: modes.d ?? 0o755 }));
  const file = await world.run(fs.create(OWNER, d, name("f"), 0o644, true, READ_WRITE));
  const f = file.attributes.inode;
  const sub = (await world.run(fs.mkdir(OWNER, d, name("sub"), 0o755))).inode;
  const x = (await world.run(fs.mkdir(OWNER, sub, name("x"), 0o755))).inode;
  await world.run(fs.setattr(ROOT, f, { mode: modes.f ?? 0o644 }));
  await world.run(fs.setattr(ROOT, sub, { mode: modes.sub ?? 0o755 }));
  return { world, fs, d, f, sub, x };
}

type Tree = Awaited<ReturnType<typeof tree>>;
type Act = (t: Tree) => MaybePromise<unknown>;
type Case = [string, ErrnoName | "ok", Parameters<typeof tree>[0], Act];

function table(cases: Case[]): void {
  test.each(cases)("%s: %s", async (_, expected, modes, act) => {
    const made = await tree(modes);
    expect(await made.world.errno(() => act(made))).toBe(expected);
  });
}

const set =
  (caller: Caller, changes: AttributeChanges): Act =>
  ({ fs, f }) =>
    fs.setattr(caller, f, changes);

describe("permission bits", () => {
  const item = (mode: number) =>
    newInode({ mode: S_IFREG | mode, uid: 1000, gid: 100, links: 1 }, NOW);

  test.each([
    ["the owner by the owner's bits alone", OWNER, 0o077, 4, false],
    ["the owner", OWNER, 0o400, 4, true],
    ["a member by the group's bits alone", FRIEND, 0o707, 1, false],
    ["a member by a supplementary group", FRIEND, 0o040, 4, true],
    ["others", OTHER, 0o005, 5, true],
    ["others, one bit short", OTHER, 0o774, 6, false],
    ["root reads and writes anything", ROOT, 0o000, 6, true],
    ["root executes what nobody may", ROOT, 0o666, 1, false],
    ["root executes what somebody may", ROOT, 0o001, 1, true],
  ])("%s", (_, caller, mode, mask, expected) => {
    expect(mayAccess(item(mode), caller, mask)).toBe(expected);
  });

  test("GroupsAreAskedOnlyWhenTheAnswerDependsOnThem", () => {
    const caller = { uid: 1000, gid: 1, groups: () => expect.unreachable("groups were asked") };
    expect(mayAccess(item(0o600), caller, 6)).toBe(true);
  });

  test.each([
    [0o4755, "mayKeepGroup", 0o0755],
    [0o2755, "mayKeepGroup", 0o0755],
    [0o2745, "mayKeepGroup", 0o2745],
    [0o2745, "mayNot", 0o0745],
    [0o6711, "mayKeepGroup", 0o0711],
  ] as const)("set-id bits of %o, %s", (mode, keeps, expected) => {
    expect(withoutSetId(mode, keeps)).toBe(expected);
  });
});

describe("access, open and directories", () => {
  table([
    ["access asks the bits", "EACCES", { f: 0o600 }, ({ fs, f }) => fs.access(OTHER, f, 4)],
    ["existence needs none", "ok", { f: 0 }, ({ fs, f }) => fs.access(OTHER, f, 0)],
    [
      "lookup without search",
      "EACCES",
      { d: 0o766 },
      ({ fs, d }) => fs.lookup(OTHER, d, name("f")),
    ],
    ["lookup with search only", "ok", { d: 0o711 }, ({ fs, d }) => fs.lookup(OTHER, d, name("f"))],
    [
      "readdir without read",
      "EACCES",
      { d: 0o711 },
      ({ fs, d }) => fs.readdir(OTHER, d, 0, () => true),
    ],
    ["open for reading", "EACCES", { f: 0o622 }, ({ fs, f }) => fs.open(OTHER, f, READ)],
    ["open for writing", "EACCES", { f: 0o644 }, ({ fs, f }) => fs.open(OTHER, f, WRITE)],
    [
      "open read-only but truncating",
      "EACCES",
      { f: 0o644 },
      ({ fs, f }) => fs.open(OTHER, f, { ...READ, truncate: true }),
    ],
    [
      "open to run what may only be run",
      "ok",
      { f: 0o711 },
      ({ fs, f }) => fs.open(OTHER, f, { ...READ, execute: true }),
    ],
    [
      "open to run what may only be read",
      "EACCES",
      { f: 0o744 },
      ({ fs, f }) => fs.open(OTHER, f, { ...READ, execute: true }),
    ],
    ["open a directory", "ok", {}, ({ fs, d }) => fs.open(OTHER, d, READ)],
    ["creating without write", "EACCES", {}, ({ fs, d }) => fs.mkdir(OTHER, d, name("n"), 0o755)],
    [
      "an existing name comes before write permission",
      "EEXIST",
      {},
      ({ fs, d }) => fs.mkdir(OTHER, d, name("f"), 0o755),
    ],
    [
      "creating without search",
      "EACCES",
      { d: 0o776 },
      ({ fs, d }) => fs.mkdir(OTHER, d, name("n"), 0o755),
    ],
    [
      "a device by a user",
      "EPERM",
      { d: 0o777 },
      ({ fs, d }) => fs.mknod(OTHER, d, name("n"), S_IFBLK | 0o600, 1),
    ],
    [
      "a file of mode 0 is open for who made it",
      "ok",
      { d: 0o777 },
      ({ fs, d }) => fs.create(OTHER, d, name("n"), 0, true, READ_WRITE),
    ],
    ["unlink without write", "EACCES", {}, ({ fs, d }) => fs.unlink(OTHER, d, name("f"))],
    ["link without write", "EACCES", {}, ({ fs, d, f }) => fs.link(OTHER, f, d, name("n"))],
    [
      "rename from a closed directory",
      "EACCES",
      {},
      ({ fs, d }) => fs.rename(OTHER, d, name("f"), d, name("n"), 0),
    ],
    [
      "rename to a closed directory",
      "EACCES",
      { d: 0o777 },
      ({ fs, d, sub }) => fs.rename(OTHER, d, name("f"), sub, name("n"), 0),
    ],
    [
      "a closed directory changes its parent",
      "EACCES",
      { d: 0o777, sub: 0o777 },
      ({ fs, d, sub }) => fs.rename(OTHER, sub, name("x"), d, name("n"), 0),
    ],
    [
      "a closed directory keeps its parent",
      "ok",
      { sub: 0o777 },
      ({ fs, sub }) => fs.rename(OTHER, sub, name("x"), sub, name("n"), 0),
    ],
  ]);
});

describe("the sticky bit", () => {
  const sticky = { d: 0o1777 };
  table([
    ["unlink by another", "EPERM", sticky, ({ fs, d }) => fs.unlink(OTHER, d, name("f"))],
    ["rmdir by another", "EPERM", sticky, ({ fs, d }) => fs.rmdir(OTHER, d, name("sub"))],
    [
      "rename by another",
      "EPERM",
      sticky,
      ({ fs, d }) => fs.rename(OTHER, d, name("f"), d, name("n"), 0),
    ],
    ["by the owner", "ok", sticky, ({ fs, d }) => fs.unlink(OWNER, d, name("f"))],
    ["by root", "ok", sticky, ({ fs, d }) => fs.unlink(ROOT, d, name("f"))],
    ["making is free", "ok", sticky, ({ fs, d }) => fs.mkdir(OTHER, d, name("n"), 0o755)],
  ]);

  test("TheDirectorysOwnerMayRemoveAndReplaceOthersFiles", async () => {
    const { world, fs, d } = await tree(sticky);
    await world.run(fs.mkdir(OTHER, d, name("theirs"), 0o755));
    await world.run(fs.mkdir(FRIEND, d, name("friends"), 0o777));
    const replace = (caller: Caller) => () =>
      fs.rename(caller, d, name("friends"), d, name("theirs"), 0);
    expect(await world.errno(replace(FRIEND))).toBe("EPERM");
    expect(await world.errno(replace(OWNER))).toBe("ok");
    expect(await world.errno(() => fs.rmdir(OWNER, d, name("theirs")))).toBe("ok");
  });
});

describe("set-id bits", () => {
  test("ASetGidDirectoryGivesItsGroupAndDirectoriesTheBit", async () => {
    const { world, fs, d } = await tree({ d: 0o2777 });
    const dir = await world.run(fs.mkdir(OTHER, d, name("n"), 0o755));
    expect(dir).toMatchObject({ uid: 1002, gid: 100, mode: S_IFDIR | 0o2755 });
    const { attributes } = await world.run(
      fs.create(OTHER, d, name("g"), 0o2755, true, READ_WRITE),
    );
    expect(attributes).toMatchObject({ gid: 100, mode: S_IFREG | 0o755 });
    const member = await world.run(fs.create(FRIEND, d, name("h"), 0o2755, true, READ_WRITE));
    expect(member.attributes.mode).toBe(S_IFREG | 0o2755);
  });

  test("MkdirTakesNoSetIdBitsFromItsMode", async () => {
    const { world, fs } = await tree();
    const made = await world.run(fs.mkdir(ROOT, 1, name("n"), 0o7777));
    expect(made.mode).toBe(S_IFDIR | 0o1777);
  });

  const cases: [string, number, number, Act][] = [
    ["a write by a user", 0o6777, 0o777, ({ fs, f }) => writeAs(fs, OWNER, f)],
    ["a write by root", 0o6777, 0o6777, ({ fs, f }) => writeAs(fs, ROOT, f)],
    ["truncation by a user", 0o6777, 0o777, set(OWNER, { size: 1 })],
    ["chown by a user to their own group", 0o6755, 0o755, set(OWNER, { gid: 100 })],
    ["chown by root", 0o6755, 0o755, set(ROOT, { uid: 1 })],
    ["set-gid without group execution stays", 0o2745, 0o2745, set(OWNER, { size: 1 })],
  ];
  test.each(cases)("%s", async (_, before, after, act) => {
    const made = await tree({ f: before });
    await made.world.run(act(made));
    expect((await made.world.run(made.fs.getattr(made.f))).mode).toBe(S_IFREG | after);
  });

  async function writeAs(fs: FsWorld["fs"], caller: Caller, f: number) {
    const handle = await fs.open(caller, f, WRITE);
    return fs.write(handle, 0, bytesOf(1), "none");
  }
});

describe("chmod, chown and utimens", () => {
  table([
    ["chmod by the owner", "ok", {}, set(OWNER, { mode: 0o600 })],
    ["chmod by another", "EPERM", { f: 0o666 }, set(OTHER, { mode: 0o600 })],
    ["chown by root", "ok", {}, set(ROOT, { uid: 5, gid: 5 })],
    ["giving a file away", "EPERM", {}, set(OWNER, { uid: 5 })],
    ["to oneself", "ok", {}, set(OWNER, { uid: 1000 })],
    ["to a group one is not in", "EPERM", {}, set(OWNER, { gid: 5 })],
    ["another's file to one's group", "EPERM", {}, set(FRIEND, { gid: 101 })],
    [
      "both to now by who may write",
      "ok",
      { f: 0o666 },
      set(OTHER, { accessed: "now", modified: "now" }),
    ],
    ["both to now by who may not", "EACCES", {}, set(OTHER, { accessed: "now", modified: "now" })],
    [
      "both to now by the owner of a read-only file",
      "ok",
      { f: 0o444 },
      set(OWNER, { accessed: "now", modified: "now" }),
    ],
    ["a time of one's own by who may write", "EPERM", { f: 0o666 }, set(OTHER, { modified: PAST })],
    ["only one to now by who may write", "EPERM", { f: 0o666 }, set(OTHER, { modified: "now" })],
    ["a time by the owner", "ok", {}, set(OWNER, { modified: PAST })],
  ]);

  test("AMemberMayMoveTheirFileToAGroupOfTheirs", async () => {
    const { world, fs, f } = await tree();
    await world.run(fs.setattr(ROOT, f, { uid: 1001 }));
    expect((await world.run(fs.setattr(FRIEND, f, { gid: 101 }))).gid).toBe(101);
  });

  test("SetGidIsDroppedForWhoIsNotInTheGroup", async () => {
    const { world, fs, f } = await tree();
    await world.run(fs.setattr(ROOT, f, { gid: 7 }));
    const changed = await world.run(fs.setattr(OWNER, f, { mode: 0o2755 }));
    expect(changed.mode).toBe(S_IFREG | 0o755);
  });

  test("TimesKeepNanosecondsAndYearsBefore1970AndCtimeIsNow", async () => {
    const { world, fs, f } = await tree();
    world.clock.advance(1_234_567);
    const accessed = { seconds: -5_000_000_000, nanoseconds: 999_999_999 };
    const changed = await world.run(fs.setattr(OWNER, f, { accessed, modified: PAST }));
    const micros = world.clock.wallMicros();
    const now = { seconds: Math.floor(micros / 1e6), nanoseconds: (micros % 1e6) * 1000 };
    expect(changed).toMatchObject({ accessed, modified: PAST, changed: now });
    await world.remount();
    expect(await world.run(world.fs.getattr(f))).toEqual(changed);
  });

  test("NothingChangesWhenOnePartIsRefused", async () => {
    const { world, fs, f } = await tree();
    const before = await world.run(fs.getattr(f));
    expect(await world.errno(() => fs.setattr(OWNER, f, { mode: 0o600, uid: 5 }))).toBe("EPERM");
    expect(await world.run(fs.getattr(f))).toEqual(before);
  });
});
