/** Forks as users make them: by the command, beside running sites, on real mounts. */
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Scene, whyNoMounts } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();
const run = promisify(execFile);

/** Names, owners, modes, times and contents. */
async function digest(path: string): Promise<string> {
  const script = `cd "$0" && find . -mindepth 1 -printf '%P %y %m %U %G %n %T@ %l\\n' | sort &&
    find . -type f -exec sha256sum {} + | sort`;
  const { stdout } = await run("bash", ["-c", script, path]);
  return stdout;
}

async function makeTree(path: string): Promise<void> {
  const script = `cd "$0" && mkdir -p a/b && echo one > a/one && ln a/one a/b/hard &&
    ln -s ../one a/b/symbolic && touch -d '2001-02-03 04:05:06.789' a/one &&
    for i in 1 2 3 4; do head -c 1500000 /dev/urandom > a/b/data$i; done && chmod 2750 a`;
  await run("bash", ["-c", script, path]);
}

/** Some of everything is another. */
async function changeTree(path: string, what: string): Promise<void> {
  const script = `cd "$0" && echo ${what} > a/one && mv a/b/data1 ${what} && rm a/b/data2 &&
    head -c 1500000 /dev/urandom | dd of=a/b/data3 conv=notrunc status=none && chmod 700 a`;
  await run("bash", ["-c", script, path]);
}

describe.skipIf(NO_MOUNTS)(`forks${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.close());

  async function expectClean(store: string): Promise<void> {
    const { code, output } = await scene.smfs("fsck", "--deep", store);
    expect([code, output]).toEqual([0, expect.any(String)]);
  }

  it("one from a mounted store is a store of its own, whatever becomes of either", async () => {
    const parent = await scene.mount(await scene.mkfs("parent"));
    await makeTree(parent.point);
    const before = await digest(parent.point);
    await scene.succeed("snapshot", "create", parent.store, "monday");
    await changeTree(parent.point, "sooner");
    const said = await scene.succeed("fork", `${parent.point}@monday`, scene.path("child"));
    expect(said).toMatch(/child: a file system as .*parent@monday; .*segments/);
    const child = await scene.mount(scene.path("child"));
    expect(await digest(child.point)).toBe(before);
    await changeTree(child.point, "there");
    await writeFile(parent.at("here"), "here");
    const [parents, childs] = [await digest(parent.point), await digest(child.point)];
    expect(parents).not.toBe(childs);
    await scene.succeed("umount", parent.point);
    await scene.succeed("umount", child.point);
    await expectClean(parent.store);
    await expectClean(child.store);
    await scene.succeed("snapshot", "rm", parent.store, "monday");
    const again = await scene.mount(parent.store);
    expect(await digest(again.point)).toBe(parents);
    await rm(again.at("a"), { recursive: true });
    await scene.succeed("umount", again.point);
    await expectClean(parent.store);
    await rm(parent.store, { recursive: true });
    await expectClean(child.store);
    const alone = await scene.mount(child.store);
    expect(await digest(alone.point)).toBe(childs);
  });

  it("one from a store that is not mounted; and every mistake is told", async () => {
    const store = await scene.mkfs("parent");
    const parent = await scene.mount(store);
    await makeTree(parent.point);
    const before = await digest(parent.point);
    await scene.succeed("snapshot", "create", store, "monday");
    await scene.succeed("umount", parent.point);
    await scene.succeed("fork", store, "monday", scene.path("child"));
    const child = await scene.mount(scene.path("child"));
    expect(await digest(child.point)).toBe(before);
    const mistakes = [
      [store, "tuesday", scene.path("other")],
      [store, "monday", store],
      [store, scene.path("other")],
    ];
    const told = await Promise.all(mistakes.map((words) => scene.smfs("fork", ...words)));
    expect(told.map(({ code, errors }) => `${code}: ${errors}`)).toEqual([
      expect.stringMatching(/^69: .*no snapshot tuesday/),
      expect.stringMatching(/^69: .*already holds a store/),
      expect.stringMatching(/^64: .*name a snapshot/),
    ]);
  });
});
