/**
 * An emulated path between two namespaces, run as its users run it (`smfs netem up`), with a UDP
 * socket of this process at either end: one clock for both.
 */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type Child, until } from "../../cli/demo/processes.ts";
import type { ControlReply, StatisticsReply } from "../../netem/control/control.ts";
import { sweep } from "../../netem/tun/site.ts";
import { Receiver, Sender } from "../../sys/datagrams.ts";
import { inNamespace } from "../../sys/netns.ts";
import { PollSet } from "../../sys/poll.ts";
import { UdpSocket } from "../../sys/udp-socket.ts";
import { namespaceName, whyNoNamespaces } from "../namespaces.ts";
import { MAIN, type Scene } from "./harness.ts";

export const HOST_A = "198.18.0.1";
export const HOST_B = "198.18.0.2";
const BUFFER_BYTES = 64 * 2 ** 20;
const MAX_DATAGRAM_BYTES = 2000;
const BATCH = 64;
/** Nothing that was sent is this late unless it was lost. */
const GIVE_UP_MICROS = 3e6;

/** Why no path between namespaces can be had; undefined when it can. */
export function whyNoPath(): string | undefined {
  return existsSync(MAIN) ? (whyNoNamespaces() ?? undefined) : "not built: run npm run build";
}

export interface Names {
  readonly a: string;
  readonly b: string;
}

export function twoNames(): Names {
  return { a: namespaceName(), b: namespaceName() };
}

export class TunWorld {
  readonly names: Names;
  readonly child: Child;
  private readonly lines: AsyncIterator<string>;

  private static readonly opened: TunWorld[] = [];

  /** After a test, however it ended. */
  static async closeAll(): Promise<void> {
    for (const { child, names } of TunWorld.opened.splice(0)) {
      child.kill("SIGKILL");
      await child.exited;
      for (const name of [names.a, names.b]) sweep(name);
    }
  }

  /** Use `open`. */
  constructor(child: Child, names: Names) {
    this.child = child;
    this.names = names;
    const output = child.process.stdout;
    if (output === null) throw new Error("the child has no output");
    this.lines = createInterface({ input: output })[Symbol.asyncIterator]();
  }

  /** Running, and carrying packets. */
  static async open(scene: Scene, args: readonly string[], names = twoNames()): Promise<TunWorld> {
    const between = ["--between", `${names.a},${names.b}`];
    const child = scene.start("the path", ["netem", "up", ...between, "--json", ...args]);
    const world = new TunWorld(child, names);
    TunWorld.opened.push(world);
    await world.line();
    return world;
  }

  private async line(): Promise<unknown> {
    const { value, done } = await this.lines.next();
    if (done === true) throw new Error(`the path has ended: ${this.child.lastWords}`);
    return JSON.parse(value);
  }

  async ask(command: object): Promise<ControlReply> {
    this.child.send(JSON.stringify(command));
    return (await this.line()) as ControlReply;
  }

  async statistics(): Promise<StatisticsReply & { deviceDrops?: number }> {
    const reply = await this.ask({ stats: true });
    if (reply.ok && reply.statistics !== undefined) return reply.statistics;
    throw new Error(JSON.stringify(reply));
  }

  /** Ends with its input, as under a program. */
  async end(): Promise<void> {
    this.child.process.stdin?.end();
    await this.child.exited;
  }

  /** Stops every thread, and waits until the last one has. */
  async suspend(): Promise<void> {
    const { pid } = this.child.process;
    this.child.kill("SIGSTOP");
    const isStopped = async () => (/^State:\tT/m.test(statusOf(pid)) ? true : undefined);
    await until("the path stops", [this.child], isStopped);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.child.exited;
  }

  probes(hosts: { a: string; b: string } = { a: HOST_A, b: HOST_B }): Probes {
    const { a, b } = this.names;
    const toB = inNamespace(b, () => socketAt(hosts.b));
    const peer = toB.address;
    const fromA = inNamespace(a, () => socketAt(hosts.a, peer));
    return new Probes(fromA, toB);
  }
}

