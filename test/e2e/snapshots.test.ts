/** Snapshots as users meet them: on real mounts, of a primary and of its mirror. */
import { execFile } from "node:child_process";
import { open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Scene, type TestSite, whyNoMounts, writeSynced } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();
const run = promisify(execFile);

/** Everything that `cp -a` keeps, a line for each file. */
async function digest(path: string): Promise<string> {
  const script = `cd "$0" && find . -type d -printf '%P %y %m %U %G %T@\\n' | sort &&
    find . ! -type d -printf '%P %y %m %U %G %s %n %T@ %l\\n' | sort &&
    find . -type f -exec sha256sum {} + | sort`;
  const { stdout } = await run("bash", ["-c", script, path]);
  return stdout;
}

/** Files, directories, links of both kinds, modes, times, holes. */
async function makeTree(path: string): Promise<void> {
  const script = `cd "$0" && mkdir -p a/b/c empty && echo one > a/one && echo two > a/b/two &&
    head -c 300000 /dev/urandom > a/b/c/data && truncate -s 1M a/hole && printf end >> a/hole &&
    ln -s ../a/one a/b/symlink && ln a/one a/b/hard && chmod 640 a/one && chmod 2755 a/b &&
    touch -d '2001-02-03 04:05:06.789' a/b/two && mkfifo a/pipe`;
  await run("bash", ["-c", script, path]);
}

/** Nothing of it stays as it was. */
async function changeTree(path: string): Promise<void> {
  const script = `cd "$0" && echo other > a/one && rm a/b/two && mv a/b/c moved && chmod 600 a/hole &&
    head -c 300000 /dev/urandom | dd of=moved/data conv=notrunc status=none && rmdir empty &&
    ln -sfn elsewhere a/b/symlink && echo new > new`;
  await run("bash", ["-c", script, path]);
}

