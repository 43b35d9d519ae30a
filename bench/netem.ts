/**
 * What the shells of the emulated path carry: datagrams through the relay, datagrams and one TCP
 * flow between two namespaces (root), with the processor time of the path's process. The datagrams
 * are sent and received by one thread without an event loop, with a window, so that nothing is lost
 * in front of the path; sending and receiving take about as long as the path itself.
 */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { Child } from "../cli/demo/processes.ts";
import { CoalescedReceiver } from "../sys/coalesced-receiver.ts";
import { Sender } from "../sys/datagrams.ts";
import { inNamespace } from "../sys/netns.ts";
import { PollSet } from "../sys/poll.ts";
import { UdpSocket } from "../sys/udp-socket.ts";
import { cpuSecondsOf } from "./meter.ts";

const HOSTS = { a: "198.18.0.1", b: "198.18.0.2" };
const LOCAL = "127.0.0.1";
const NAMES = { a: `smfs-bench-${process.pid}-a`, b: `smfs-bench-${process.pid}-b` };
const TCP_PORT = 5001;
/** Longest UDP payload of an Ethernet packet over IPv4, less what a tunnel would add. */
const DATAGRAM_BYTES = 1400;
/** Under way at once: less than the device's queue takes. */
const WINDOW = 2000;
const BATCH = 64;
const BUFFER_BYTES = 32 * 2 ** 20;
/** A window that has not moved for this long has lost a datagram. */
const STALL_MICROS = 200_000;

interface Carried {
  readonly packetsPerSecond: number;
  readonly megabitsPerSecond: number;
  /** Of the path's process, microseconds a packet, and as a share of one core. */
  readonly cpuMicrosPerPacket: number;
  readonly cores: number;
  readonly lost: number;
}

interface Flow {
  readonly delay: string;
  readonly rate: string;
  readonly megabitsPerSecond: number;
  readonly cores: number;
}

export interface NetemResult {
  readonly relay: Carried;
  /** Null where there are no namespaces to be had. */
  readonly between: Carried | null;
  readonly tcp: readonly Flow[];
  readonly lacking: readonly string[];
}

export async function run({ seconds }: { seconds: number }): Promise<NetemResult> {
  const relay = await measureRelay(seconds);
  if (process.getuid?.() !== 0) {
    return { relay, between: null, tcp: [], lacking: ["root: no namespaces were measured"] };
  }
  const between = await measureBetween(seconds);
  const tcp: Flow[] = [];
  for (const [delay, rate] of [
    ["0ms", "none"],
    ["1ms", "none"],
    ["25ms", "1gbit"],
  ] as const) {
    tcp.push(await measureTcp(delay, rate, seconds));
  }
  return { relay, between, tcp, lacking: [] };
}

async function measureRelay(seconds: number): Promise<Carried> {
  const to = new UdpSocket({ local: { host: LOCAL, port: 0 }, ...RECEIVING });
  const peer = `${LOCAL}:${to.address.port}`;
  const path = Child.smfs("relay", ["netem", "--listen", `${LOCAL}:0`, "--peer", peer, "--json"]);
  const { listening } = (await nextLine(path)) as { listening: { host: string; port: number } };
  const from = new UdpSocket({ local: { host: LOCAL, port: 0 }, peer: listening, ...SENDING });
  return measured(path, from, to, seconds);
}

async function measureBetween(seconds: number): Promise<Carried> {
  const path = await up([]);
  const to = inNamespace(NAMES.b, () => {
    return new UdpSocket({ local: { host: HOSTS.b, port: 0 }, ...RECEIVING });
  });
  const peer = to.address;
  const from = inNamespace(NAMES.a, () => {
    return new UdpSocket({ local: { host: HOSTS.a, port: 0 }, peer, ...SENDING });
  });
  return measured(path, from, to, seconds);
}

const SENDING = { bufferBytes: BUFFER_BYTES };
const RECEIVING = { bufferBytes: BUFFER_BYTES, arrive: "together" } as const;

async function measured(
  path: Child,
  from: UdpSocket,
  to: UdpSocket,
  seconds: number,
): Promise<Carried> {
  try {
    const pid = path.process.pid ?? 0;
    const before = cpuSecondsOf(pid);
    const { received, sent, elapsed } = blast(from, to, seconds);
    const cpu = cpuSecondsOf(pid) - before;
    const lost = sent - received - drain(to);
    return {
      packetsPerSecond: received / elapsed,
      megabitsPerSecond: (received * DATAGRAM_BYTES * 8) / 1e6 / elapsed,
      cpuMicrosPerPacket: (cpu * 1e6) / received,
      cores: cpu / elapsed,
      lost,
    };
  } finally {
    from.close();
    to.close();
    await path.stop();
  }
}