function socketAt(host: string, peer?: { host: string; port: number }): UdpSocket {
  const local = { host, port: 0 };
  const bufferBytes = BUFFER_BYTES;
  return new UdpSocket(peer === undefined ? { local, bufferBytes } : { local, peer, bufferBytes });
}

export interface Arrival {
  readonly index: number;
  readonly sentMicros: number;
  readonly atMicros: number;
}

function nowMicros(): number {
  return performance.now() * 1000;
}

/** Numbered, stamped datagrams from A to B, without an event loop in between. */
export class Probes {
  readonly arrivals: Arrival[] = [];
  private readonly fromA: UdpSocket;
  private readonly toB: UdpSocket;
  private readonly sender = new Sender(BATCH, MAX_DATAGRAM_BYTES);
  private readonly receiver = new Receiver(BATCH, MAX_DATAGRAM_BYTES);
  private readonly poll: PollSet;
  private next = 0;

  constructor(fromA: UdpSocket, toB: UdpSocket) {
    this.fromA = fromA;
    this.toB = toB;
    this.poll = new PollSet([toB.fd]);
  }

  /** So many, one every `gapMicros`; what has arrived by then is taken. */
  send(count: number, bytes: number, gapMicros: number): void {
    const startMicros = nowMicros();
    for (let i = 0; i < count; i++) {
      this.receiveUntil(startMicros + i * gapMicros);
      this.sendBatch(1, bytes);
    }
  }

  /** So many, in batches, as fast as they leave or as is said. */
  blast(count: number, bytes: number, packetsPerSecond = Infinity): void {
    const startMicros = nowMicros();
    for (let sent = 0; sent < count; sent += BATCH) {
      this.receiveUntil(startMicros + (sent * 1e6) / packetsPerSecond);
      this.sendBatch(Math.min(BATCH, count - sent), bytes);
      this.receive();
    }
  }

  /** Takes what still comes, up to so many in all. */
  drain(count: number): void {
    let lastMicros = nowMicros();
    while (this.arrivals.length < count && nowMicros() - lastMicros < GIVE_UP_MICROS) {
      if (this.poll.wait(GIVE_UP_MICROS) > 0 && this.receive() > 0) lastMicros = nowMicros();
    }
  }

  close(): void {
    this.fromA.close();
    this.toB.close();
  }

  private sendBatch(count: number, bytes: number): void {
    for (let i = 0; i < count; i++) {
      const datagram = new Uint8Array(bytes);
      const view = new DataView(datagram.buffer);
      view.setUint32(0, this.next++);
      view.setFloat64(4, nowMicros());
      this.sender.push(datagram, null);
    }
    this.sender.flush(this.fromA.fd, () => {
      throw new Error("no room to send");
    });
  }

  private receiveUntil(micros: number): void {
    for (let left = micros - nowMicros(); left > 0; left = micros - nowMicros()) {
      if (this.poll.wait(left) > 0) this.receive();
    }
  }

  private receive(): number {
    const count = this.receiver.receive(this.toB.fd);
    const atMicros = nowMicros();
    for (let i = 0; i < count; i++) {
      const datagram = this.receiver.datagram(i);
      const view = new DataView(datagram.buffer, datagram.byteOffset);
      this.arrivals.push({ index: view.getUint32(0), sentMicros: view.getFloat64(4), atMicros });
    }
    return count;
  }
}

/** proc_pid_status(5). The process counts as stopped when its last thread is. */
function statusOf(pid: number | undefined): string {
  return readFileSync(`/proc/${pid}/status`, "utf8");
}

/** Measures until it is below `limit`, at most `rounds` times; the least of what was measured. */
export function leastOf(rounds: number, limit: number, measure: () => number): number {
  let least = Infinity;
  for (let round = 0; round < rounds && !(least < limit); round++) {
    least = Math.min(least, measure());
  }
  return least;
}

/** The median of what `of` gives. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((x, y) => x - y);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** A path that a test can wait for the end of: `exited` of the child, and its exit code. */
export async function exitCode(child: Child): Promise<number | null> {
  if (child.process.exitCode === null) await once(child.process, "close");
  return child.process.exitCode;
}
