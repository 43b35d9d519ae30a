/** The command `smfs`: what there is, and nothing of how it is done. */
import { Command, CommanderError } from "commander";
import { VERSION } from "./version.ts";
import { demoCommand } from "./demo/command.ts";
import { EXIT, reportFailure } from "./exit.ts";
import { fsckCommand } from "./fsck.ts";
import { genkeyCommand, mkfsCommand } from "./mkfs.ts";
import { mirrorCommand } from "./mirror.ts";
import { mountCommand, umountCommand } from "./mount.ts";
import { netemCommand } from "./netem.ts";
import { statusCommand } from "./status.ts";

const program = new Command("smfs")
  .description(
    "a file system mirrored over a wide-area link: its files survive the loss of the site",
  )
  .version(VERSION)
  .showHelpAfterError("(run with --help for what can be said)")
  .exitOverride()
  .addCommand(demoCommand())
  .addCommand(genkeyCommand())
  .addCommand(mkfsCommand())
  .addCommand(mountCommand())
  .addCommand(umountCommand())
  .addCommand(statusCommand())
  .addCommand(mirrorCommand())
  .addCommand(fsckCommand())
  .addCommand(netemCommand());

inheritExitOverride(program);

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its own message; help and version are no failure.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
  else reportFailure(error);
}

function inheritExitOverride(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride();
    child.showHelpAfterError("(run with --help for what can be said)");
    inheritExitOverride(child);
  }
}
