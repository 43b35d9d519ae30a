import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseGatewayFile } from "../../cli/gateway/config.ts";
import { GatewayMetrics } from "../../cli/gateway/metrics.ts";
import { endsOf } from "../../gateway/client.ts";
import { zeroGatewayCounters, zeroPeerCounters } from "../../gateway/appliance/statistics.ts";

const PEER = `
[peer.siteB]
peer = "192.0.2.7:7100"
key_file = "/etc/smfs/key"
prefixes = ["10.2.0.0/16", "fd00:2::/48"]
`;
const SMALL = `[gateway]\naddresses = ["10.99.0.1/30"]\n${PEER}`;

function problem(text: string): string {
  try {
    parseGatewayFile(text, "gw.toml");
  } catch (error) {
    expect(error).toMatchObject({ code: "CONFIG" });
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

describe("the gateway's configuration", () => {
  test("a small file gives every default, in plain numbers", () => {
    expect(parseGatewayFile(SMALL, "t")).toEqual({
      gateway: {
        mode: "tunnel",
        interfaceName: "smfs0",
        addresses: ["10.99.0.1/30"],
        routes: true,
        clampMss: true,
        offload: true,
        windowPackets: 4096,
        controlSocket: "/run/smfs/gateway.sock",
        flowSocket: "/run/smfs/flows.sock",
        peers: [
          {
            name: "siteB",
            listen: null,
            peer: "192.0.2.7:7100",
            key: { kind: "shared", file: "/etc/smfs/key" },
            prefixes: ["10.2.0.0/16", "fd00:2::/48"],
            rateBitsPerSecond: 1e9,
            targetRisk: 1e-6,
            code: expect.anything(),
            adapt: null,
            datagramBytes: 1400,
            holdMicros: 50_000,
          },
        ],
      },
      metrics: null,
      log: { level: "info", file: null },
    });
  });

  test("one file may describe a site as well", () => {
    const both = `[store]\npath = "/srv/home"\n${SMALL}\n[peer.c]\nlisten = "0.0.0.0:7101"\nkey_file = "k"\nprefixes = ["10.3.0.0/16"]`;
    expect(parseGatewayFile(both, "t").gateway.peers.map(({ name }) => name)).toEqual([
      "siteB",
      "c",
    ]);
  });

  test.each([
    ["", /gw.toml: \[gateway\]: write \[gateway\]/],
    ["[gateway]\n", /no peer: write \[peer.NAME\]/],
    [SMALL.replace("peer = ", "pear = "), /gw.toml:5: \[peer.siteB\] pear: .*did you mean peer\?/],
    [`${SMALL}listen = "0.0.0.0:7100"`, /\[peer.siteB\]: write peer = "host:port" at one side/],
    [SMALL.replace("10.2.0.0/16", "10.2.0/16"), /\[peer.siteB\] prefixes: must be a list of add/],
    [`${SMALL}public_key = "${Buffer.alloc(32, 9).toString("base64")}"`, /but not both/],
    [`${SMALL}hold = "2s"`, /\[peer.siteB\] hold: must lie between "0ms" and "1s", not "2s"/],
    [SMALL.replace("[peer.siteB]", '[peer."a b"]'), /a peer's name has 1 to 32 letters/],
    [SMALL.replace("[gateway]", '[gateway]\nmode = "transparent"'), /no device to give addresses/],
    [SMALL.replace("[gateway]", "[gateway]\nwindow = 1000"), /window: .*a power of two/],
    [`peer = 3\n[gateway]\n`, /write \[peer.NAME\] on a line of its own/],
  ])("%j is told what to write instead", (text, message) => {
    expect(problem(text)).toMatch(message);
  });
});

test("docs/METRICS.md has every metric of a gateway", async () => {
  const peer = {
    name: "b",
    state: "up" as const,
    reason: null,
    address: null,
    prefixes: [],
    packetBytes: 0,
    counters: zeroPeerCounters(),
  };
  const metrics = new GatewayMetrics("1", () => ({
    mode: "tunnel",
    interface: "smfs0",
    mtu: 1300,
    peers: [peer],
    counters: zeroGatewayCounters(),
    injected: { injected: 0, errors: 0, dropped: 0 },
    subscribers: 0,
  }));
  const page = readFileSync(new URL("../../docs/METRICS.md", import.meta.url), "utf8");
  const names = [...(await metrics.text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(25);
  for (const name of names) expect(page).toContain(`\`${name}`);
});

test("the ends of a socket are written as the gateway writes them", () => {
  const ends = { localPort: 1, remotePort: 2 };
  const four = { ...ends, localAddress: "::ffff:10.1.0.2", remoteAddress: "10.2.0.3" };
  const six = { ...ends, localAddress: "fd00::1", remoteAddress: "fd00::2" };
  expect(endsOf(four as never)).toEqual({ local: "10.1.0.2:1", remote: "10.2.0.3:2" });
  expect(endsOf(six as never)).toEqual({ local: "[fd00::1]:1", remote: "[fd00::2]:2" });
});
