/**
 * Two sites with a gateway each, on real namespaces with an emulated path between them, run as their
 * users run them (`smfs netem up`, `smfs gateway up`), and TCP traffic in processes of its own.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { askControl } from "../../cli/control.ts";
import { type Child, until } from "../../cli/demo/processes.ts";
import type { GatewayStatus } from "../../gateway/appliance/gateway.ts";
import { writeKeyFile } from "../../gateway/udp/keys.ts";
import { SmfsError } from "../../lib/errors.ts";
import { MAIN, type Scene } from "./harness.ts";
import { HOST_A, HOST_B, TunWorld } from "./tun-world.ts";

const TRAFFIC = fileURLToPath(new URL("../../dist/test/e2e/gateway-traffic.js", import.meta.url));
const PORT = 7100;
export const TRAFFIC_PORT = 5001;
const WAN = { a: HOST_A, b: HOST_B } as const;
const WAN_SIX = { a: "2001:2::1", b: "2001:2::2" } as const;
/** Inside the tunnel. */
export const INNER = { a: "10.99.0.1", b: "10.99.0.2" } as const;
export const INNER_SIX = { a: "fd99::1", b: "fd99::2" } as const;

export type Site = "a" | "b";

export interface GatewayOptions {
  readonly mode?: "tunnel" | "transparent";
  /** Of the emulated path. */
  readonly path?: readonly string[];
  /** Datagrams of the gateways. */
  readonly outside?: 4 | 6;
  /** More lines of the peer's section. */
  readonly peer?: string;
  /** Site b has another key. */
  readonly keys?: "same" | "different";
}

export class GatewayWorld {
  readonly path: TunWorld;
  readonly gateways: Record<Site, Child>;
  readonly traffic: Child[] = [];
  private readonly scene: Scene;
  private readonly directory: string;

  private constructor(
    scene: Scene,
    directory: string,
    path: TunWorld,
    gateways: Record<Site, Child>,
  ) {
    this.scene = scene;
    this.directory = directory;
    this.path = path;
    this.gateways = gateways;
  }

  /** Both gateways run; they may not know one another yet. */
  static async start(
    scene: Scene,
    name: string,
    options: GatewayOptions = {},
  ): Promise<GatewayWorld> {
    const directory = scene.folder(name);
    const path = await TunWorld.open(scene, options.path ?? ["--delay", "5ms"]);
    for (const site of ["a", "b"] as const) {
      const isDifferent = options.keys === "different" || site === "a";
      if (isDifferent) writeKeyFile(`${directory}/${site}.key`);
      writeFileSync(`${directory}/${site}.toml`, configOf(directory, site, options));
    }
    const start = (site: Site): Child =>
      scene.start(
        `gateway ${site}`,
        ["gateway", "up", "--config", `${directory}/${site}.toml`],
        MAIN,
        ["ip", "netns", "exec", path.names[site]],
      );
    return new GatewayWorld(scene, directory, path, { b: start("b"), a: start("a") });
  }

  /** As `start`, and the association is up. */
  static async open(
    scene: Scene,
    name: string,
    options: GatewayOptions = {},
  ): Promise<GatewayWorld> {
    const world = await GatewayWorld.start(scene, name, options);
    const { a, b } = world.gateways;
    await until("the gateways meet", [a, b], async () => {
      const states = [await world.statusOrNull("a"), await world.statusOrNull("b")];
      return states.every((state) => state?.peers[0]?.state === "up") ? true : undefined;
    });
    return world;
  }

  control(site: Site): string {
    return `${this.directory}/${site}.sock`;
  }

  flowSocket(site: Site): string {
    return `${this.directory}/${site}.flows`;
  }

  status(site: Site): Promise<GatewayStatus> {
    return askControl<GatewayStatus>(this.control(site), "GET /status");
  }

  private async statusOrNull(site: Site): Promise<GatewayStatus | null> {
    try {
      return await this.status(site);
    } catch (error) {
      if (error instanceof SmfsError && error.code === "UNREACHABLE") return null;
      throw error;
    }
  }