/** Keeps a window under way for so long. */
function blast(from: UdpSocket, to: UdpSocket, seconds: number) {
  const sender = new Sender(BATCH, DATAGRAM_BYTES);
  const receiver = new CoalescedReceiver(BATCH);
  const poll = new PollSet([to.fd]);
  const datagram = new Uint8Array(DATAGRAM_BYTES);
  const began = performance.now();
  let [sent, received, forgiven] = [0, 0, 0];
  while (performance.now() - began < seconds * 1000) {
    while (sent - received - forgiven <= WINDOW - BATCH) {
      for (let i = 0; i < BATCH; i++) sender.push(datagram, null);
      sender.flush(from.fd, () => sent--);
      sent += BATCH;
    }
    if (poll.wait(STALL_MICROS) === 0) forgiven = sent - received;
    received += receiver.receive(to.fd);
  }
  return { sent, received, elapsed: (performance.now() - began) / 1000 };
}

/** What was under way at the end. */
function drain(to: UdpSocket): number {
  const receiver = new CoalescedReceiver(BATCH);
  const poll = new PollSet([to.fd]);
  let count = 0;
  while (poll.wait(STALL_MICROS) > 0) count += receiver.receive(to.fd);
  return count;
}

async function measureTcp(delay: string, rate: string, seconds: number): Promise<Flow> {
  const path = await up(["--delay", delay, "--rate", rate]);
  const ends = ["receive", "send"].map((role) => {
    const name = role === "send" ? NAMES.a : NAMES.b;
    const args = ["netem-end", role, "--seconds", String(seconds)];
    return () => new Child(role, MAIN, args, ["ip", "netns", "exec", name]);
  });
  const [startReceiver, startSender] = ends as [() => Child, () => Child];
  const receiver = startReceiver();
  try {
    await nextLine(receiver);
    const pid = path.process.pid ?? 0;
    const before = cpuSecondsOf(pid);
    const sender = startSender();
    const result = await nextLine(receiver);
    await sender.exited;
    const { bytes, elapsed } = result as { bytes: number; elapsed: number };
    const cores = (cpuSecondsOf(pid) - before) / elapsed;
    return { delay, rate, megabitsPerSecond: (bytes * 8) / 1e6 / elapsed, cores };
  } finally {
    await receiver.stop();
    await path.stop();
  }
}

const MAIN = new URL("main.js", import.meta.url).pathname;

/** One end of the TCP flow, in a process of its own inside its namespace. */
export async function runEnd(role: string, seconds: number): Promise<void> {
  // tcp(7): the defaults hold less than 1 Gbit/s for 50 ms.
  for (const name of ["tcp_rmem", "tcp_wmem"]) {
    writeFileSync(`/proc/sys/net/ipv4/${name}`, `4096 131072 ${2 * BUFFER_BYTES}`);
  }
  if (role === "send") return send(seconds);
  const server = createServer();
  server.listen(TCP_PORT, HOSTS.b);
  await once(server, "listening");
  process.stdout.write("{}\n");
  const [socket] = (await once(server, "connection")) as [AsyncIterable<Buffer>];
  server.close();
  const began = performance.now();
  let bytes = 0;
  for await (const chunk of socket) bytes += chunk.length;
  const elapsed = (performance.now() - began) / 1000;
  process.stdout.write(`${JSON.stringify({ bytes, elapsed })}\n`);
}

async function send(seconds: number): Promise<void> {
  const socket = createConnection(TCP_PORT, HOSTS.b);
  await once(socket, "connect");
  const chunk = new Uint8Array(256 * 1024);
  const began = performance.now();
  while (performance.now() - began < seconds * 1000) {
    if (!socket.write(chunk)) await once(socket, "drain");
  }
  socket.end();
  await once(socket, "close");
}

async function up(args: readonly string[]): Promise<Child> {
  const between = ["--between", `${NAMES.a},${NAMES.b}`];
  const path = Child.smfs("path", ["netem", "up", ...between, "--json", ...args]);
  await nextLine(path);
  return path;
}

async function nextLine(child: Child): Promise<unknown> {
  const line = new Promise<string>((resolve) => child.eachLine(resolve));
  const ended = child.closed.then((): never => {
    throw new Error(`${child.name} has ended: ${child.lastWords}`);
  });
  return JSON.parse(await Promise.race([line, ended]));
}
