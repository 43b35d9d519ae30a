/** Peers that do not belong together, and strangers on the network. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Child } from "../../cli/demo/processes.ts";
import { Prng } from "../../lib/prng.ts";
import { Scene, type TestPath, type TestSite, whyNoMounts, writeSynced } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();
const STRANGE_DATAGRAMS = 2000;

describe.skipIf(NO_MOUNTS)(`peers${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  let scene: Scene;
  let path: TestPath;
  beforeEach(async () => {
    scene = new Scene();
    path = await scene.wan();
  });
  afterEach(() => scene.close());

  const startMirror = (store: string, key = scene.key()): TestSite =>
    scene.launch(store, "--listen", `127.0.0.1:${path.far}`, "--key-file", key);
  const startPrimary = (store: string): Promise<TestSite> => {
    const link = ["--peer", `127.0.0.1:${path.near}`, "--key-file", scene.key()];
    return scene.mount(store, ...link, "--fsync", "remote");
  };

  it("a wrong key is what both sides say within seconds", async () => {
    const mirror = startMirror(await scene.mkfs("mirror", "--mirror"), scene.key("other"));
    const primary = await startPrimary(await scene.mkfs("primary"));
    for (const site of [primary, mirror]) {
      const status = await site.when("the key's refusal", (s) =>
        /key/.test(s.mirror?.reason ?? ""),
      );
      expect(status.mirror?.state).toBe("disconnected");
      expect(site.child.lastWords).toMatch(/key/);
    }
    await writeFile(primary.at("file"), "local work goes on");
  });

  it("a mirror of another log refuses, and says which logs they are", async () => {
    const mirrorStore = await scene.mkfs("mirror", "--mirror");
    const mirror = startMirror(mirrorStore);
    const first = await startPrimary(await scene.mkfs("first"));
    await writeSynced(first.at("file"), "of the first");
    const firstLog = (await first.status())?.store.logId ?? "none";
    expect(await first.umount(scene)).toBe(0);

    const second = await startPrimary(await scene.mkfs("second"));
    const refused = await second.when("the refusal", (s) => s.mirror?.state === "refused");
    expect(refused.mirror?.reason).toContain(`follows log ${firstLog}`);
    expect(refused.mirror?.reason).toContain(`offers log ${refused.store.logId}`);
    await mirror.when("its refusal", (s) => /another file system/.test(s.mirror?.reason ?? ""));
    expect(await readFile(mirror.at("file"), "utf8")).toBe("of the first");
  });

  it("datagrams of strangers are counted and change nothing", async () => {
    const mirror = startMirror(await scene.mkfs("mirror", "--mirror"));
    const primary = await startPrimary(await scene.mkfs("primary"));
    await primary.when("the mirror", (s) => s.mirror?.state === "streaming");
    const before = await mirror.when("its counts", (s) => s.network !== null);
    const noise = sendNoise([path.far, ...udpPortsOf(primary.child)], STRANGE_DATAGRAMS);
    for (let file = 0; file < 20; file++)
      await writeSynced(primary.at(`${file}`), `content ${file}`);
    await noise;
    await mirror.when(
      "the count of strange datagrams",
      ({ network }) =>
        (network?.rejectedDatagrams ?? 0) >=
        (before.network?.rejectedDatagrams ?? 0) + STRANGE_DATAGRAMS / 4,
    );
    await writeSynced(primary.at("last"), "last");
    for (let file = 0; file < 20; file++) {
      expect(await readFile(mirror.at(`${file}`), "utf8")).toBe(`content ${file}`);
    }
    expect((await primary.status())?.mirror).toMatchObject({ state: "streaming", reason: null });
  });
});

/** UDP ports that a process is bound to (proc_net_udp: address:port in hexadecimal, 10th the inode). */
function udpPortsOf(child: Child): number[] {
  const folder = `/proc/${child.process.pid}/fd`;
  const open = new Set(readdirSync(folder).map((fd) => linkOf(`${folder}/${fd}`)));
  const sockets = readFileSync("/proc/net/udp", "utf8").split("\n").slice(1);
  const mine = sockets.map((line) => line.trim().split(/\s+/));
  const ports = mine
    .filter((fields) => open.has(`socket:[${fields[9]}]`))
    .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "", 16));
  expect(ports.length).toBeGreaterThan(0);
  return ports;
}

/** Empty for a descriptor that was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return "";
  }
}

/** Datagrams of random bytes and lengths, some at each port, a few at a time. */
async function sendNoise(ports: readonly number[], count: number): Promise<void> {
  const prng = new Prng(7);
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  for (let sent = 0; sent < count; sent++) {
    const datagram = Buffer.alloc(1 + (prng.u32() % 1500));
    for (let at = 0; at < datagram.length; at++) datagram[at] = prng.u32();
    const port = ports[sent % ports.length] ?? 0;
    await new Promise<void>((resolve, reject) => {
      socket.send(datagram, port, "127.0.0.1", (error) => (error ? reject(error) : resolve()));
    });
  }
  socket.close();
}
