/** The command `smfs`: what there is, and nothing of how it is done. */
import { Command, CommanderError } from "commander";
import { EXIT, FSCK_EXIT, reportFailure } from "./exit.ts";
import { VERSION } from "./version.ts";

/** In the order of the help. A command's modules are loaded when it is asked for: most are short runs. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import("./demo/command.ts")).demoCommand(),
  genkey: async () => (await import("./mkfs.ts")).genkeyCommand(),
  pubkey: async () => (await import("./mkfs.ts")).pubkeyCommand(),
  mkfs: async () => (await import("./mkfs.ts")).mkfsCommand(),
  mount: async () => (await import("./mount.ts")).mountCommand(),
  umount: async () => (await import("./mount.ts")).umountCommand(),
  status: async () => (await import("./status.ts")).statusCommand(),
  mirror: async () => (await import("./mirror.ts")).mirrorCommand(),
  log: async () => (await import("./log.ts")).logCommand(),
  quota: async () => (await import("./quota.ts")).quotaCommand(),
  snapshot: async () => (await import("./snapshot.ts")).snapshotCommand(),
  fork: async () => (await import("./fork.ts")).forkCommand(),
  trim: async () => (await import("./trim.ts")).trimCommand(),
  df: async () => (await import("./df.ts")).dfCommand(),
  fsck: async () => (await import("./fsck.ts")).fsckCommand(),
  scrub: async () => (await import("./scrub.ts")).scrubCommand(),
  debug: async () => (await import("./debug.ts")).debugCommand(),
  gateway: async () => (await import("./gateway/command.ts")).gatewayCommand(),
  netem: async () => (await import("./netem/command.ts")).netemCommand(),
};

const program = new Command("smfs")
  .description(
    "a file system mirrored over a wide-area link: its files survive the loss of the site",
  )
  .version(VERSION)
  .showHelpAfterError("(run with --help for what can be said)")
  .exitOverride();

const asked = process.argv[2] ?? "";
for (const [name, load] of Object.entries(COMMANDS)) {
  if (name === asked || !(asked in COMMANDS)) program.addCommand(await load());
}
inheritExitOverride(program);

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its own message; help and version are no failure.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : usageCode();
  else reportFailure(error);
}

function usageCode(): number {
  return asked === "fsck" ? FSCK_EXIT.usage : EXIT.usage;
}

function inheritExitOverride(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride();
    child.showHelpAfterError("(run with --help for what can be said)");
    inheritExitOverride(child);
  }
}
