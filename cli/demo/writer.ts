/**
 * The second writer of the disaster (SMFS §5.3): appends messages of 4 kB to one file, each synced,
 * and says on standard output when each was acknowledged and how long that took. A process of the
 * primary site: it dies with it.
 */
import { fsyncSync, openSync, writeFileSync, writeSync } from "node:fs";
import { appendMessages } from "./messages.ts";

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: writer FILE");

const fd = openSync(path, "a", 0o644);
await appendMessages(
  (message) => {
    // All of it, also where the kernel takes it in parts.
    writeFileSync(fd, message);
    fsyncSync(fd);
  },
  (line) => writeSync(1, `${line}\n`),
);
