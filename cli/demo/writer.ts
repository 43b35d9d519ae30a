/**
 * The second writer of the disaster (SMFS §5.3): appends messages of 4 kB to one file, each synced,
 * and says on standard output when each was acknowledged and how long that took. A process of the
 * primary site: it dies with it.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { encodeMessage, MESSAGE_BYTES } from "./messages.ts";

const [path, mode] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: writer FILE");

const fd = openSync(path, "a", 0o644);
const message = Buffer.alloc(MESSAGE_BYTES);
for (let sequence = 0; ; sequence++) {
  encodeMessage(message, sequence);
  const started = process.hrtime.bigint();
  try {
    writeSync(fd, message);
    fsyncSync(fd);
  } catch (error) {
    writeSync(2, `writer (${mode}): ${String(error)}\n`);
    break;
  }
  const micros = Number((process.hrtime.bigint() - started) / 1000n);
  writeSync(1, `${sequence} ${micros}\n`);
}
closeSync(fd);
