/**
 * Goodput of the embedded transport over loopback, beside a bare dgram blast with datagrams of the
 * same size: what Node's UDP gives at most. The receiver runs in a thread of its own; loss is a
 * seeded drop in front of the receiving link. Everything in one run, so that ratios mean something.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  isMainThread,
  type MessagePort,
  parentPort,
  Worker,
  workerData,
} from "node:worker_threads";
import { assert } from "../lib/assert.ts";
import type { Logger } from "../lib/ports.ts";
import { Prng } from "../lib/prng.ts";
import { DEFAULT_CONFIG } from "../gateway/core/transport/config.ts";
import type { LinkHandler } from "../gateway/core/transport/link.ts";
import { widenBuffers } from "../sys/datagram-socket.ts";
import { UdpLink } from "../gateway/udp/endpoint.ts";
import { type LinkSocket, TransportSocket } from "../gateway/udp/socket.ts";

export interface TransportBenchOptions {
  /** Of each part. */
  readonly seconds?: number;
  readonly lossShares?: readonly number[];
}

const DEFAULT_SECONDS = 2.5;
const KEY = new Uint8Array(32).fill(1);
const CHUNK = new Uint8Array(65536);
const BLAST_BATCH = 64;
/** As the link's. */
const BLAST_BUFFER_BYTES = 8 * 2 ** 20;
/** Not what limits: the question is what the code can do. */
const RATE_BITS_PER_SECOND = 3e9;
const LOOPBACK = { host: "127.0.0.1", port: 0, family: 4 } as const;

interface Task {
  readonly kind: "blast" | "link";
  readonly lossShare: number;
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Goodput in megabits of payload per second, and shares of the blast. */
export async function run(options: TransportBenchOptions = {}) {
  const seconds = options.seconds ?? DEFAULT_SECONDS;
  const blastMegabits = await measure({ kind: "blast", lossShare: 0 }, seconds, blast);
  const links = [];
  for (const lossShare of options.lossShares ?? [0, 0.01]) {
    let statistics = {};
    const megabits = await measure({ kind: "link", lossShare }, seconds, async (port, millis) => {
      statistics = await stream(port, millis);
    });
    links.push({ lossShare, megabits, shareOfBlast: megabits / blastMegabits, statistics });
  }
  return { datagramBytes: DEFAULT_CONFIG.datagramBytes, seconds, blastMegabits, links };
}

/** Runs a sender against a receiving thread; what the receiver took in, megabits per second. */
async function measure(
  task: Task,
  seconds: number,
  send: (port: number, millis: number) => Promise<void>,
): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  try {
    const [{ port }] = (await once(worker, "message")) as [{ port: number }];
    await send(port, seconds * 1000);
    worker.postMessage("report");
    const [{ bytes, millis }] = (await once(worker, "message")) as [
      { bytes: number; millis: number },
    ];
    return (bytes * 8) / 1000 / millis;
  } finally {
    await worker.terminate();
  }
}

/** As fast as the socket takes them, yielding to the loop after each batch. */
async function blast(port: number, millis: number): Promise<void> {
  const socket = createSocket("udp4");
  socket.connect(port, LOOPBACK.host);
  await once(socket, "connect");
  const datagram = new Uint8Array(DEFAULT_CONFIG.datagramBytes);
  const end = performance.now() + millis;
  while (performance.now() < end) {
    for (let i = 0; i < BLAST_BATCH; i++) socket.send(datagram);
    await new Promise(setImmediate);
  }
  socket.close();
}

/** Keeps the link's buffer full; the sender's statistics. */
async function stream(port: number, millis: number): Promise<object> {
  const fill = (): void => {
    while (link.writableBytes >= CHUNK.length) link.write(CHUNK);
  };
  const handler: LinkHandler = {
    onUp: fill,
    onDown() {},
    onData() {},
    onWritable: fill,
    onProgress() {},
  };
  const socket = await TransportSocket.open(null, { ...LOOPBACK, port }, silent);
  const config = { rateBitsPerSecond: RATE_BITS_PER_SECOND };
  const link = new UdpLink({ key: KEY, config, handler, logger: silent }, socket, "the receiver");
  await new Promise((resolve) => setTimeout(resolve, millis));
  const statistics = { ...link.statistics };
  link.close();
  return statistics;
}

/** The receiving thread: counts payload between the first byte and the last. */
async function receive(task: Task, parent: MessagePort): Promise<void> {
  let bytes = 0;
  let first = 0;
  let last = 0;
  const count = (length: number): void => {
    last = performance.now();
    if (first === 0) first = last;
    bytes += length;
  };
  parent.on("message", () => parent.postMessage({ bytes, millis: last - first }));
  const port = task.kind === "blast" ? await receiveBlast(count) : await receiveLink(task, count);
  parent.postMessage({ port });
}

async function receiveBlast(count: (length: number) => void): Promise<number> {
  const socket = createSocket("udp4", (datagram) => count(datagram.length));
  socket.bind(LOOPBACK.port, LOOPBACK.host);
  await once(socket, "listening");
  widenBuffers(socket, BLAST_BUFFER_BYTES);
  return socket.address().port;
}

async function receiveLink(task: Task, count: (length: number) => void): Promise<number> {
  const socket = await TransportSocket.open(LOOPBACK, null, silent);
  const lossy = dropping(socket, task.lossShare);
  const handler: LinkHandler = {
    onUp() {},
    onDown() {},
    onData: (data) => count(data.length),
    onWritable() {},
    onProgress() {},
  };
  const link = new UdpLink({ key: KEY, handler, logger: silent }, lossy, null);
  assert(!link.up, "a link that listens waits to be called");
  return socket.localPort;
}

/** Loses a share of what arrives, always the same for one seed. */
function dropping(socket: TransportSocket, share: number): LinkSocket {
  const prng = new Prng(1);
  return {
    statistics: socket.statistics,
    localPort: socket.localPort,
    get queuedDatagrams() {
      return socket.queuedDatagrams;
    },
    get isBlocked() {
      return socket.isBlocked;
    },
    listen: (handle, onBatchEnd) =>
      socket.listen(
        (datagram, source) => (prng.chance(share) ? "unknown" : handle(datagram, source)),
        onBatchEnd,
      ),
    send: (datagram, to) => socket.send(datagram, to),
    flush: () => socket.flush(),
    watchLength: (onTooLong) => socket.watchLength(onTooLong),
    close: () => socket.close(),
  };
}

if (!isMainThread && parentPort !== null) await receive(workerData as Task, parentPort);
