/** Files made without a name (O_TMPFILE): what becomes of them. */
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import { bytesOf, expectBytes, FsWorld, name, READ, READ_WRITE, ROOT, user } from "../fs-world.ts";

async function unnamed(naming: "possible" | "never" = "possible") {
  const world = new FsWorld();
  const { fs } = world;
  const made = await world.run(fs.createUnnamed(ROOT, 1, 0o640, naming, READ_WRITE));
  const { inode } = made.attributes;
  await world.run(fs.write(made.handle, 0, bytesOf(5000), "none"));
  const link = () => fs.link(ROOT, inode, 1, name("f"));
  return { world, fs, inode, handle: made.handle, made, link };
}

describe("a file made without a name", () => {
  test("IsWrittenAndReadAndGoesWithItsLastHandle", async () => {
    const { world, fs, inode, handle, made } = await unnamed();
    expect(made.attributes).toMatchObject({ links: 0, mode: 0o100640, uid: 0 });
    const second = await world.run(fs.open(ROOT, inode, READ));
    await world.run(fs.release(handle));
    expectBytes(concatBytes(await world.run(fs.read(second, 0, 9000))), bytesOf(5000));
    expect(await world.findings()).toEqual([]);
    await world.run(fs.release(second));
    expect(await world.errno(() => fs.getattr(inode))).toBe("ESTALE");
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
    expect(fs.statistics).toMatchObject({ orphans: 0, openHandles: 0 });
  });

  test("StaysWhenItGetsAName", async () => {
    const { world, fs, inode, handle, link } = await unnamed();
    expect((await world.run(link())).links).toBe(1);
    expect(fs.statistics.orphans).toBe(0);
    await world.run(fs.release(handle));
    await world.remount();
    expect((await world.run(world.fs.lookup(ROOT, 1, name("f")))).inode).toBe(inode);
    expect(await world.findings()).toEqual([]);
  });

  test("GetsNoNameOnceItHasLostIts", async () => {
    const { world, fs, handle, link } = await unnamed();
    await world.run(link());
    await world.run(fs.unlink(ROOT, 1, name("f")));
    expect(await world.errno(link)).toBe("ENOENT");
    await world.run(fs.release(handle));
    expect(world.volume.statistics.inodes).toBe(1);
  });

  test("GetsNoNameWhenItsMakerSaidSo", async () => {
    const { world, link } = await unnamed("never");
    expect(await world.errno(link)).toBe("ENOENT");
  });

  test("IsCollectedAfterACrash", async () => {
    const { world, inode } = await unnamed();
    await world.remount();
    expect(await world.errno(() => world.fs.getattr(inode))).toBe("ESTALE");
    expect(world.volume.statistics).toMatchObject({ inodes: 1, dataBytes: 0 });
  });

  test("NeedsADirectoryThatItsMakerMayWriteTo", async () => {
    const { world, fs, inode } = await unnamed();
    const make = (caller: typeof ROOT, parent: number) => () =>
      fs.createUnnamed(caller, parent, 0o600, "possible", READ_WRITE);
    expect(await world.errno(make(user(1000), 1))).toBe("EACCES");
    expect(await world.errno(make(ROOT, inode))).toBe("ENOTDIR");
  });
});
