/** `smfs fsck` and `smfs debug` as administrators use them, on stores with real damage. */
import { execFile } from "node:child_process";
import { chmodSync, cpSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contentOf } from "./busy-content.ts";
import { MAIN, Scene, type TestSite, whyNoMounts } from "./harness.ts";

const run = promisify(execFile);
const NO_MOUNTS = await whyNoMounts();
const FILES = 12;
const FILE_BYTES = 400_000;

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.close());

function segmentFiles(store: string): string[] {
  const log = readdirSync(store).find((entry) => entry.startsWith("log-")) ?? "";
  return readdirSync(join(store, log))
    .filter((entry) => entry.endsWith(".seg"))
    .sort()
    .map((entry) => join(store, log, entry));
}

/** Everything in the store's segments, to see that it was not changed. */
function bytesOf(store: string): string {
  return segmentFiles(store)
    .map((path) => `${path} ${statSync(path).mtimeMs} ${readFileSync(path).toString("latin1")}`)
    .join("\n");
}

/** Flips a bit in every copy of `needle` that the log has; gives how many. */
function damage(store: string, needle: Uint8Array, skip: number): number {
  let count = 0;
  for (const path of segmentFiles(store)) {
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) {
      bytes[at + skip] = (bytes[at + skip] ?? 0) ^ 0x20;
      count++;
    }
    writeFileSync(path, bytes);
  }
  return count;
}

async function filled(): Promise<string> {
  const site = await scene.mount(await scene.mkfs("store"));
  await mkdir(site.at("folder"));
  for (let file = 0; file < FILES; file++) {
    await writeFile(site.at("folder", `file-${file}`), contentOf(file, FILE_BYTES));
  }
  expect(await site.umount(scene)).toBe(0);
  return site.store;
}

async function expectAll(site: TestSite, but: readonly number[] = []): Promise<void> {
  for (let file = 0; file < FILES; file++) {
    if (but.includes(file)) continue;
    const found = await readFile(site.at("folder", `file-${file}`));
    expect(found.equals(contentOf(file, FILE_BYTES)), `file-${file}`).toBe(true);
  }
}

describe.skipIf(NO_MOUNTS)(`fsck${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  it("reads a copy that nobody may write to, and changes nothing", async () => {
    const store = await filled();
    for (const path of segmentFiles(store)) chmodSync(path, 0o400);
    const before = bytesOf(store);
    const whole = await scene.smfs("fsck", store, "--deep");
    expect(whole).toMatchObject({ code: 0, errors: "" });
    expect(whole.output).toMatch(/: whole at record \d+: .* \d+\.\d s, .*iB\/s$/);
    expect(bytesOf(store)).toBe(before);
  });

  it("names the file and its bytes; the other site's copy makes it whole", async () => {
    const store = await filled();
    cpSync(store, scene.path("copy"), { recursive: true });
    expect(damage(store, contentOf(4, 64), 30)).toBe(1);
    const found = await scene.smfs("fsck", store, "--deep", "--json");
    expect(found.code).toBe(4);
    const report = JSON.parse(found.output) as { findings: object[] };
    expect(report.findings).toMatchObject([
      { problem: "data", path: "/folder/file-4", range: { from: 0, to: 65_536 } },
    ]);

    const before = bytesOf(store);
    const dry = await scene.smfs(
      "fsck",
      "--repair",
      "--dry-run",
      "--from",
      scene.path("copy"),
      store,
    );
    expect(dry).toMatchObject({ code: 1, errors: "" });
    expect(dry.output).toMatch(/would repair: .*taken from the mirror/);
    expect(bytesOf(store)).toBe(before);

    const repaired = await scene.smfs("fsck", "--repair", "--from", scene.path("copy"), store);
    expect(repaired.output).toMatch(
      /repaired: segment \d+ offset \d+, \d+ bytes: .*from the mirror/,
    );
    expect(repaired.code).toBe(1);
    expect((await scene.smfs("fsck", store, "--deep")).code).toBe(0);
    await expectAll(await scene.mount(store));
  });

  it("makes lost tree nodes again, and zeros of lost data only when it is told to", async () => {
    const store = await filled();
    // The names stand in updates and nodes; the data of file 7 only once.
    expect(damage(store, contentOf(7, 64), 30)).toBe(1);
    const node = new TextEncoder().encode("SMFN");
    expect(damage(store, node, 9)).toBeGreaterThan(1);
    expect((await scene.smfs("fsck", store)).code).toBe(4);
    const left = await scene.smfs("fsck", "--repair", "--deep", store);
    expect(left.output).toMatch(/repaired: .*tree node.*made again from the log/);
    expect(left.code).toBe(4);
    const zeroed = await scene.smfs("fsck", "--repair", "--zero-damaged", store);
    expect(zeroed.output).toMatch(/repaired: inode \d+: bytes 0–65535: .*are zeros now/);
    expect(zeroed.code).toBe(1);
    const site = await scene.mount(store);
    await expectAll(site, [7]);
    const seven = await readFile(site.at("folder", "file-7"));
    expect(seven.subarray(0, 65_536).every((byte) => byte === 0)).toBe(true);
    expect(seven.subarray(65_536).equals(contentOf(7, FILE_BYTES).subarray(65_536))).toBe(true);
  });

  it("says what is wrong with a request", async () => {
    const store = await filled();
    expect((await scene.smfs("fsck", "--zero-damaged", store)).code).toBe(16);
    expect((await scene.smfs("fsck", "--no-such-flag", store)).code).toBe(16);
    const other = await scene.mkfs("other");
    const wrong = await scene.smfs("fsck", "--repair", "--from", other, store);
    expect(wrong).toMatchObject({ code: 8 });
    expect(wrong.errors).toMatch(/another log, not a copy/);
  });

  it("df says the same of a store with a site and without", async () => {
    const store = await filled();
    const site = await scene.mount(store);
    const running = JSON.parse(await scene.succeed("df", site.point, "--json")) as object;
    expect(await site.umount(scene)).toBe(0);
    const alone = JSON.parse(await scene.succeed("df", store, "--json")) as object;
    const same = { dataBytes: FILES * FILE_BYTES, inodes: FILES + 2, snapshots: 0, store };
    expect(running).toMatchObject(same);
    expect(alone).toMatchObject(same);
    expect(await scene.succeed("df", store)).toMatch(/live +4\.\d MiB .*\n.*pinned +0 B/);
  });

  it("debug prints records and items, beside a site too, and ends quietly in a pipe", async () => {
    const store = await filled();
    const tree = await scene.succeed("debug", "tree", store);
    expect(tree).toMatch(/inode 2 entry \d+: name file-3, inode \d+/);
    const site = await scene.mount(store);
    const log = await scene.succeed("debug", "log", store, "--json", "--kind", "update");
    const records = log.split("\n").map((line) => JSON.parse(line) as { sequence: number });
    expect(records.length).toBeGreaterThan(FILES);
    expect(log).toContain('"name":"file-3"');
    const command = `"${process.execPath}" "${MAIN}" debug log "${store}" | head -2`;
    const { stdout, stderr } = await run("sh", ["-c", command]);
    expect({ lines: stdout.split("\n").length, stderr }).toEqual({ lines: 3, stderr: "" });
    expect(await site.umount(scene)).toBe(0);
  });
});
