/**
 * A site of a demonstration: `smfs mount` with the same arguments, which ends with its standard input,
 * so that no site outlives the demonstration, however that ended. Without a mount its file system is
 * used through the library, by commands on standard input, one JSON object a line, answered in order:
 *
 *     {"do": "copy", "source": DIR, "to": NAME}     copies a tree of this machine
 *     {"do": "write", "to": NAME, "text": TEXT}
 *     {"do": "barrier"}                             fsync of everything before
 *     {"do": "messages", "to": NAME}                begins to append messages, without end
 *     {"do": "record", "from": NAME}                a tree's `TreeRecord`
 *     {"do": "count", "from": NAME}                 right messages in a file
 *
 * Each acknowledged message is told by a line of its own, as writer.ts does.
 */
import { createInterface } from "node:readline";
import { z } from "zod";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import type { FlagValues } from "../config.ts";
import { reportFailure } from "../exit.ts";
import { mountCommand, startSite } from "../mount.ts";
import type { Site } from "../site/site.ts";
import { appendMessages, countMessages } from "./messages.ts";
import { copyTree, HOST_FILES, recordTree } from "./tree.ts";
import { VfsFiles } from "./vfs-files.ts";

const Command = z.discriminatedUnion("do", [
  z.object({ do: z.literal("copy"), source: z.string(), to: z.string() }),
  z.object({ do: z.literal("write"), to: z.string(), text: z.string() }),
  z.object({ do: z.literal("barrier") }),
  z.object({ do: z.literal("messages"), to: z.string() }),
  z.object({ do: z.literal("record"), from: z.string() }),
  z.object({ do: z.literal("count"), from: z.string() }),
]);
export type SiteCommand = z.infer<typeof Command>;

/** A promotion opens the file system anew, so it is looked up for each command. */
function filesOf(site: Site): VfsFiles {
  const fileSystem = site.role?.fileSystem;
  if (!fileSystem) throw new SmfsError("NOT_FOUND", "this site has no file system yet");
  return new VfsFiles(fileSystem);
}

async function perform(command: SiteCommand, files: VfsFiles): Promise<object> {
  switch (command.do) {
    case "copy":
      await copyTree(HOST_FILES, command.source, files, command.to);
      return {};
    case "write":
      await files.writeFile(command.to, Buffer.from(command.text));
      return {};
    case "barrier":
      await files.barrier();
      return {};
    case "messages":
      void writeMessages(files, command.to).catch(reportFailure);
      return {};
    case "record": {
      const { entries, ...totals } = await recordTree(command.from, files);
      return { entries: [...entries], ...totals };
    }
    case "count":
      return { messages: countMessages(await files.readFile(command.from)) };
  }
}

async function writeMessages(files: VfsFiles, name: string): Promise<void> {
  const file = await files.create(name);
  await appendMessages(
    async (message) => {
      await file.append(message);
      await file.sync();
    },
    (line) => process.stdout.write(`${line}\n`),
  );
}

async function answer(site: Site, line: string): Promise<object> {
  try {
    return { ok: true, ...(await perform(Command.parse(JSON.parse(line)), filesOf(site))) };
  } catch (error) {
    return { ok: false, error: messageOf(error) };
  }
}

async function serve(
  store: string | undefined,
  directory: string | undefined,
  flags: FlagValues,
): Promise<void> {
  const site = await startSite(store, directory, flags);
  const input = createInterface({ input: process.stdin });
  void site.ended.finally(() => input.close());
  for await (const line of input) {
    process.stdout.write(`${JSON.stringify(await answer(site, line))}\n`);
  }
  // Whoever started this process is gone, or the site has ended.
  await site.stop();
  process.exit(process.exitCode);
}

try {
  await mountCommand().action(serve).parseAsync();
} catch (error) {
  reportFailure(error);
  process.exit(process.exitCode);
}
