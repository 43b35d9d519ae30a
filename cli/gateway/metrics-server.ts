/** Serves /metrics over HTTP, and nothing else. */
import { createServer } from "node:http";
import { messageOf, SmfsError } from "../../lib/errors.ts";

/** The text format of Prometheus, version 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const MAX_CONNECTIONS = 16;
const REQUEST_TIMEOUT_MILLIS = 10_000;

export interface MetricsServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Throws `SmfsError` CONFIG when it cannot listen there. */
export function serveMetrics(
  host: string,
  port: number,
  text: () => Promise<string>,
): Promise<MetricsServer> {
  const server = createServer((incoming, response) => {
    incoming.resume();
    if (incoming.method !== "GET" || incoming.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    text().then(
      (body) => response.writeHead(200, { "content-type": METRICS_TYPE }).end(body),
      (error: unknown) => response.writeHead(500).end(messageOf(error)),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MILLIS;
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new SmfsError("CONFIG", `[status] listen: ${messageOf(error)}`, error)),
    );
    server.listen(port, host, () => {
      const address = server.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      const shown = host.includes(":") ? `[${host}]` : host;
      resolve({ url: `http://${shown}:${bound}/metrics`, close: () => closed(server) });
    });
  });
}

function closed(server: ReturnType<typeof createServer>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
