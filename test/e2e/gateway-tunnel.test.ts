import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../cli/demo/processes.ts";
import { type Flow, FlowClient } from "../../gateway/client.ts";
import { Scene } from "./harness.ts";
import {
  type GatewayOptions,
  GatewayWorld,
  INNER,
  INNER_SIX,
  type Site,
  TRAFFIC_PORT,
} from "./gateway-world.ts";
import { whyNoPath } from "./tun-world.ts";

const whyNot = whyNoPath();
const reason = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;
const LOSSY = ["--delay", "5ms", "--loss", "2%"];
const MEGABYTE = 1e6;

let scene: Scene;
let world: GatewayWorld | null = null;
beforeAll(() => {
  scene = new Scene();
});
afterEach(async () => {
  await world?.close();
  world = null;
});
afterAll(() => scene.close());

async function open(name: string, options: GatewayOptions = {}): Promise<GatewayWorld> {
  world = await GatewayWorld.open(scene, name, options);
  return world;
}

function inside(site: Site, command: string): string {
  return world?.inside(site, command) ?? "";
}

/** A counter of /proc/net/snmp: "Ip FragCreates". */
function snmp(site: Site, group: string, name: string): number {
  const [names = "", values = ""] = inside(site, `grep ^${group}: /proc/net/snmp`).split("\n");
  return Number(values.split(" ")[names.split(" ").indexOf(name)]);
}

