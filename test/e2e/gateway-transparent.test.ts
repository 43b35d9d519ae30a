import { createRequire } from "node:module";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../cli/demo/processes.ts";
import { messageOf } from "../../lib/errors.ts";
import { Scene } from "./harness.ts";
import { type GatewayOptions, GatewayWorld, type Site } from "./gateway-world.ts";
import { HOST_B, whyNoPath } from "./tun-world.ts";

function whyNoRawSockets(): string | undefined {
  try {
    createRequire(import.meta.url)("raw-socket");
    return undefined;
  } catch (error) {
    return `no raw-socket package: ${messageOf(error)}`;
  }
}

const whyNot = whyNoPath() ?? whyNoRawSockets();
const reason = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;
const LOSSY = ["--delay", "5ms", "--loss", "2%"];
const MEGABYTE = 1e6;
const DATAGRAMS = 3000;
const HOST_B_SIX = "2001:2::2";
const HOST_A_SIX = "2001:2::1";

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
  world = await GatewayWorld.open(scene, name, { mode: "transparent", ...options });
  return world;
}

/** Share of numbered datagrams from a to b that arrive, and how many arrive twice. */
function arrivals(opened: GatewayWorld, hosts?: { a: string; b: string }) {
  const probes = opened.path.probes(hosts);
  probes.send(DATAGRAMS, 600, 300);
  probes.drain(DATAGRAMS);
  probes.close();
  const indices = probes.arrivals.map(({ index }) => index);
  const distinct = new Set(indices).size;
  return { lost: DATAGRAMS - distinct, twice: indices.length - distinct };
}

describe.skipIf(whyNot !== undefined)(`the transparent mode${reason}`, () => {
  it.each([
    ["IPv4", undefined],
    ["IPv6", { a: HOST_A_SIX, b: HOST_B_SIX }],
  ])("lost datagrams of %s are rebuilt and put back, once", async (name, hosts) => {
    const opened = await open(`udp-${name}`, { path: LOSSY });
    const { lost, twice } = arrivals(opened, hosts);
    // 60 of them did not come by themselves.
    expect(lost).toBeLessThanOrEqual(2);
    expect(twice).toBeLessThanOrEqual(2);
    const { injected, peers } = await statusWith(opened, "b", (s) => s.injected.injected > 20);
    expect(injected.errors).toBe(0);
    expect(peers[0]?.counters.packetsRebuiltHere).toBeGreaterThan(20);
  });

  it("TCP goes as it is, and its losses are mended", async () => {
    const opened = await open("tcp", { path: LOSSY });
    const { sent, received } = await opened.transfer(2 * MEGABYTE, HOST_B);
    expect(received).toEqual(sent);
    const { injected, counters } = await statusWith(opened, "b", (s) => s.injected.injected > 5);
    expect(injected.errors).toBe(0);
    expect(counters.malformedPackets).toBe(0);
    const { counters: there } = await opened.status("a");
    expect(there.tooLongPackets).toBeLessThan(3);
  });

  it.each(["a", "b"] as const)("traffic goes on when the gateway at %s is killed", async (site) => {
    const opened = await open(`open-${site}`, { path: ["--delay", "2ms"] });
    const transfer = opened.transfer(20 * MEGABYTE, HOST_B);
    await statusWith(opened, "a", (s) => (s.peers[0]?.counters.packetsSent ?? 0) > 500);
    opened.gateways[site].kill("SIGKILL");
    await opened.gateways[site].exited;
    const { sent, received } = await transfer;
    expect(received).toEqual(sent);
    const again = await opened.transfer(MEGABYTE, HOST_B);
    expect(again.received).toEqual(again.sent);
  });

  it("what it changed at the interface and the routes is put back when it ends", async () => {
    const opened = await open("restore");
    await opened.transfer(MEGABYTE, HOST_B);
    await opened.gateways.a.stop();
    const { lost } = arrivals(opened);
    expect(lost).toBe(0);
    expect(opened.inside("a", `ip route get ${HOST_B}`)).not.toContain("mtu");
  });
});

type Status = Awaited<ReturnType<GatewayWorld["status"]>>;

function statusWith(opened: GatewayWorld, site: Site, holds: (status: Status) => boolean) {
  return until("the counters tell", [opened.gateways[site]], async () => {
    const status = await opened.status(site);
    return holds(status) ? status : undefined;
  });
}
