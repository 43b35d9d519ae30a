/** `smfs netem`: the emulated wide-area path, between UDP addresses or between namespaces. */
import { Command } from "commander";
import { downCommand, upCommand } from "./between.ts";
import { LINK_EPILOGUE } from "./link-options.ts";
import { relayCommand } from "./relay.ts";

const EXAMPLES = `
Examples:
  smfs netem --listen 127.0.0.1:7000 --peer 127.0.0.1:7001 --delay 50ms --loss 0.5%
  smfs netem up --between siteA,siteB --preset wan`;

export function netemCommand(): Command {
  return new Command("netem")
    .description("Emulate a wide-area path: delay, jitter, rate, losses alone and in bursts.")
    .usage("[relay|up|down] [options]")
    .addCommand(relayCommand(), { isDefault: true })
    .addCommand(upCommand())
    .addCommand(downCommand())
    .addHelpText("after", LINK_EPILOGUE + EXAMPLES);
}
