/**
 * Writes files without end and says on standard output what was acknowledged:
 *
 *     written NUMBER BYTES     write(2) returned for all of them
 *     synced NUMBER BYTES      fsync(2) returned
 *     renamed NUMBER BYTES     rename(2) to its final name returned
 *
 *     busy-writer.js FOLDER
 */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { contentOf, STEP_BYTES } from "./busy-content.ts";

const STEPS = 7;
const SYNCED_EVERY = 3;

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: busy-writer FOLDER");
for (let file = 0; ; file++) writeFile(folder, file);

function writeFile(directory: string, file: number): void {
  const content = contentOf(file, STEPS * STEP_BYTES);
  const temporary = join(directory, `${file}.new`);
  const fd = openSync(temporary, "wx");
  for (let step = 0; step < STEPS; step++) {
    const start = step * STEP_BYTES;
    // The kernel may write less than it was given: the rest fails when the site is dead by then.
    writeFileSync(fd, content.subarray(start, start + STEP_BYTES));
    note("written", file, start + STEP_BYTES);
  }
  if (file % SYNCED_EVERY === 0) {
    fsyncSync(fd);
    note("synced", file, content.length);
  }
  closeSync(fd);
  renameSync(temporary, join(directory, String(file)));
  note("renamed", file, content.length);
}

function note(what: string, file: number, bytes: number): void {
  writeSync(1, `${what} ${file} ${bytes}\n`);
}