describe.skipIf(whyNot !== undefined)(`the tunnel${reason}`, () => {
  it("carries TCP over a lossy path: the bytes are the same, and losses are rebuilt", async () => {
    const { transfer, peer } = bound(await open("lossy", { path: LOSSY }));
    const { sent, received } = await transfer(4 * MEGABYTE, INNER.b);
    expect(received).toEqual(sent);
    await until("the counters tell", [], async () => {
      const { counters } = await peer("b");
      return counters.packetsRebuiltHere > 0 ? true : undefined;
    });
    // The kernel's TCP saw next to nothing of a loss of 2 % of about 3,000 packets.
    expect(snmp("a", "Tcp", "RetransSegs")).toBeLessThan(20);
  });

  it("nothing is fragmented, and what does not fit is refused with the size", async () => {
    const { transfer, status } = bound(await open("mtu"));
    const { mtu } = await status("a");
    expect(inside("a", "ip link show smfs0")).toContain(`mtu ${mtu}`);
    await transfer(MEGABYTE, INNER.b);
    for (const site of ["a", "b"] as const) {
      expect(snmp(site, "Ip", "FragCreates")).toBe(0);
      expect(snmp(site, "Ip", "ReasmReqds")).toBe(0);
    }
  });

  it("IPv6 goes through it, and over IPv6", async () => {
    const { transfer } = bound(await open("six", { outside: 6, path: LOSSY }));
    const { sent, received } = await transfer(MEGABYTE, INNER_SIX.b);
    expect(received).toEqual(sent);
  });

  it("subscribers hear how far a connection is covered, never more than was sent", async () => {
    const opened = await open("flows", { path: LOSSY });
    const client = await FlowClient.connect(opened.flowSocket("a"), { remote: INNER.b });
    const told: Flow[] = [];
    const ends: (string | null)[] = [];
    client.onFlow((flow, ended) => {
      told.push(flow);
      if (ended !== null) ends.push(ended);
    });
    await opened.transfer(MEGABYTE, INNER.b);
    await until("the connection's end is told", [], async () => ends[0] ?? undefined);
    client.close();
    expect(ends).toEqual(["closed"]);
    expect(told.at(-1)).toMatchObject({ isFromStart: true, passed: MEGABYTE });
    let before: readonly number[] = [];
    for (const { covered, passed, risks, acknowledged } of told) {
      expect(Math.max(...covered)).toBeLessThanOrEqual(passed);
      expect(acknowledged).toBeLessThanOrEqual(passed);
      for (const [level, offset] of covered.entries()) {
        expect(offset).toBeGreaterThanOrEqual(before[level] ?? 0);
        expect(offset).toBeLessThanOrEqual(covered[0] ?? 0);
        expect(risks[level]).toBeLessThanOrEqual(1);
      }
      before = covered;
    }
    expect(told.length).toBeGreaterThan(10);
  });

  it("what was told to be covered is at the peer though the sending site died (SMFS §5)", async () => {
    const opened = await open("death", { path: ["--delay", "150ms", "--loss", "3%"] });
    const sink = opened.run("b", "sink", INNER.b, String(TRAFFIC_PORT));
    await sink.line((line) => line.listening === true);
    const client = await FlowClient.connect(opened.flowSocket("a"));
    // Covered at all levels, and in the network only: not yet acknowledged.
    const inTheNetwork = new Promise<number>((resolve) => {
      client.onFlow(({ covered, acknowledged }) => {
        const offset = covered[3] ?? 0;
        if (offset > MEGABYTE && offset > acknowledged + 50_000) resolve(offset);
      });
    });
    const source = opened.run("a", "pour", INNER.b, String(TRAFFIC_PORT), "10000");
    const covered = await inTheNetwork;
    opened.gateways.a.kill("SIGKILL");
    source.child.kill("SIGKILL");
    const { received } = await sink.line((line) => (line.received ?? 0) >= covered, 5000);
    expect(received).toBeGreaterThanOrEqual(covered);
    client.close();
  });

  it("a configuration is read again under traffic, and the connection goes on", async () => {
    const opened = await open("reload", { path: LOSSY });
    const transfer = opened.transfer(4 * MEGABYTE, INNER.b);
    opened.edit("a", (text) => text.replace("[peer.other]", '[peer.other]\nhold = "5ms"'));
    await scene.succeed("gateway", "reload", "--control", opened.control("a"));
    opened.edit("a", (text) =>
      text.replace('prefixes = ["10.99.0.2"', 'prefixes = ["10.77.0.0/24","10.99.0.2"'),
    );
    // Another rate and code are another session: what leaves meanwhile waits in the device.
    const other = '[peer.other]\nrate = "500mbit"\ncode = { r = 8, interleave = [1, 20] }';
    for (const site of ["a", "b"] as const) {
      opened.edit(site, (text) => text.replace("[peer.other]", other));
    }
    opened.gateways.b.kill("SIGHUP");
    opened.gateways.a.kill("SIGHUP");
    await until("the new prefix is there", [], async () => {
      const { prefixes } = await opened.peer("a");
      return prefixes.includes("10.77.0.0/24") ? true : undefined;
    });
    expect(inside("a", "ip route show 10.77.0.0/24")).toContain("smfs0");
    const { sent, received } = await transfer;
    expect(received).toEqual(sent);
    const { counters } = await opened.peer("a");
    expect(counters).toMatchObject({ isUp: 1, packetsRefused: 0 });
    expect(counters.paceBitsPerSecond).toBeLessThanOrEqual(500e6);
  });

  it("a reload that is wrong changes nothing and says what is wrong", async () => {
    const opened = await open("wrong");
    opened.edit("a", (text) => text.replace("[peer.other]", '[peer.other]\nhold = "soon"'));
    const refused = await scene.smfs("gateway", "reload", "--control", opened.control("a"));
    expect(refused.code).toBe(78);
    expect(refused.errors).toContain("[peer.other] hold: must be a duration");
    expect((await opened.peer("a")).state).toBe("up");
  });

  it("a peer with another key learns nothing and gets nothing", async () => {
    world = await GatewayWorld.start(scene, "key", { keys: "different" });
    const { gateways } = world;
    const { reason: why } = await until("the wrong key is noticed", [gateways.a], async () => {
      const peer = await world?.peer("a").catch(() => undefined);
      return peer !== undefined && peer.reason !== null ? peer : undefined;
    });
    expect(why).toMatch(/key/);
    inside("a", `ip route get ${INNER.b}; echo hello > /dev/udp/${INNER.b}/9`);
    const { counters } = await world.peer("b");
    expect(counters.packetsReceived).toBe(0);
    expect(counters.isUp).toBe(0);
  });

  it("the commands say how it stands", async () => {
    const opened = await open("commands");
    const text = await scene.succeed("gateway", "status", "--control", opened.control("a"));
    expect(text).toContain("peer other: up");
    const json = await scene.succeed(
      "gateway",
      "status",
      "--json",
      "--control",
      opened.control("b"),
    );
    expect(JSON.parse(json)).toMatchObject({ mode: "tunnel", peers: [{ state: "up" }] });
    const second = await scene.smfs("gateway", "status", "--control", "/nonexistent.sock");
    expect([second.code, second.errors]).toEqual([
      69,
      expect.stringContaining("no gateway is running"),
    ]);
    await scene.succeed("gateway", "down", "--control", opened.control("a"));
    await opened.gateways.a.exited;
    expect(opened.gateways.a.process.exitCode).toBe(0);
    expect(inside("a", "ip link")).not.toContain("smfs0");
  });
});

/** Methods that can be taken apart. */
function bound(opened: GatewayWorld) {
  return {
    transfer: (bytes: number, host: string) => opened.transfer(bytes, host),
    peer: (site: Site) => opened.peer(site),
    status: (site: Site) => opened.status(site),
  };
}
