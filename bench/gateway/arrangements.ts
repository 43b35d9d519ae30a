/**
 * What can stand between the two sites' TCP: nothing, our gateway in either mode, or kcptun, which
 * forwards one TCP port over KCP with Reed-Solomon repairs.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askControl } from "../../cli/control.ts";
import { Child, pause, until } from "../../cli/demo/processes.ts";
import type { GatewayStatus } from "../../gateway/appliance/gateway.ts";
import { writeKeyFile } from "../../gateway/udp/keys.ts";
import { SmfsError } from "../../lib/errors.ts";
import { HOSTS, type Site, type Sites } from "./sites.ts";

export type ArrangementName = "plain" | "tunnel" | "transparent" | "kcptun";

/** Where servers at site b listen. */
export const PORT = 5201;

export interface Arrangement {
  readonly name: ArrangementName;
  /** Where a client at site a connects to. */
  readonly target: { readonly host: string; readonly port: number };
  /** Where the server at site b listens. */
  readonly listenHost: string;
  /** Of what stands between, both sides; not of the path. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

export function arrange(name: ArrangementName, sites: Sites): Promise<Arrangement> {
  switch (name) {
    case "plain":
      return Promise.resolve(plain());
    case "kcptun":
      return startKcptun(sites);
    case "tunnel":
    case "transparent":
      return startGateways(name, sites);
  }
}

function plain(): Arrangement {
  const target = { host: HOSTS.b, port: PORT };
  return { name: "plain", target, listenHost: HOSTS.b, pids: [], stop: async () => {} };
}

// ---- smfs gateway -------------------------------------------------------------------------------

const MAIN = new URL("../../cli/main.js", import.meta.url).pathname;
const INNER = { a: "10.99.0.1", b: "10.99.0.2" } as const;
const GATEWAY_PORT = 7100;

async function startGateways(mode: "tunnel" | "transparent", sites: Sites): Promise<Arrangement> {
  const directory = mkdtempSync(join(tmpdir(), "smfs-bench-gateway-"));
  writeKeyFile(`${directory}/key`);
  const children = (["b", "a"] as const).map((site) => {
    writeFileSync(`${directory}/${site}.toml`, gatewayConfig(directory, site, mode));
    const args = ["gateway", "up", "--config", `${directory}/${site}.toml`];
    return new Child(`gateway ${site}`, MAIN, args, sites.launcher(site));
  });
  await until("the gateways meet", children, async () => {
    const states = await Promise.all([isUp(`${directory}/a.sock`), isUp(`${directory}/b.sock`)]);
    return states.every(Boolean) ? true : undefined;
  });
  const host = mode === "tunnel" ? INNER.b : HOSTS.b;
  return {
    name: mode,
    target: { host, port: PORT },
    listenHost: host,
    pids: children.map((child) => child.process.pid ?? 0),
    async stop() {
      await Promise.all(children.map((child) => child.stop()));
      rmSync(directory, { recursive: true });
    },
  };
}

async function isUp(control: string): Promise<boolean> {
  try {
    const { peers } = await askControl<GatewayStatus>(control, "GET /status");
    return peers[0]?.state === "up";
  } catch (error) {
    if (error instanceof SmfsError && error.code === "UNREACHABLE") return false;
    throw error;
  }
}

function gatewayConfig(directory: string, site: Site, mode: "tunnel" | "transparent"): string {
  const other = site === "a" ? "b" : "a";
  const isTunnel = mode === "tunnel";
  return `
[gateway]
mode = "${mode}"
interface = "${isTunnel ? "smfs0" : "wan0"}"
${isTunnel ? `addresses = ["${INNER[site]}/32"]` : ""}
control = "${directory}/${site}.sock"
flows = "${directory}/${site}.flows"
[peer.other]
${site === "a" ? "peer" : "listen"} = "${HOSTS.b}:${GATEWAY_PORT}"
key_file = "${directory}/key"
prefixes = ["${isTunnel ? INNER[other] : HOSTS[other]}"]
`;
}

// ---- kcptun -------------------------------------------------------------------------------------

const KCP_PORT = 29900;
const KCP_LOCAL_PORT = 12948;
/** As its documentation tunes it for bandwidth: windows of the path's product, no compression. */
const KCP_TUNING = [
  ..."--mode fast3 --nocomp --crypt aes-128 --key bench --mtu 1400".split(" "),
  ..."--datashard 10 --parityshard 3 --sndwnd 16384 --rcvwnd 16384 --sockbuf 33554432".split(" "),
  ..."--smuxbuf 67108864 --streambuf 67108864 --smuxver 2 --quiet".split(" "),
];

async function startKcptun(sites: Sites): Promise<Arrangement> {
  const target = `${HOSTS.b}:${PORT}`;
  const listen = `${HOSTS.b}:${KCP_PORT}`;
  const server = sites.start("b", ["kcptun-server", "-t", target, "-l", listen, ...KCP_TUNING]);
  const local = `127.0.0.1:${KCP_LOCAL_PORT}`;
  const client = sites.start("a", ["kcptun-client", "-r", listen, "-l", local, ...KCP_TUNING]);
  // It does not say when it is ready.
  await pause(1000);
  return {
    name: "kcptun",
    target: { host: "127.0.0.1", port: KCP_LOCAL_PORT },
    listenHost: HOSTS.b,
    pids: [server.pid ?? 0, client.pid ?? 0],
    async stop() {
      await Promise.all([end(server), end(client)]);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}
