/** Two sites over the emulated WAN: what the mirror shows, and what breaks of all kinds do to it. */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { copyFile, cp, link, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Scene, type TestPath, type TestSite, whyNoMounts, writeSynced } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();

/** Flips a bit in the first place of the log that holds the text; gives the segment's file and the offset. */
function flipIn(store: string, text: string): [path: string, offset: number] {
  const log = readdirSync(store).find((entry) => entry.startsWith("log-")) ?? "";
  for (const entry of readdirSync(join(store, log)).filter((one) => one.endsWith(".seg"))) {
    const path = join(store, log, entry);
    const bytes = readFileSync(path);
    const at = bytes.indexOf(text);
    if (at < 0) continue;
    const fd = openSync(path, "r+");
    writeSync(fd, Uint8Array.of((bytes[at + 5] ?? 0) ^ 1), 0, 1, at + 5);
    closeSync(fd);
    return [path, at + 5];
  }
  return ["", -1];
}

describe.skipIf(NO_MOUNTS)(`two sites${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let scene: Scene;
  let path: TestPath;
  let mirrorStore: string;
  let primaryStore: string;

  beforeEach(async () => {
    scene = new Scene();
    [path, mirrorStore, primaryStore] = await Promise.all([
      scene.wan({ loss: "0.5%" }),
      scene.mkfs("mirror", "--mirror"),
      scene.mkfs("primary"),
    ]);
  });
  afterEach(() => scene.close());

  const startMirror = (): TestSite =>
    scene.launch(mirrorStore, "--listen", `127.0.0.1:${path.far}`, "--key-file", scene.key());

  async function startPrimary(...args: readonly string[]): Promise<TestSite> {
    const peer = ["--peer", `127.0.0.1:${path.near}`, "--key-file", scene.key()];
    return scene.mount(primaryStore, ...peer, "--fsync", "remote", ...args);
  }

  async function startBoth(): Promise<{ primary: TestSite; mirror: TestSite }> {
    const mirror = startMirror();
    const primary = await startPrimary();
    await streaming(primary);
    await mirror.when("its mount", ({ mount }) => mount !== null);
    return { primary, mirror };
  }

  it("the mirror shows a file as soon as its fsync in mode remote has returned", async () => {
    const { primary, mirror } = await startBoth();
    for (let number = 0; number < 10; number++) {
      await writeSynced(primary.at(`file-${number}`), `content ${number}`);
      expect(await readFile(mirror.at(`file-${number}`), "utf8")).toBe(`content ${number}`);
    }
    await rm(primary.at("file-3"));
    await mkdir(primary.at("folder"));
    await writeSynced(primary.at("folder", "last"), "x");
    await expect(readFile(mirror.at("file-3"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("inode numbers, times and copies that share their blocks are the mirror's too", async () => {
    const { primary, mirror } = await startBoth();
    const content = "a block of it".repeat(20_000);
    await writeSynced(primary.at("original"), content);
    await copyFile(primary.at("original"), primary.at("copy"));
    await link(primary.at("original"), primary.at("name"));
    await writeSynced(primary.at("last"), "x");
    for (const name of ["original", "copy", "name", "last"]) {
      const [here, there] = await Promise.all(
        [primary, mirror].map((site) => stat(site.at(name), { bigint: true })),
      );
      const facts = [
        "ino",
        "nlink",
        "size",
        "blocks",
        "mtimeNs",
        "ctimeNs",
        "birthtimeNs",
      ] as const;
      for (const fact of facts) expect(there?.[fact]).toBe(here?.[fact]);
    }
    expect(await readFile(mirror.at("copy"), "utf8")).toBe(content);
  });

  it("a scrub finds damage under a running site, and the mirror's copy takes its place", async () => {
    const { primary } = await startBoth();
    const content = "kept at two sites ".repeat(20_000);
    for (let number = 0; number < 12; number++) {
      await writeSynced(primary.at(`file-${number}`), `${number} ${content}`);
    }
    const [segment, damaged] = flipIn(primaryStore, "3 kept at two sites");
    const before = readFileSync(segment);
    expect(damaged).toBeGreaterThan(0);
    const scrub = await scene.smfs("scrub", primaryStore, "--rate", "1GiB", "--json");
    expect(JSON.parse(scrub.output)).toMatchObject({
      scrub: { state: "finished", damaged: 1, repaired: 1, findings: [{ outcome: "repaired" }] },
    });
    expect(scrub.code).toBe(0);
    expect(readFileSync(segment).equals(before)).toBe(false);
    expect(await readFile(primary.at("file-3"), "utf8")).toBe(`3 ${content}`);
    expect((await primary.status())?.scrub).toMatchObject({ repairedTotal: 1 });
    const again = await scene.succeed("scrub", primaryStore, "--rate", "1GiB");
    expect(again).toMatch(/scrub finished, 100.0% .*\n\d+ records read, 0 damaged/);
  });

  it("the mirror's mount refuses every change with EROFS", async () => {
    const { primary, mirror } = await startBoth();
    await writeSynced(primary.at("file"), "content");
    await expect(writeFile(mirror.at("new"), "x")).rejects.toMatchObject({ code: "EROFS" });
    await expect(writeFile(mirror.at("file"), "x")).rejects.toMatchObject({ code: "EROFS" });
    await expect(rm(mirror.at("file"))).rejects.toMatchObject({ code: "EROFS" });
    await expect(mkdir(mirror.at("folder"))).rejects.toMatchObject({ code: "EROFS" });
    expect(await readFile(mirror.at("file"), "utf8")).toBe("content");
  });

  it("the mirror drops what the primary dropped, although nothing more is written", async () => {
    const { primary, mirror } = await startBoth();
    for (let i = 0; i < 8; i++) await writeSynced(primary.at("busy"), `${i}`.repeat(1_500_000));
    await scene.succeed("snapshot", "create", primary.store, "a-checkpoint");
    await primary.when("its drops", ({ store }) => store.segmentsDropped > 3);
    const { store } = await primary.when("quiet", (now) => now.store.segments <= 3);
    await mirror.when("its drops", (now) => now.store.segments === store.segments);
    expect(await readFile(mirror.at("busy"), "utf8")).toBe("7".repeat(1_500_000));
  });

  it("a store that has dropped segments gets a new mirror from a copy", async () => {
    const alone = await scene.mount(primaryStore);
    await writeFile(alone.at("kept"), "kept");
    for (let i = 0; i < 8; i++) await writeSynced(alone.at("busy"), `${i}`.repeat(1_500_000));
    await scene.succeed("snapshot", "create", primaryStore, "a-checkpoint");
    await alone.when("a drop", ({ store }) => store.segmentsDropped > 0);
    await alone.umount(scene);
    const mirror = startMirror();
    const primary = await startPrimary();
    await primary.when("its refusal", ({ mirror: session }) => session?.state === "refused");
    expect((await primary.status())?.mirror?.reason).toMatch(/the mirror is empty.*adopt/);
    await mirror.crash();
    await rm(mirrorStore, { recursive: true });
    await cp(primaryStore, mirrorStore, {
      recursive: true,
      filter: (name) => !/\.sock$/.test(name),
    });
    expect(await scene.succeed("mirror", "adopt", mirrorStore)).toContain("a mirror");
    const adopted = startMirror();
    await streaming(primary);
    await adopted.when("its mount", ({ mount }) => mount !== null);
    await writeSynced(primary.at("new"), "new");
    expect(await readFile(adopted.at("new"), "utf8")).toBe("new");
    expect(await readFile(adopted.at("kept"), "utf8")).toBe("kept");
    expect(await readFile(adopted.at("busy"), "utf8")).toBe("7".repeat(1_500_000));
  });

  it("a mirror that died by kill -9 goes on where it was, without a full resend", async () => {
    const { primary, mirror } = await startBoth();
    for (let number = 0; number < 200; number++) await writeFile(primary.at(`${number}`), "x");
    await writeSynced(primary.at("before"), "before");
    const atDeath = await status(primary);
    await mirror.crash();
    await writeFile(primary.at("meanwhile"), "meanwhile");

    const again = startMirror();
    await writeSynced(primary.at("after"), "after");
    await again.when("its mount", ({ mount }) => mount !== null);
    expect(await readFile(again.at("meanwhile"), "utf8")).toBe("meanwhile");
    expect(await readFile(again.at("0"), "utf8")).toBe("x");
    const { recordsStreamed = 0 } = (await status(again)).mirror ?? {};
    expect(recordsStreamed).toBeGreaterThan(0);
    expect(recordsStreamed).toBeLessThan(50);
    expect(atDeath.store.headSequence).toBeGreaterThan(200);
  });

  it("a cut path stops nothing that is local, and what was written meanwhile follows", async () => {
    const { primary, mirror } = await startBoth();
    await path.wan.cut();
    await writeFile(primary.at("meanwhile"), "meanwhile");
    const down = (each: { mirror: { state: string } | null }): boolean =>
      each.mirror?.state === "disconnected";
    const { mirror: seen } = await primary.when("the loss to be noticed", down, 20_000);
    expect(seen?.reason).toMatch(/\w+ \w+/);
    expect(seen?.notAtMirrorBytes).toBeGreaterThan(0);
    expect(await readFile(primary.at("meanwhile"), "utf8")).toBe("meanwhile");
    await path.wan.restore();
    await writeSynced(primary.at("after"), "after");
    expect(await readFile(mirror.at("meanwhile"), "utf8")).toBe("meanwhile");
    expect(await readFile(mirror.at("after"), "utf8")).toBe("after");
  });

  it("a primary that died by kill -9 while connected is followed again", async () => {
    const { primary, mirror } = await startBoth();
    await writeSynced(primary.at("synced"), "synced");
    await writeFile(primary.at("written"), "written");
    await primary.crash();
    const again = await startPrimary();
    expect(await readFile(again.at("written"), "utf8")).toBe("written");
    await writeSynced(again.at("after"), "after");
    for (const name of ["synced", "written", "after"]) {
      expect(await readFile(mirror.at(name), "utf8")).toBe(name);
    }
  });

  it("a mirror that cannot be promoted yet says why, and goes on as a mirror", async () => {
    const mirror = startMirror();
    await mirror.when("to run", ({ state }) => state === "running");
    const early = await scene.smfs("mirror", "promote", mirrorStore);
    expect(early.code).toBe(64);
    expect(early.errors).toContain("has not received");
    expect((await status(mirror)).state).toBe("running");
    const primary = await startPrimary();
    await writeSynced(primary.at("file"), "content");
    await mirror.when("its mount", ({ mount }) => mount !== null);
    expect(await readFile(mirror.at("file"), "utf8")).toBe("content");
  });

  it("the old primary is fenced when it meets the mirror that was promoted", async () => {
    const { primary, mirror } = await startBoth();
    await writeSynced(primary.at("old"), "old");
    const early = await scene.smfs("mirror", "promote", mirrorStore);
    expect(early.code).toBe(69);
    expect(early.errors).toContain("still connected");

    await primary.crash();
    expect(await scene.succeed("mirror", "promote", "--force", mirrorStore)).toContain("primary");
    await mirror.when("to be writable", ({ mount }) => mount?.readOnly === false);
    await writeFile(mirror.at("new"), "new");
    expect(await readFile(mirror.at("old"), "utf8")).toBe("old");

    const old = await startPrimary("--on-unreachable", "eio");
    const fenced = await old.when("to be fenced", ({ state }) => state === "fenced");
    expect(fenced.mirror?.reason).toContain("superseded by a promotion");
    await expect(writeFile(old.at("late"), "x")).rejects.toMatchObject({ code: "EROFS" });
    expect(await readFile(old.at("old"), "utf8")).toBe("old");
    expect(await readFile(mirror.at("new"), "utf8")).toBe("new");

    // Also when it comes back and nobody is there to tell it.
    await old.crash();
    await scene.smfs("umount", mirrorStore);
    const alone = await startPrimary("--on-unreachable", "eio");
    expect((await status(alone)).state).toBe("fenced");
    expect(await readFile(alone.at("old"), "utf8")).toBe("old");
    await expect(writeFile(alone.at("late"), "late")).rejects.toMatchObject({ code: "EROFS" });
  });
});

async function streaming(primary: TestSite): Promise<void> {
  await primary.when("the mirror to follow", ({ mirror }) => mirror?.state === "streaming");
}

async function status(site: TestSite): ReturnType<TestSite["when"]> {
  return site.when("its status", () => true);
}
