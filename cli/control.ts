/**
 * The control socket of a running site: HTTP over a Unix socket in the store's directory, for its
 * owner only (mode 0600). Replies are JSON; a failure is `{error: {code, message}}`.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { type ErrorCode, messageOf, SmfsError } from "../lib/errors.ts";

/** Answers one verb; `parameters` are the query's. Throws what goes wrong. */
export type ControlVerb = (parameters: URLSearchParams) => unknown;

export interface ControlServer {
  close(): Promise<void>;
}

/** Verbs by method and path, as `"POST /promote"`. */
export function serveControl(
  socketPath: string,
  verbs: Readonly<Record<string, ControlVerb>>,
): Promise<ControlServer> {
  // The store is locked by the caller: a socket that is still there belongs to a dead process.
  rmSync(socketPath, { force: true });
  const server = createServer((incoming, response) => void answer(verbs, incoming, response));
  server.requestTimeout = 60_000;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      resolve({ close: () => closeServer(server) });
    });
  });
}

function closeServer(server: ReturnType<typeof createServer>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(
  verbs: Readonly<Record<string, ControlVerb>>,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  incoming.resume();
  const url = new URL(incoming.url ?? "/", "http://control");
  const verb = verbs[`${incoming.method} ${url.pathname}`];
  try {
    if (verb === undefined) {
      throw new SmfsError("NOT_FOUND", `no such verb: ${incoming.method} ${url.pathname}`);
    }
    reply(response, 200, await verb(url.searchParams));
  } catch (error) {
    const code = error instanceof SmfsError ? error.code : "IO";
    reply(response, 400, { error: { code, message: messageOf(error) } });
  }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body ?? {})}\n`);
}

/** Asks a running site; throws `SmfsError` UNREACHABLE when none is running, or the site's own failure. */
export async function askControl<T>(
  socketPath: string,
  verb: `${"GET" | "POST"} /${string}`,
  timeoutMillis = 60_000,
): Promise<T> {
  const [method, path] = verb.split(" ") as [string, string];
  const { status, text } = await exchange(socketPath, method, path, timeoutMillis);
  const body = JSON.parse(text) as T & { error?: { code: ErrorCode; message: string } };
  if (status !== 200 && body.error !== undefined) {
    throw new SmfsError(body.error.code, body.error.message);
  }
  return body;
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  timeoutMillis: number,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, timeout: timeoutMillis }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
      );
    });
    outgoing.on("timeout", () =>
      outgoing.destroy(new SmfsError("TIMED_OUT", `no answer on ${socketPath}`)),
    );
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      const absent = error.code === "ENOENT" || error.code === "ECONNREFUSED";
      const message = `no smfs process is running on this store (${socketPath})`;
      reject(absent ? new SmfsError("UNREACHABLE", message, error) : error);
    });
    outgoing.end();
  });
}
