/** What people get wrong at the command line: one clear sentence, a fitting exit code, never a hang. */
import { chmod, mkdir, open, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Finished, mountsBelow, Scene, whyNoMounts } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();
/** sysexits.h */
const USAGE = 64;
const UNAVAILABLE = 69;
/** As fsck(8) says: it could not be checked. */
const FSCK_FAILED = 8;
const CONFIG = 78;

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.close());

async function expectRefusal(
  running: Promise<Finished>,
  code: number,
  sentence: RegExp,
): Promise<void> {
  const finished = await running;
  expect(finished.errors).toMatch(sentence);
  expect(finished.errors).not.toMatch(/\n\s+at /);
  expect(finished).toMatchObject({ code, signal: null });
}

describe("stores", () => {
  it("a store that does not exist", async () => {
    const sentence = /holds no store; make one with 'smfs mkfs/;
    const missing = scene.path("missing");
    await Promise.all([
      expectRefusal(scene.smfs("mount", missing, scene.folder("m")), UNAVAILABLE, sentence),
      expectRefusal(scene.smfs("fsck", missing), FSCK_FAILED, sentence),
      expectRefusal(scene.smfs("status", missing), UNAVAILABLE, sentence),
      expectRefusal(scene.smfs("mirror", "promote", missing), UNAVAILABLE, sentence),
    ]);
  });

  it("mkfs over a store, and over other people's files", async () => {
    const store = await scene.mkfs("store");
    await expectRefusal(scene.smfs("mkfs", store), UNAVAILABLE, /already holds a store/);
    await writeFile(`${scene.folder("full")}/letter`, "dear");
    await expectRefusal(scene.smfs("mkfs", scene.path("full")), UNAVAILABLE, /is not empty/);
    await writeFile(scene.path("file"), "");
    await expectRefusal(scene.smfs("mkfs", scene.path("file")), 74, /file/);
  });

  it("a segment size without sense", async () => {
    const size = (text: string): Promise<Finished> =>
      scene.smfs("mkfs", scene.path("store"), "--segment-size", text);
    await Promise.all([
      expectRefusal(size("100 parsecs"), USAGE, /parsecs/),
      expectRefusal(size("3"), USAGE, /segment/i),
      // A write of 1 MiB would not fit in its record.
      expectRefusal(size("1MiB"), USAGE, /at least 2MiB/),
    ]);
  });

  it("asking a store that no process serves", async () => {
    const store = await scene.mkfs("store");
    await Promise.all([
      expectRefusal(scene.smfs("status", store), UNAVAILABLE, /no smfs process is running/),
      expectRefusal(scene.smfs("umount", store), UNAVAILABLE, /no smfs file system is mounted/),
    ]);
  });
});

describe("configuration", () => {
  let configs = 0;
  async function mountWith(lines: readonly string[]): Promise<Finished> {
    const store = scene.path("store");
    const config = `${scene.folder(`config-${configs++}`)}/smfs.toml`;
    await writeFile(config, ["[store]", `path = "${store}"`, ...lines, ""].join("\n"));
    return scene.smfs("mount", "--config", config);
  }

  it("names the line and what to write instead", async () => {
    await Promise.all([
      expectRefusal(mountWith(['capcity = "1GB"']), CONFIG, /smfs\.toml:3.*capacity/s),
      expectRefusal(mountWith(['capacity = "1 furlong"']), CONFIG, /smfs\.toml:3.*64MiB/s),
      expectRefusal(mountWith(["[mirrors]"]), CONFIG, /smfs\.toml:3.*mirror/s),
      expectRefusal(mountWith(["[mount"]), CONFIG, /smfs\.toml:3.*not TOML/s),
      expectRefusal(mountWith(["[mirror]", 'peer = "host"']), CONFIG, /192\.0\.2\.7:7000/),
    ]);
  });

  it("a file that is not there, and a flag that does not exist", async () => {
    const missing = scene.smfs("mount", "--config", scene.path("missing.toml"));
    await Promise.all([
      expectRefusal(missing, CONFIG, /cannot read the configuration/),
      expectRefusal(scene.smfs("mount", "--fsink", "remote"), USAGE, /unknown option.*--fsink/),
      expectRefusal(scene.smfs("mount", "s", "--fsync", "always"), USAGE, /written, local/),
      expectRefusal(scene.smfs("mount"), CONFIG, /name the store/),
    ]);
  });

  it("key files that others can read, that hold no key, that are not there", async () => {
    await scene.mkfs("store", "--mirror");
    const mount = (key: string): Promise<Finished> =>
      scene.smfs("mount", scene.path("store"), "--listen", "127.0.0.1:0", "--key-file", key);
    await chmod(scene.key("open"), 0o644);
    await expectRefusal(mount(scene.path("open")), CONFIG, /can be read by others: run chmod 600/);
    await writeFile(scene.path("short"), "c2hvcnQ=\n", { mode: 0o600 });
    await Promise.all([
      expectRefusal(mount(scene.path("short")), CONFIG, /make one with smfs genkey/),
      expectRefusal(mount(scene.path("missing")), CONFIG, /cannot read .*missing/),
    ]);
  });
});

describe.skipIf(NO_MOUNTS)(
  `mount points${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`,
  () => {
    it("that are a file, that are missing, that are in use", async () => {
      const store = await scene.mkfs("store");
      await writeFile(scene.path("file"), "");
      const onFile = scene.smfs("mount", store, scene.path("file"));
      await expectRefusal(onFile, USAGE, /file is not a directory/);
      const onNothing = scene.smfs("mount", store, scene.path("missing"));
      await expectRefusal(onNothing, UNAVAILABLE, /there is no directory/);

      const site = await scene.mount(store);
      const other = await scene.mkfs("other");
      const onMount = scene.smfs("mount", other, site.point);
      await expectRefusal(onMount, UNAVAILABLE, /\(fuse\.smfs\) is mounted on/);
      expect(mountsBelow(scene.directory)).toEqual([site.point]);
    });

    it("a store that another process serves", async () => {
      const site = await scene.mount(await scene.mkfs("store"));
      await mkdir(scene.path("second"));
      const second = scene.smfs("mount", site.store, scene.path("second"));
      await Promise.all([
        expectRefusal(second, UNAVAILABLE, /another process|in use|held by/),
        expectRefusal(scene.smfs("fsck", site.store), FSCK_FAILED, /in use.*scrub/),
      ]);
      await writeFile(site.at("file"), "the first still works");
      expect((await site.status())?.state).toBe("running");
    });

    it("a mount that is in use is not unmounted, and says who to ask", async () => {
      const site = await scene.mount(await scene.mkfs("store"));
      await writeFile(site.at("file"), "x");
      const file = await open(site.at("file"));
      try {
        await expectRefusal(scene.smfs("umount", site.point), UNAVAILABLE, /in use.*fuser.*--lazy/);
      } finally {
        await file.close();
      }
      expect(await site.umount(scene)).toBe(0);
    });
  },
);
