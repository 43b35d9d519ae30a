/**
 * `smfs netem [relay]`: the emulated WAN between two UDP addresses of this machine. Options set both
 * directions; while it runs, a timeline or commands on stdin (netem/control/control.ts) change it.
 */
import { isIP } from "node:net";
import { Command } from "commander";
import { SmfsError } from "../../lib/errors.ts";
import { answerLine } from "../../netem/control/control.ts";
import { type Endpoint, startRelay } from "../../netem/udp/relay.ts";
import {
  addLinkOptions,
  type LinkOptions,
  pathSettings,
  withSettingNames,
} from "./link-options.ts";
import { lineLogger, type NetemSurroundings, serve, thisProcess } from "./serve.ts";

export interface RelayCommandOptions extends LinkOptions {
  readonly listen: string;
  readonly peer: string;
}

export function relayCommand(): Command {
  const command = new Command("relay")
    .description("Emulate a path between two UDP addresses of this machine (the default).")
    .requiredOption("--listen <host:port>", "where site A sends to")
    .requiredOption("--peer <host:port>", "address of site B");
  return addLinkOptions(command).action(async (_options, self: Command) =>
    runRelay(withSettingNames(self.opts<RelayCommandOptions>()), thisProcess()),
  );
}

/** Runs until `stop`, or with `json` until the input ends. Throws `SmfsError` USAGE or IO. */
export async function runRelay(
  options: RelayCommandOptions,
  around: NetemSurroundings,
): Promise<void> {
  const { aToB, bToA, seed, timeline } = pathSettings(options);
  const peerB = parseEndpoint(options.peer, "--peer");
  const relay = await startRelay({
    listenA: parseEndpoint(options.listen, "--listen"),
    peerB,
    settingsAtoB: aToB,
    settingsBtoA: bToA,
    seed,
    timeline,
    logger: lineLogger(around),
  });
  try {
    announce(relay.address, peerB, options, around);
    const answer = (line: string) => answerLine(relay, line);
    await serve({ answer }, options.json === true, around);
  } finally {
    await relay.close();
  }
}

function parseEndpoint(text: string, option: string): Endpoint {
  const match = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text);
  const [host, port] = [match?.[1] ?? "", Number(match?.[2] ?? -1)];
  if (isIP(host) !== 0 && port >= 0 && port <= 65_535) return { host, port };
  throw new SmfsError(
    "USAGE",
    `${option} must be an address and a port such as 127.0.0.1:7000 or [::1]:7000, not '${text}'`,
  );
}

function announce(
  listening: Endpoint,
  peer: Endpoint,
  options: RelayCommandOptions,
  around: NetemSurroundings,
): void {
  const line = options.json
    ? JSON.stringify({ listening, peer })
    : `relay: ${listening.host}:${listening.port} <-> ${peer.host}:${peer.port} (Ctrl-C ends it)`;
  around.writeOutput(`${line}\n`);
}