  /** The one peer of a site, as its counters stand after the data plane has written them. */
  async peer(site: Site) {
    const { peers } = await this.status(site);
    const [peer] = peers;
    if (peer === undefined) throw new Error("the gateway has no peer");
    return peer;
  }

  /** What a shell command prints at a site. */
  inside(site: Site, command: string): string {
    const args = ["netns", "exec", this.path.names[site], "sh", "-c", command];
    return spawnSync("ip", args, { encoding: "utf8" }).stdout;
  }

  /** Rewrites a site's configuration. */
  edit(site: Site, change: (text: string) => string): void {
    const path = `${this.directory}/${site}.toml`;
    writeFileSync(path, change(readFileSync(path, "utf8")));
  }

  /** Runs a role of `gateway-traffic.ts` at a site. */
  run(site: Site, ...args: readonly string[]): Traffic {
    const launcher = ["ip", "netns", "exec", this.path.names[site]];
    const child = this.scene.start(`${args[0]} at ${site}`, args, TRAFFIC, launcher);
    this.traffic.push(child);
    return new Traffic(child);
  }

  /** Sends so many bytes from a to b; what the two ends saw. */
  async transfer(bytes: number, host: string): Promise<{ sent: Line; received: Line }> {
    const sink = this.run("b", "sink", host, String(TRAFFIC_PORT));
    await sink.line((line) => line.listening === true);
    const source = this.run("a", "source", host, String(TRAFFIC_PORT), String(bytes));
    const received = await sink.line((line) => line.digest !== undefined);
    const sent = await source.line((line) => line.digest !== undefined);
    sink.child.kill("SIGTERM");
    await sink.child.exited;
    return { sent, received };
  }

  async close(): Promise<void> {
    for (const child of this.traffic) child.kill("SIGKILL");
    await Promise.all([this.gateways.a.stop(), this.gateways.b.stop()]);
    await this.path.end();
  }
}

export interface Line {
  readonly listening?: boolean;
  readonly local?: string;
  readonly received?: number;
  readonly bytes?: number;
  readonly digest?: string;
  readonly error?: string;
}

export class Traffic {
  readonly child: Child;
  /** The last of each kind that was told. */
  readonly lines: Line[] = [];

  constructor(child: Child) {
    this.child = child;
    child.eachLine((text) => this.lines.push(JSON.parse(text) as Line));
  }

  /** The first line for which it holds. */
  line(holds: (line: Line) => boolean, timeoutMillis = 30_000): Promise<Line> {
    const find = async (): Promise<Line | undefined> => this.lines.find(holds);
    return until(`${this.child.name} tells`, [], find, timeoutMillis);
  }
}

function configOf(directory: string, site: Site, options: GatewayOptions): string {
  const { mode = "tunnel", outside = 4, keys = "same", peer = "" } = options;
  const other = site === "a" ? "b" : "a";
  const wan = outside === 4 ? WAN : WAN_SIX;
  const bracketed = outside === 4 ? wan.b : `[${wan.b}]`;
  const any = outside === 4 ? "0.0.0.0" : "[::]";
  const isTunnel = mode === "tunnel";
  const prefixes = isTunnel ? [INNER[other], INNER_SIX[other]] : [WAN[other], WAN_SIX[other]];
  const addresses = [`${INNER[site]}/32`, `${INNER_SIX[site]}/128`];
  return `
[gateway]
mode = "${mode}"
interface = "${isTunnel ? "smfs0" : "wan0"}"
${isTunnel ? `addresses = ${JSON.stringify(addresses)}` : ""}
control = "${directory}/${site}.sock"
flows = "${directory}/${site}.flows"
[peer.other]
${site === "a" ? `peer = "${bracketed}:${PORT}"` : `listen = "${any}:${PORT}"`}
key_file = "${directory}/${keys === "same" ? "a" : site}.key"
prefixes = ${JSON.stringify(prefixes)}
${peer}
`;
}
