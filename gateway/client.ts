/**
 * A client of the gateway's flow socket: how far the bytes of a TCP connection would survive the end
 * of this site, so that an application can go on before the other side has answered (SMFS §3.2).
 *
 *   const flows = await FlowClient.connect("/run/smfs/flows.sock");
 *   socket.write(record);
 *   await flows.covered({ ...endsOf(socket), offset: socket.bytesWritten, risk: 1e-6 });
 *
 * Offsets count the connection's bytes from its first, when the gateway saw it begin
 * (`isFromStart`); otherwise from the first byte that it saw. Nothing is imported but Node.
 */
import { createConnection, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** One connection as the gateway last told of it. */
export interface Flow {
  readonly peer: string;
  /** Another connection has another number, though it may have the same ends. */
  readonly number: number;
  /** "10.1.0.2:40000", "[fd00::2]:40000" */
  readonly local: string;
  readonly remote: string;
  readonly isFromStart: boolean;
  /** Bytes that the gateway has seen, without a hole. */
  readonly passed: number;
  /** Bytes that the other end has acknowledged. */
  readonly acknowledged: number;
  /** By level: bytes covered. Level 0: they left; n: so did repairs of n layers for all of them. */
  readonly covered: readonly number[];
  /** By level: probability that some of these bytes cannot be had, if this site ends now. */
  readonly risks: readonly number[];
}

export interface FlowFilter {
  readonly local?: string;
  readonly remote?: string;
  readonly peer?: string;
}

export interface CoverageWish {
  readonly local: string;
  readonly remote: string;
  /** Bytes of the connection that must be covered. */
  readonly offset: number;
  /** Layers of repairs that must have left for them; or say `risk`. */
  readonly level?: number;
  /** Acceptable probability that they cannot be rebuilt. */
  readonly risk?: number;
}

interface Waiter {
  readonly wish: CoverageWish;
  readonly resolve: (flow: Flow) => void;
  readonly reject: (error: Error) => void;
}

type Line = { readonly event: string; readonly reason?: string; readonly message?: string } & Flow;

/** The ends of a connection, as the gateway writes them. */
export function endsOf(socket: Socket): { readonly local: string; readonly remote: string } {
  const { localAddress = "", localPort = 0, remoteAddress = "", remotePort = 0 } = socket;
  return { local: endOf(localAddress, localPort), remote: endOf(remoteAddress, remotePort) };
}

function endOf(address: string, port: number): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
  return plain.includes(":") ? `[${plain}]:${port}` : `${plain}:${port}`;
}

export class FlowClient {
  private readonly socket: Socket;
  private readonly flows = new Map<string, Flow>();
  private readonly waiters = new Set<Waiter>();
  private readonly listeners = new Set<(flow: Flow, ended: string | null) => void>();
  private closedBy: Error | null = null;
  /** Resolves when the socket is closed, by either side. */
  readonly closed: Promise<void>;

  /** Connects to the socket of `smfs gateway` and subscribes. Rejects when there is no gateway. */
  static connect(path: string, filter: FlowFilter = {}): Promise<FlowClient> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        socket.write(`${JSON.stringify({ subscribe: filter })}\n`);
        resolve(new FlowClient(socket));
      });
    });
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    createInterface({ input: socket }).on("line", (line) => this.take(JSON.parse(line) as Line));
    socket.on("error", (error) => this.end(error));
    socket.on("close", () => this.end(new Error("the gateway closed the flow socket")));
  }

  /** Hears each update; `ended` says why a connection is no more. Gives a function that stops it. */
  onFlow(listener: (flow: Flow, ended: string | null) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** What is known of a connection now. */
  flow(local: string, remote: string): Flow | undefined {
    return this.flows.get(nameOf(local, remote));
  }

  /** Resolves when the wish is fulfilled; rejects when the connection or the gateway ends before. */
  covered(wish: CoverageWish): Promise<Flow> {
    const flow = this.flow(wish.local, wish.remote);
    if (flow !== undefined && isFulfilled(wish, flow)) return Promise.resolve(flow);
    if (this.closedBy !== null) return Promise.reject(this.closedBy);
    return new Promise((resolve, reject) => this.waiters.add({ wish, resolve, reject }));
  }

  close(): void {
    this.socket.destroy();
  }

  private take({ event, reason, message, ...flow }: Line): void {
    if (event === "error") this.end(new Error(message));
    if (event !== "flow" && event !== "end") return;
    const name = nameOf(flow.local, flow.remote);
    if (event === "end") this.flows.delete(name);
    else this.flows.set(name, flow);
    for (const listener of this.listeners) listener(flow, event === "end" ? (reason ?? "") : null);
    this.settle(flow, event === "end" ? `the connection ended: ${reason}` : null);
  }

  private settle(flow: Flow, ended: string | null): void {
    for (const waiter of this.waiters) {
      const { wish, resolve, reject } = waiter;
      if (wish.local !== flow.local || wish.remote !== flow.remote) continue;
      const isDone = isFulfilled(wish, flow);
      if (!isDone && ended === null) continue;
      this.waiters.delete(waiter);
      if (isDone) resolve(flow);
      else reject(new Error(ended ?? ""));
    }
  }

  private end(error: Error): void {
    this.closedBy ??= error;
    for (const { reject } of this.waiters) reject(this.closedBy);
    this.waiters.clear();
  }
}

function nameOf(local: string, remote: string): string {
  return `${local} ${remote}`;
}

function isFulfilled({ offset, level, risk }: CoverageWish, flow: Flow): boolean {
  if (flow.acknowledged >= offset) return true;
  return flow.covered.some(
    (covered, each) =>
      covered >= offset &&
      (level === undefined || each >= level) &&
      (risk === undefined || (flow.risks[each] ?? 1) <= risk),
  );
}
