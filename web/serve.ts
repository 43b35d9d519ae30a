/**
 * The status page's server: four routes and a short list of files, for browsers on this machine.
 *
 * It changes nothing and knows no password, so it answers only requests whose Host header is an
 * address or `localhost`: a page from elsewhere that points its own name at loopback (DNS
 * rebinding) is refused. Files are read once, at the start, from a fixed list.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { messageOf, SmfsError } from "../lib/errors.ts";
import type { StatusDocument } from "./status-types.ts";

export interface StatusServerOptions {
  /** An address or `localhost`. */
  readonly host: string;
  /** 0 for any. */
  readonly port: number;
  /** Asked at every poll of the page. */
  status(): StatusDocument | Promise<StatusDocument>;
  /** Prometheus text. */
  metrics(): Promise<string>;
}

export interface StatusServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Browsers and scrapers of one operator; more are refused. */
const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MILLIS = 10_000;

const require = createRequire(import.meta.url);

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

const HTML = "text/html; charset=utf-8";
const SCRIPT = "text/javascript; charset=utf-8";
const STYLE = "text/css; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";
/** The text format of Prometheus, version 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const TEXT = "text/plain; charset=utf-8";

interface Content {
  readonly type: string;
  readonly body: Buffer | string;
}

/** Rejects with `SmfsError` IO when the address cannot be had. */
export async function createStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const routes = routesOf(options);
  const server = createServer((request, response) => void answer(routes, request, response));
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MILLIS;
  server.headersTimeout = REQUEST_TIMEOUT_MILLIS;
  await listen(server, options);
  return { url: urlOf(server), close: () => close(server) };
}

type Routes = ReadonlyMap<string, () => Content | Promise<Content>>;

function routesOf(options: StatusServerOptions): Routes {
  const routes = new Map<string, () => Content | Promise<Content>>();
  for (const [path, content] of staticFiles()) routes.set(path, () => content);
  routes.set("/status.json", async () => ({
    type: JSON_TYPE,
    body: `${JSON.stringify(await options.status())}\n`,
  }));
  routes.set("/metrics", async () => ({ type: METRICS_TYPE, body: await options.metrics() }));
  return routes;
}

function staticFiles(): [string, Content][] {
  const web = join(projectRoot(), "web");
  const uplot = join(dirname(require.resolve("uplot/package.json")), "dist");
  const list = [
    ["/", join(web, "index.html"), HTML],
    ["/status.js", join(web, "status.js"), SCRIPT],
    ["/charts.js", join(web, "charts.js"), SCRIPT],
    ["/format.js", join(web, "format.js"), SCRIPT],
    ["/style.css", join(web, "style.css"), STYLE],
    ["/uplot/uPlot.esm.js", join(uplot, "uPlot.esm.js"), SCRIPT],
    ["/uplot/uPlot.min.css", join(uplot, "uPlot.min.css"), STYLE],
  ] as const;
  return list.map(([path, file, type]) => [path, { type, body: readFileSync(file) }]);
}

/** The compiler moves this file to dist/web, and leaves the page's files where they are. */
function projectRoot(): string {
  const here = import.meta.dirname;
  const parent = dirname(here);
  return parent.endsWith("dist") ? dirname(parent) : parent;
}

async function answer(
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume();
  if (!isHostAllowed(request.headers.host)) {
    return reply(request, response, 421, text("use an address or localhost, not a name\n"));
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return reply(request, response, 405, text("only GET and HEAD\n"));
  }
  const route = routes.get((request.url ?? "/").split("?", 1)[0] ?? "/");
  if (route === undefined) return reply(request, response, 404, text("not found\n"));
  try {
    reply(request, response, 200, await route());
  } catch (error) {
    reply(request, response, 500, text(`${messageOf(error)}\n`));
  }
}

function text(body: string): Content {
  return { type: TEXT, body };
}

/** No name but `localhost` may lead here. */
function isHostAllowed(host: string | undefined): boolean {
  const name = (host ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || isIP(name) !== 0;
}

function reply(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  { type, body }: Content,
): void {
  response.writeHead(status, {
    ...HEADERS,
    "content-type": type,
    "content-length": Buffer.byteLength(body),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function listen(server: Server, { host, port }: StatusServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const message = `cannot serve the status page on ${host}:${port}: ${messageOf(error)}`;
      reject(new SmfsError("IO", message, error));
    });
    server.listen(port, host.replace(/^\[(.*)\]$/, "$1"), () => resolve());
  });
}

function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return "";
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}/`;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