describe.skipIf(NO_MOUNTS)(`snapshots${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.close());

  async function alone(): Promise<TestSite> {
    return scene.mount(await scene.mkfs("store"));
  }

  it("a copy of a snapshot is what the tree was", async () => {
    const site = await alone();
    await makeTree(site.point);
    const before = await digest(site.point);
    await scene.succeed("snapshot", "create", `${site.store}@monday`);
    await changeTree(site.point);
    expect(await digest(site.at(".smfs", "snapshots", "monday"))).toBe(before);
    const copy = scene.path("copy");
    await run("cp", ["-a", site.at(".smfs", "snapshots", "monday"), copy]);
    expect(await digest(copy)).toBe(before);
    expect(await readdir(site.point)).not.toContain(".smfs");
    await expect(
      writeFile(site.at(".smfs", "snapshots", "monday", "x"), "x"),
    ).rejects.toMatchObject({
      code: "EROFS",
    });
  });

  it("names come and go at once for whoever has looked before", async () => {
    const site = await alone();
    const at = (name: string) => site.at(".smfs", "snapshots", name);
    await expect(stat(at("one"))).rejects.toMatchObject({ code: "ENOENT" });
    expect(await readdir(at(""))).toEqual([]);
    await scene.succeed("snapshot", "create", site.point, "one");
    expect((await stat(at("one"))).isDirectory()).toBe(true);
    expect(await readdir(at(""))).toEqual(["one"]);
    await scene.succeed("snapshot", "rm", site.point, "one");
    await expect(stat(at("one"))).rejects.toMatchObject({ code: "ENOENT" });
    expect(await readdir(at(""))).toEqual([]);
  });

  it("one that is read is kept, unless it is forced away: then readers get ESTALE", async () => {
    const site = await alone();
    await writeFile(site.at("file"), "content");
    await scene.succeed("snapshot", "create", site.store, "one");
    const file = await open(site.at(".smfs", "snapshots", "one", "file"));
    try {
      const refused = await scene.smfs("snapshot", "rm", site.store, "one");
      expect([refused.code, refused.errors]).toEqual([
        69,
        expect.stringContaining("open files of one: 1"),
      ]);
      await scene.succeed("snapshot", "rm", site.store, "one", "--force");
      await expect(file.read(Buffer.alloc(7), 0, 7, 0)).rejects.toMatchObject({ errno: -116 });
    } finally {
      await file.close();
    }
  });

  it("a rollback brings everything back, keeps the snapshots, and refuses while files are open", async () => {
    const site = await alone();
    await makeTree(site.point);
    const before = await digest(site.point);
    await scene.succeed("snapshot", "create", site.store, "one");
    await changeTree(site.point);
    const after = await digest(site.point);
    await scene.succeed("snapshot", "create", site.store, "two");
    const file = await open(site.at("new"));
    const refused = await scene.smfs("snapshot", "rollback", site.store, "one");
    expect([refused.code, refused.errors]).toEqual([69, expect.stringContaining("open files: 1")]);
    await file.close();
    await scene.succeed("snapshot", "rollback", `${site.store}@one`);
    expect(await digest(site.point)).toBe(before);
    expect(await digest(site.at(".smfs", "snapshots", "two"))).toBe(after);
    await writeFile(site.at("later"), "later");
    await scene.succeed("snapshot", "rollback", "--force", site.store, "two");
    expect(await digest(site.point)).toBe(after);
    await scene.succeed("umount", site.point);
    expect((await scene.smfs("fsck", "--deep", site.store)).code).toBe(0);
  });

  it("works on a store that is not mounted, and says what changed", async () => {
    const site = await alone();
    await makeTree(site.point);
    await writeFile(site.at("big"), Buffer.alloc(5_000_000, 1));
    await scene.succeed("snapshot", "create", site.store, "one");
    await changeTree(site.point);
    await rm(site.at("big"));
    await scene.succeed("umount", site.point);
    await scene.succeed("snapshot", "create", site.store, "two");
    const lines = await scene.succeed("snapshot", "diff", site.store, "one", "two");
    expect(lines.split("\n")).toEqual([
      "M\t/",
      "M\t/a/b",
      "R\t/a/b/c -> /moved",
      "M\t/a/b/hard",
      "-\t/a/b/symlink",
      "+\t/a/b/symlink",
      "-\t/a/b/two",
      "M\t/a/hole",
      "-\t/big",
      "-\t/empty",
      "M\t/moved/data",
      "+\t/new",
    ]);
    const list = JSON.parse(await scene.succeed("snapshot", "list", "--json", site.store));
    expect(list.snapshots.map(({ name }: { name: string }) => name)).toEqual(["one", "two"]);
    expect(list.snapshots[0].uniqueBytes).toBeGreaterThan(3_000_000);
  });

  it("a past state is mounted by its snapshot, its record or its time", async () => {
    const site = await alone();
    const { store } = site;
    await writeSynced(site.at("file"), "older");
    await scene.succeed("snapshot", "create", store, "one");
    const { store: then } = await site.when("an answer", () => true);
    await writeSynced(site.at("file"), "newer");
    const past = scene.folder("past");
    const look = async (...flags: string[]): Promise<string> => {
      const mounted = await scene.smfs("mount", "--read-only", "-b", ...flags, store, past);
      if (mounted.code !== 0) return mounted.errors;
      const text = await readFile(`${past}/file`, "utf8");
      await expect(writeFile(`${past}/file`, "x")).rejects.toMatchObject({ code: "EROFS" });
      await scene.succeed("umount", past);
      return text;
    };
    expect(await look("--at", "one")).toBe("older");
    expect(await look("--at", `${then.headSequence}`)).toContain("only snapshots");
    await site.umount(scene);
    expect(await look("--at", `${then.headSequence}`)).toBe("older");
    expect(await look("--at", new Date().toISOString())).toBe("newer");
    const { commits } = JSON.parse(await scene.succeed("log", "--json", store));
    const kinds = commits.map(({ kind, name }: { kind: string; name: string }) => name ?? kind);
    expect(kinds).toEqual(expect.arrayContaining(["checkpoint", "one"]));
  });

  it("a quota bounds what may be written, is shown by df, and outlives the site", async () => {
    const site = await alone();
    await scene.succeed("quota", site.store, "--bytes", "1MiB", "--inodes", "3");
    await writeFile(site.at("file"), Buffer.alloc(700_000));
    const full = { errno: -122 };
    await expect(writeFile(site.at("more"), Buffer.alloc(700_000))).rejects.toMatchObject(full);
    await expect(writeFile(site.at("third"), "")).rejects.toMatchObject(full);
    const { stdout } = await run("df", ["--output=size,itotal", "-B1", site.point]);
    expect(stdout.trim().split(/\s+/).slice(-2)).toEqual(["1048576", "3"]);
    await site.umount(scene);
    expect(await scene.succeed("quota", site.store, "--bytes", "none")).toContain("no limit");
    const again = await scene.mount(site.store);
    await writeFile(again.at("more"), Buffer.alloc(700_000));
    await expect(writeFile(again.at("third"), "")).rejects.toMatchObject(full);
  });

  it("the mirror shows them, and takes none of its own", async () => {
    const [path, mirrorStore, primaryStore] = await Promise.all([
      scene.wan({ loss: "0.5%" }),
      scene.mkfs("mirror", "--mirror"),
      scene.mkfs("primary"),
    ]);
    const key = ["--key-file", scene.key()];
    const mirror = scene.launch(mirrorStore, "--listen", `127.0.0.1:${path.far}`, ...key);
    const link = ["--peer", `127.0.0.1:${path.near}`, ...key, "--fsync", "remote"];
    const primary = await scene.mount(primaryStore, ...link);
    await primary.when("the mirror", ({ mirror: peer }) => peer?.state === "streaming");
    await mirror.when("its mount", ({ mount }) => mount !== null);
    await makeTree(primary.point);
    const before = await digest(primary.point);
    await scene.succeed("snapshot", "create", primary.store, "one");
    await changeTree(primary.point);
    await writeSynced(primary.at("last"), "last");
    expect(await digest(mirror.at(".smfs", "snapshots", "one"))).toBe(before);
    expect(await digest(mirror.point)).toBe(await digest(primary.point));
    expect((await scene.smfs("snapshot", "create", mirror.store, "mine")).code).toBe(64);
    expect(await scene.succeed("snapshot", "list", mirror.store)).toContain("one");

    await rm(primary.at("last"));
    await scene.succeed("snapshot", "rollback", primary.store, "one");
    // The mirror mounts anew, which takes a moment.
    const shown = () => digest(mirror.point).catch(String);
    await expect.poll(shown, { timeout: 15_000 }).toBe(before);
    expect(await readFile(mirror.at("a", "one"), "utf8")).toBe("one\n");
  });
});
