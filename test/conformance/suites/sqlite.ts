/**
 * SQLite in both journal modes, with its writer killed and with the file server killed: what was
 * committed is there, and the database is whole by its own check.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Prng } from "../../../lib/prng.ts";
import { requireProgram, shell } from "../command.ts";
import type { MountedStore } from "../mounted-store.ts";
import { type Suite, withStore } from "../suite.ts";

const DEFAULT_ROUNDS = 10;
const FEWEST_COMMITS = 10;
const MORE_COMMITS = 100;

type Victim = "writer" | "server";

export const sqlite: Suite = {
  about: `SQLite, writer and file server killed; --count: times each (${DEFAULT_ROUNDS})`,
  async run(checks, options) {
    requireProgram("sqlite3");
    const rounds = options.count ?? DEFAULT_ROUNDS;
    const random = new Prng(options.seed);
    await withStore(checks, options, async (store) => {
      for (const journal of ["wal", "delete", "truncate", "persist"]) {
        const database = new Database(store, journal);
        for (let round = 1; round <= rounds; round++) {
          for (const victim of ["writer", "server"] as const) {
            await checks.check(`${journal}, the ${victim} killed, ${round}`, () =>
              database.round(victim, FEWEST_COMMITS + random.below(MORE_COMMITS)),
            );
          }
        }
      }
    });
  },
};

class Database {
  private readonly store: MountedStore;
  private readonly path: string;
  private readonly journal: string;
  /** Rows that are known to be committed. */
  private committed = 0;

  constructor(store: MountedStore, journal: string) {
    this.store = store;
    this.journal = journal;
    this.path = store.at(`${journal}.db`);
  }

  async round(victim: Victim, commits: number): Promise<void> {
    const writer = spawn("sqlite3", [this.path], { stdio: ["pipe", "pipe", "pipe"] });
    const ended = new Promise((resolve) => writer.once("close", resolve));
    const acknowledged = await this.write(writer, commits);
    if (victim === "writer") writer.kill("SIGKILL");
    else await this.store.killServer();
    writer.stdin.destroy();
    await ended;
    if (victim === "server") {
      await this.store.detach();
      await this.store.check();
      await this.store.mount();
    }
    await this.verify(acknowledged);
  }

  /** Starts transactions without end; resolves with the last row whose COMMIT was answered. */
  private async write(writer: ChildProcess, commits: number): Promise<number> {
    const first = this.committed + 1;
    const { stdin, stdout } = writer;
    if (stdin === null || stdout === null) throw new Error("sqlite3 has no pipes");
    stdin.on("error", () => stdin.destroy());
    stdin.write(`.bail on
.timeout 10000
PRAGMA journal_mode=${this.journal}; PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, content BLOB);\n`);
    // More than are waited for: some are under way when the end comes.
    for (let id = first; id < first + 4 * commits; id++) {
      stdin.write(
        `BEGIN; INSERT INTO rows VALUES (${id}, randomblob(3000));
         UPDATE rows SET content = randomblob(3000) WHERE id = ${1 + ((id * 7919) % id)}; COMMIT;
         SELECT 'committed ' || ${id};\n`,
      );
    }
    return lastCommit(stdout, first + commits);
  }

  private async verify(acknowledged: number): Promise<void> {
    const check = `PRAGMA integrity_check; SELECT count(*), max(id) FROM rows;`;
    const [verdict, counts = ""] = (await shell(`sqlite3 '${this.path}' "${check}"`)).split("\n");
    const [count, last] = counts.split("|").map(Number);
    if (verdict !== "ok") throw new Error(`integrity_check: ${verdict}`);
    if (count !== last || last === undefined || last < acknowledged) {
      throw new Error(`${count} rows up to ${last}; ${acknowledged} were acknowledged`);
    }
    this.committed = last;
  }
}

/** Resolves with the last id that was reported when `enough` is reached. */
function lastCommit(output: NodeJS.ReadableStream, enough: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let last = 0;
    const lines = createInterface({ input: output });
    lines.on("line", (line) => {
      if (line.startsWith("committed ")) last = Number(line.slice("committed ".length));
      if (last >= enough) resolve(last);
    });
    lines.once("close", () => reject(new Error(`sqlite3 ended after row ${last}`)));
  });
}
