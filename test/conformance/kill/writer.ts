/**
 *     writer.js FOLDER SEED
 *
 * Does the steps of a `Model` without end, and says `done N` on standard output when the call of
 * step N has returned. Ends with 0 when the file server is gone, with 1 when a call failed otherwise.
 */
import { writeSync } from "node:fs";
import { Prng } from "../../../lib/prng.ts";
import { Model, perform } from "./model.ts";

/** What calls give when the server of a FUSE mount dies: under way, and after that. */
const SERVER_GONE = new Set(["ECONNABORTED", "ENOTCONN"]);

const [folder = "", seed = ""] = process.argv.slice(2);
try {
  const model = Model.load(folder);
  const random = new Prng(Number(seed));
  for (let number = 0; ; number++) {
    const step = model.next(random);
    perform(folder, step);
    model.apply(step);
    writeSync(1, `done ${number}\n`);
  }
} catch (error) {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined || !SERVER_GONE.has(code)) {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  }
}
