/**
 * What is sent between the two sites: bulk by iperf3 (Debian), and small messages over one TCP
 * connection, each with the time at which it was due. Both sites are on one machine, so one clock
 * (CLOCK_MONOTONIC) measures the way there.
 */
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { Child, pause } from "../../cli/demo/processes.ts";
import { cpuSecondsOf } from "../meter.ts";
import { type Arrangement, PORT } from "./arrangements.ts";
import type { Sites } from "./sites.ts";

export type CongestionControl = "cubic" | "reno" | "bbr";

export interface BulkOrder {
  readonly congestion: CongestionControl;
  readonly flows: number;
  readonly seconds: number;
}

export interface Bulk {
  readonly megabitsPerSecond: number;
  /** Processor seconds of what stands between, both sides, for each gigabit carried. */
  readonly cpuSecondsPerGigabit: number;
  readonly retransmits: number;
}

/** Not measured: slow start. */
const WARM_UP_SECONDS = 3;

export async function measureBulk(
  sites: Sites,
  arrangement: Arrangement,
  { congestion, flows, seconds }: BulkOrder,
): Promise<Bulk> {
  const { target, listenHost, pids } = arrangement;
  const server = sites.start("b", ["iperf3", "-s", "-1", "-B", listenHost, "-p", String(PORT)]);
  await pause(300);
  const before = cpuOf(pids);
  try {
    const text = await sites.output("a", [
      ...["iperf3", "--json", "-c", target.host, "-p", String(target.port), "-C", congestion],
      ...["-P", String(flows), "-O", String(WARM_UP_SECONDS), "-t", String(seconds)],
    ]);
    const { end } = JSON.parse(text) as IperfReport;
    const { sum_received: received, sum_sent: sent } = end;
    const gigabits = (received.bits_per_second * (seconds + WARM_UP_SECONDS)) / 1e9;
    return {
      megabitsPerSecond: received.bits_per_second / 1e6,
      cpuSecondsPerGigabit: (cpuOf(pids) - before) / gigabits,
      retransmits: sent.retransmits ?? 0,
    };
  } finally {
    server.kill("SIGKILL");
  }
}

interface IperfReport {
  readonly end: {
    readonly sum_received: { readonly bits_per_second: number };
    readonly sum_sent: { readonly retransmits?: number };
  };
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

// ---- messages -----------------------------------------------------------------------------------

export interface MessageOrder {
  readonly bytes: number;
  readonly perSecond: number;
  readonly seconds: number;
}

/** From the moment a message was due to its last byte at the other site, milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly messages: number;
}

const BENCH = new URL("../main.js", import.meta.url).pathname;

export async function measureMessages(
  sites: Sites,
  { target, listenHost }: Arrangement,
  order: MessageOrder,
): Promise<Latency> {
  const words = [String(order.bytes), String(order.perSecond), String(order.seconds)];
  const listening = ["message-end", "receive", listenHost, String(PORT), ...words];
  const receiver = new Child("receiver", BENCH, listening, sites.launcher("b"));
  const results: string[] = [];
  receiver.eachLine((line) => results.push(line));
  await pause(700);
  const sending = ["message-end", "send", target.host, String(target.port), ...words];
  const sender = new Child("sender", BENCH, sending, sites.launcher("a"));
  await sender.exited;
  await receiver.closed;
  const last = results.at(-1);
  if (last === undefined) throw new Error(`no messages: ${sender.lastWords}${receiver.lastWords}`);
  return JSON.parse(last) as Latency;
}

/** One end, in a process of its own inside its namespace. */
export async function runMessageEnd(
  role: string,
  host: string,
  port: number,
  order: MessageOrder,
): Promise<void> {
  if (role === "send") await sendMessages(createConnection(port, host), order);
  else process.stdout.write(`${JSON.stringify(await receiveMessages(host, port, order))}\n`);
}

const TICK_MILLIS = 1;

async function sendMessages(socket: Socket, order: MessageOrder): Promise<void> {
  await once(socket, "connect");
  socket.setNoDelay(true);
  const spacing = BigInt(Math.round(1e9 / order.perSecond));
  const count = order.perSecond * order.seconds;
  const began = process.hrtime.bigint();
  for (let sent = 0; sent < count; ) {
    const due = began + BigInt(sent) * spacing;
    if (process.hrtime.bigint() < due) {
      await pause(TICK_MILLIS);
      continue;
    }
    const message = Buffer.alloc(order.bytes);
    message.writeBigUInt64LE(due);
    if (!socket.write(message)) await once(socket, "drain");
    sent++;
  }
  socket.end();
  await once(socket, "close");
}

async function receiveMessages(host: string, port: number, order: MessageOrder): Promise<Latency> {
  const server = createServer();
  server.listen(port, host);
  await once(server, "listening");
  const [socket] = (await once(server, "connection")) as [Socket];
  server.close();
  const latencies: number[] = [];
  let pending = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    const now = process.hrtime.bigint();
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= order.bytes) {
      latencies.push(Number(now - pending.readBigUInt64LE()) / 1e6);
      pending = pending.subarray(order.bytes);
    }
  }
  return summary(latencies.slice(order.perSecond));
}

/** The first second was left out: the connection was starting. */
function summary(latencies: readonly number[]): Latency {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), messages: sorted.length };
}
