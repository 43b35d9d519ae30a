/** `smfs gateway up`: one gateway as a process, with its control socket, metrics and signals. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { pino } from "pino";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { Gateway } from "../../gateway/appliance/gateway.ts";
import { resolveAddress } from "../../gateway/udp/address.ts";
import { askControl, serveControl } from "../control.ts";
import { reportFailure } from "../exit.ts";
import { VERSION } from "../version.ts";
import { loadGatewayFile, type GatewayFile } from "./config.ts";
import { GatewayMetrics } from "./metrics.ts";
import { serveMetrics } from "./metrics-server.ts";

const DIRECTORY_MODE = 0o755;

/** Resolves when the gateway has ended, because it was asked to. Throws `SmfsError`. */
export async function runGateway(path: string): Promise<void> {
  const file = loadGatewayFile(path);
  const logger: Logger = pino(
    { level: file.log.level, base: { gateway: file.gateway.interfaceName } },
    pino.destination({ dest: file.log.file ?? 2, sync: true }),
  );
  await claimSockets(file);
  const gateway = await Gateway.start(file.gateway, logger);
  const metrics = new GatewayMetrics(VERSION, () => gateway.status());
  let stop = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const reload = (): Promise<void> => gateway.reload(loadGatewayFile(path).gateway);
  const control = await serveControl(file.gateway.controlSocket, {
    "GET /status": () => gateway.status(),
    "GET /metrics": async () => ({ text: await metrics.text() }),
    "POST /reload": reload,
    "POST /stop": () => stop(),
  });
  const page = await startMetrics(file, metrics, logger);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop());
  process.on("SIGHUP", () => {
    reload().catch((error: unknown) => logger.error({}, `not reloaded: ${messageOf(error)}`));
  });
  process.stdout.write(`${file.gateway.interfaceName}: gateway is up, ${file.gateway.mode} mode\n`);
  await Promise.race([stopped, gateway.ended]).catch(reportFailure);
  await gateway.stop().catch(reportFailure);
  await control.close();
  await page?.close();
  // Worker threads of libraries must not keep a finished gateway alive.
  process.exit(process.exitCode);
}

/** Throws BUSY when a gateway answers there: its sockets must not be taken from it. */
async function claimSockets({ gateway }: GatewayFile): Promise<void> {
  const { controlSocket, flowSocket } = gateway;
  for (const socket of [controlSocket, flowSocket]) {
    mkdirSync(dirname(socket), { recursive: true, mode: DIRECTORY_MODE });
  }
  try {
    await askControl(controlSocket, "GET /status");
  } catch (error) {
    if (error instanceof SmfsError && error.code === "UNREACHABLE") return;
    throw error;
  }
  throw new SmfsError("BUSY", `a gateway is running already (${controlSocket})`);
}

async function startMetrics(file: GatewayFile, metrics: GatewayMetrics, logger: Logger) {
  if (file.metrics === null) return null;
  const { host, port } = await resolveAddress(file.metrics);
  const page = await serveMetrics(host, port, () => metrics.text());
  logger.info({ url: page.url }, "metrics");
  return page;
}
