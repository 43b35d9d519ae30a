/** One site: what is written through a mount is there after an unmount, and after a `kill -9`. */
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { differences, recordTree } from "../../cli/demo/tree.ts";
import { contentOf } from "./busy-content.ts";
import {
  AS_NOBODY,
  giveToNobody,
  MAIN,
  Scene,
  TestSite,
  whyNoMounts,
  whyNoUserMounts,
} from "./harness.ts";

const run = promisify(execFile);
/** A tree to copy: this project's own. */
const SOURCES = fileURLToPath(new URL("../../logfs", import.meta.url));
const BUSY_WRITER = fileURLToPath(new URL("../../dist/test/e2e/busy-writer.js", import.meta.url));
const NO_USER_MOUNTS = whyNoUserMounts();
const ROUNDS = 3;
/** The site dies after so many acknowledgements: several segments and some 20 fsyncs. */
const ENOUGH_NOTES = 500;
const NO_MOUNTS = await whyNoMounts();

describe.skipIf(NO_MOUNTS)(`one site${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.close());

  it("what ordinary tools wrote is there after an unmount and a mount", async () => {
    const store = await scene.mkfs("store");
    const first = await scene.mount(store);
    await run("cp", ["-a", SOURCES, first.at("copy")]);
    await run("tar", ["-cf", first.at("copy.tar"), "-C", first.at("copy"), "."]);
    await run("ln", ["-s", "copy", first.at("link")]);
    await mkdir(first.at("empty"));
    expect(await first.umount(scene)).toBe(0);

    const fsck = await scene.smfs("fsck", store, "--deep", "--json");
    expect({ code: fsck.code, errors: fsck.errors }).toEqual({ code: 0, errors: "" });
    expect(JSON.parse(fsck.output)).toMatchObject({ schemaVersion: 2, errors: 0, complete: true });

    const second = await scene.mount(store);
    const expected = await recordTree(SOURCES);
    expect(expected.files).toBeGreaterThan(50);
    expect(differences(expected, await recordTree(second.at("copy")))).toEqual([]);
    await run("tar", ["-df", second.at("copy.tar"), "-C", second.at("copy")]);
    expect((await run("ls", [second.at("link/core")])).stdout).toContain("vfs.ts");
    expect(await second.umount(scene)).toBe(0);
  });

  it("a mount in the background is there when the command returns, and says why when it fails", async () => {
    const store = await scene.mkfs("store");
    const point = scene.folder("point");
    const mounted = await scene.smfs("mount", "--background", store, point);
    expect({ code: mounted.code, output: mounted.output }).toEqual({
      code: 0,
      output: `${store}: primary, ${point}`,
    });
    await writeFile(join(point, "file"), "content");
    const second = await scene.smfs("mount", "-b", store, scene.folder("other"));
    expect(second.code).toBe(69);
    expect(second.errors).toMatch(/another process/);
    expect((await scene.smfs("umount", point)).code).toBe(0);
  });

  it("nothing that a busy mount acknowledged is missing after kill -9", async () => {
    const store = await scene.mkfs("store");
    const rounds: string[][] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const site = await scene.mount(store);
      rounds.push(await killWhileBusy(scene, site, `round-${round}`));
      const fsck = await scene.smfs("fsck", store, "--deep");
      expect(fsck.output).toContain(": whole at record");
      expect(fsck.code).toBe(0);
    }
    const last = await scene.mount(store);
    for (const [round, notes] of rounds.entries()) {
      expect(notes.filter((note) => note.startsWith("synced")).length).toBeGreaterThan(5);
      expect(await broken(notes, last.at(`round-${round}`))).toEqual([]);
    }
    expect(await last.umount(scene)).toBe(0);
  });

  it.skipIf(NO_USER_MOUNTS)(
    `a user's mount that is unmounted from outside ends in order (${NO_USER_MOUNTS ?? "fusermount3"})`,
    async () => {
      const [store, point] = [scene.path("user/store"), scene.path("user/mount")];
      mkdirSync(scene.path("user"));
      chmodSync(scene.directory, 0o755);
      giveToNobody(scene.path("user"));
      const asNobody = async (...args: readonly string[]): Promise<void> => {
        const child = scene.start(`smfs ${args[0]}`, args, MAIN, AS_NOBODY);
        await child.closed;
        expect(child.process.exitCode, child.lastWords).toBe(0);
      };
      await asNobody("mkfs", store);
      mkdirSync(point);
      giveToNobody(point);
      const child = scene.start("the user's site", ["mount", store, point], MAIN, AS_NOBODY);
      const site = new TestSite(child, store, point);
      await site.when("its mount", ({ mount }) => mount !== null);
      await asNobody("umount", point);
      await child.closed;
      expect(child.process.exitCode, child.lastWords).toBe(0);
      expect(await scene.succeed("fsck", store)).toContain(": whole");
    },
  );

  it("a site that is told to stop unmounts and exits with 0", async () => {
    const site = await scene.mount(await scene.mkfs("store"));
    await writeFile(site.at("file"), "kept");
    site.child.kill("SIGTERM");
    await site.child.exited;
    expect(site.child.process.exitCode).toBe(0);
    const again = await scene.mount(site.store);
    expect(await readFile(again.at("file"), "utf8")).toBe("kept");
  });
});

/** A writer says what was acknowledged to it, outside the mount; then the site dies under it. */
async function killWhileBusy(scene: Scene, site: TestSite, folder: string): Promise<string[]> {
  await mkdir(site.at(folder));
  const writer = scene.start("the writer", [site.at(folder)], BUSY_WRITER);
  const notes: string[] = [];
  await new Promise<void>((resolve) => {
    writer.eachLine((line) => {
      notes.push(line);
      if (notes.length >= ENOUGH_NOTES) resolve();
    });
  });
  await site.crash();
  await writer.closed;
  return notes;
}

/** Those notes whose promise the folder does not keep. */
async function broken(notes: readonly string[], folder: string): Promise<string[]> {
  // A file's last note says most: nothing that was noted of it before is taken back.
  const last = new Map(notes.map((note) => [note.split(" ")[1], note]));
  const missing: string[] = [];
  for (const note of last.values()) {
    const [what, number, bytes] = note.split(" ");
    const names = what === "renamed" ? [`${number}`] : [`${number}`, `${number}.new`];
    const expected = contentOf(Number(number), Number(bytes));
    const found = await firstThatExists(names.map((name) => join(folder, name)));
    const kept = found === undefined ? -1 : agreement(found, expected);
    if (kept < expected.length) missing.push(`${note}: ${kept} of ${found?.length} are right`);
  }
  return missing;
}

/** Bytes from the start that are the same. */
function agreement(found: Buffer, expected: Buffer): number {
  const differs = expected.findIndex((byte, at) => found[at] !== byte);
  return differs < 0 ? expected.length : differs;
}

async function firstThatExists(paths: readonly string[]): Promise<Buffer | undefined> {
  for (const path of paths) if (existsSync(path)) return readFile(path);
  return undefined;
}
