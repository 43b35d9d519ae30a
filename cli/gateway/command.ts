/** `smfs gateway`: the appliance between two sites, in the manner of wg and wg-quick. */
import { Command } from "commander";
import { GATEWAY } from "../config-table.ts";

const DEFAULT_CONFIG = "/etc/smfs/gateway.toml";
const DEFAULT_CONTROL = JSON.parse(GATEWAY.control.fallback ?? '""') as string;
const DEFAULT_FLOWS = JSON.parse(GATEWAY.flows.fallback ?? '""') as string;

const EPILOGUE = `
A configuration for one of two sites (docs/CONFIG.md):
  [gateway]
  interface = "smfs0"
  addresses = ["10.99.0.1/30"]

  [peer.siteB]
  peer = "198.51.100.7:7100"        # the other side has listen = "0.0.0.0:7100"
  key_file = "/etc/smfs/siteB.key"  # smfs genkey, mode 0600, the same at both sides
  prefixes = ["10.2.0.0/16", "10.99.0.2"]

Example:
  smfs gateway up --config /etc/smfs/gateway.toml
  smfs gateway watch --local 10.1.0.2`;

interface ControlFlags {
  readonly control: string;
}

/** Modules are loaded when they are needed: most of these are short runs. */
export function gatewayCommand(): Command {
  const command = new Command("gateway").description(
    "Carry the IP traffic between two sites through an erasure code, or beside one.",
  );
  command
    .command("up")
    .description("run the gateway in the foreground until SIGTERM; SIGHUP reads the file again")
    .option("--config <file>", "TOML: [gateway] and a [peer.NAME] for each peer", DEFAULT_CONFIG)
    .action(async ({ config }: { config: string }) => (await import("./up.ts")).runGateway(config));
  withControl(command.command("down").description("end a running gateway")).action(
    async ({ control }: ControlFlags) => (await import("./ask.ts")).stopGateway(control),
  );
  withControl(command.command("reload").description("have it read its configuration again")).action(
    async ({ control }: ControlFlags) => (await import("./ask.ts")).reloadGateway(control),
  );
  withControl(command.command("status").description("peers, and what passed"))
    .option("--json", "print everything as one JSON object")
    .action(async ({ control, json }: ControlFlags & { json?: true }) =>
      (await import("./ask.ts")).showGateway(control, json === true ? "json" : "text"),
    );
  command
    .command("watch")
    .description("how far each TCP connection is covered, as it happens")
    .option("--flows <socket>", "flow socket of the gateway", DEFAULT_FLOWS)
    .option("--local <address[:port]>", "only connections of this end at our site")
    .option("--remote <address[:port]>", "only connections to this end")
    .option("--peer <name>", "only connections to this peer")
    .option("--json", "one JSON object a line")
    .action(async (flags: WatchFlags) => (await import("./watch.ts")).watchFlows(flags));
  return command.addHelpText("after", EPILOGUE);
}

export interface WatchFlags {
  readonly flows: string;
  readonly local?: string;
  readonly remote?: string;
  readonly peer?: string;
  readonly json?: true;
}

function withControl(command: Command): Command {
  return command.option("--control <socket>", "control socket of the gateway", DEFAULT_CONTROL);
}
