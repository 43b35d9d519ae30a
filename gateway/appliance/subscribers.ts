/**
 * The flow socket: any program on this machine hears how far its TCP connections are covered
 * (SMFS §3.2: the callback interface). A Unix socket for its owner only (mode 0600); lines of JSON.
 *
 *   gateway   {"event":"hello","version":1}
 *   program   {"subscribe":{"local":"10.1.0.2:40000"}}        local, remote, peer; all may be left out
 *   gateway   {"event":"flow","peer":…,"number":…,"local":…,"covered":[…],"risks":[…], …}
 *   gateway   {"event":"end", … ,"reason":"closed"}
 *
 * Updates are cumulative, so a program that reads slowly misses none that counts: while its socket is
 * full, the newest update of each flow is kept, and nothing else.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { FlowUpdate } from "./messages.ts";

const FLOW_PROTOCOL_VERSION = 1;
const MAX_SUBSCRIBERS = 64;
/** A subscription is one short line. */
const MAX_LINE_BYTES = 4096;
/** Flows whose newest update is kept for a slow subscriber. */
const MAX_PENDING = 8192;

interface FlowFilter {
  /** "10.1.0.2:40000", or an address without port for all its connections. */
  readonly local?: string;
  readonly remote?: string;
  readonly peer?: string;
}

export class Subscribers {
  private readonly server: Server;
  private readonly subscribers = new Set<Subscriber>();
  private readonly onWanted: (isWanted: boolean) => void;

  /** `onWanted` hears when somebody subscribes (each time: he wants to hear of all flows). */
  static listen(path: string, onWanted: (isWanted: boolean) => void): Promise<Subscribers> {
    // The control socket has been taken: nobody else runs this gateway.
    rmSync(path, { force: true });
    return new Promise((resolve, reject) => {
      const server = createServer();
      server.once("error", reject);
      server.listen(path, () => {
        chmodSync(path, 0o600);
        resolve(new Subscribers(server, onWanted));
      });
    });
  }

  private constructor(server: Server, onWanted: (isWanted: boolean) => void) {
    this.server = server;
    this.onWanted = onWanted;
    server.on("connection", (socket) => this.accept(socket));
  }

  get count(): number {
    return this.subscribers.size;
  }

  private accept(socket: Socket): void {
    if (this.subscribers.size >= MAX_SUBSCRIBERS) {
      socket.destroy();
      return;
    }
    const subscriber = new Subscriber(socket, () => this.onWanted(true));
    this.subscribers.add(subscriber);
    socket.on("close", () => {
      this.subscribers.delete(subscriber);
      if (this.subscribers.size === 0) this.onWanted(false);
    });
  }

  publish(updates: readonly FlowUpdate[]): void {
    for (const subscriber of this.subscribers) {
      for (const update of updates) subscriber.take(update);
    }
  }

  close(): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.close();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

class Subscriber {
  private readonly socket: Socket;
  /** Null until it has subscribed. */
  private filter: FlowFilter | null = null;
  private readonly pending = new Map<number, FlowUpdate>();
  private isFull = false;

  constructor(socket: Socket, onSubscribed: () => void) {
    this.socket = socket;
    // What it does wrong is its own loss, and closes the socket.
    socket.on("error", () => socket.destroy());
    socket.on("drain", () => this.drain());
    this.write({ event: "hello", version: FLOW_PROTOCOL_VERSION });
    let received = 0;
    socket.on("data", (chunk: Buffer) => {
      received = chunk.includes(10) ? 0 : received + chunk.length;
      if (received > MAX_LINE_BYTES) socket.destroy();
    });
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => {
      this.filter = parseFilter(line);
      if (this.filter === null) {
        this.write({ event: "error", message: 'write {"subscribe":{…}} with local, remote, peer' });
        socket.end();
      } else onSubscribed();
    });
  }

  take(update: FlowUpdate): void {
    if (this.filter === null || !matches(this.filter, update)) return;
    if (!this.isFull) this.send(update);
    else if (this.pending.has(update.number) || this.pending.size < MAX_PENDING) {
      this.pending.set(update.number, update);
    }
  }

  private send({ ended, ...update }: FlowUpdate): void {
    const event = ended === null ? { event: "flow" } : { event: "end", reason: ended };
    this.write({ ...event, ...update });
  }

  private write(fields: object): void {
    this.isFull = !this.socket.write(`${JSON.stringify(fields)}\n`);
  }

  private drain(): void {
    this.isFull = false;
    for (const [number, update] of this.pending) {
      if (this.isFull) return;
      this.pending.delete(number);
      this.send(update);
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Null for what is no subscription. */
function parseFilter(line: string): FlowFilter | null {
  try {
    const { subscribe } = JSON.parse(line) as { subscribe?: unknown };
    if (typeof subscribe !== "object" || subscribe === null) return null;
    const entries = Object.entries(subscribe);
    const isRight = entries.every(
      ([key, value]) => ["local", "remote", "peer"].includes(key) && typeof value === "string",
    );
    return isRight ? (Object.fromEntries(entries) as FlowFilter) : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

function matches(filter: FlowFilter, { local, remote, peer }: FlowUpdate): boolean {
  if (filter.peer !== undefined && filter.peer !== peer) return false;
  return isEnd(filter.local, local) && isEnd(filter.remote, remote);
}

function isEnd(wanted: string | undefined, end: string): boolean {
  return wanted === undefined || wanted === end || wanted === end.slice(0, end.lastIndexOf(":"));
}
