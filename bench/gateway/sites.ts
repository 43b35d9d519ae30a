/**
 * Two network namespaces with an emulated path between them (`smfs netem up`): the two sites of the
 * gateway's benchmark. Commands are run inside them with ip(8).
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { Child, Dialogue } from "../../cli/demo/processes.ts";

export type Site = "a" | "b";

/** What `smfs netem up` gives its two ends. */
export const HOSTS = { a: "198.18.0.1", b: "198.18.0.2" } as const;

/** tcp(7): the defaults hold less than 1 Gbit/s for 100 ms there and back. */
const SOCKET_BUFFER = "4096 131072 67108864";

export interface PathSettings {
  readonly delay: string;
  readonly rate: string;
}

/** A loss as `smfs netem` takes it: a share, and for bursts their mean length in packets. */
export interface LossSetting {
  readonly loss: string;
  readonly burst: number;
}

export class Sites {
  readonly path: Child;
  private readonly names: Readonly<Record<Site, string>>;
  private readonly dialogue: Dialogue;

  private constructor(path: Child, names: Readonly<Record<Site, string>>, dialogue: Dialogue) {
    this.path = path;
    this.names = names;
    this.dialogue = dialogue;
  }

  static async open({ delay, rate }: PathSettings): Promise<Sites> {
    const names = { a: `smfs-bench-${process.pid}-a`, b: `smfs-bench-${process.pid}-b` };
    const settings = ["--delay", delay, "--rate", rate];
    const between = ["--between", `${names.a},${names.b}`];
    const path = Child.smfs("path", ["netem", "up", ...between, "--json", ...settings]);
    const dialogue = await new Promise<Dialogue>((resolve, reject) => {
      const made = new Dialogue(path, () => resolve(made));
      void path.closed.then(() => reject(new Error(`the path has ended: ${path.lastWords}`)));
    });
    const sites = new Sites(path, names, dialogue);
    for (const site of ["a", "b"] as const) {
      for (const name of ["tcp_rmem", "tcp_wmem"]) {
        const write = `echo ${SOCKET_BUFFER} > /proc/sys/net/ipv4/${name}`;
        await sites.output(site, ["sh", "-c", write]);
      }
    }
    return sites;
  }

  async setLoss(setting: LossSetting): Promise<void> {
    await this.dialogue.ask({ set: setting });
  }

  /** Words to put before a command so that it runs at a site. */
  launcher(site: Site): readonly string[] {
    return ["ip", "netns", "exec", this.names[site]];
  }

  /** A process at a site that runs until it is killed. */
  start(site: Site, command: readonly string[]): ChildProcess {
    const [first = "", ...rest] = [...this.launcher(site), ...command];
    return spawn(first, rest, { stdio: "ignore" });
  }

  /** What a command at a site writes. Throws when it fails. */
  async output(site: Site, command: readonly string[]): Promise<string> {
    const [first = "", ...rest] = [...this.launcher(site), ...command];
    const child = spawn(first, rest, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`${command.join(" ")} failed (${code}): ${errors}${text}`);
    return text;
  }

  async close(): Promise<void> {
    await this.path.stop();
  }
}

/** Whether a program is installed. */
export function isInstalled(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}
