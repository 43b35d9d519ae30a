/**
 * A small store under churn: most of what is written is soon overwritten or removed, many times the
 * store's capacity in all, so that segments must be dropped and cleaned for it to go on. Meanwhile a
 * part stays as it was, snapshots are taken and removed, and the file server is killed.
 */
import { mkdirSync } from "node:fs";
import { Prng } from "../../../lib/prng.ts";
import { shell } from "../command.ts";
import { KillLoop } from "../kill/loop.ts";
import type { MountedStore } from "../mounted-store.ts";
import { type Checks, type Suite, type SuiteOptions, withStore } from "../suite.ts";
import { expectSame, listTree } from "../tree.ts";

const DEFAULT_ROUNDS = 20;
/** A store of 384 MB, a third of which stays. */
const SMALL = { segmentSize: "8MiB", mountFlags: ["--capacity=384MB"] };
const COLD_FILES = 1200;
const HOT_FILES = 600;
const FILE_BYTES = 100_000;
/** Snapshots kept at a time. */
const KEPT = 2;

export const soak: Suite = {
  about: `churn in a small store, with snapshots and kills; --count: rounds (${DEFAULT_ROUNDS})`,
  async run(checks, options) {
    const rounds = options.count ?? DEFAULT_ROUNDS;
    await withStore(checks, options, (store) => churn(checks, options, store, rounds), SMALL);
  },
};

async function churn(
  checks: Checks,
  options: SuiteOptions,
  store: MountedStore,
  rounds: number,
): Promise<void> {
  const [cold, hot] = [store.at("cold"), store.at("hot")];
  for (const directory of [cold, hot]) mkdirSync(directory);
  await fill(cold, COLD_FILES);
  const expected = await listTree(cold);
  const snapshots = new Snapshots(store, hot);
  const kills = new KillLoop(store, options.seed);
  const random = new Prng(options.seed);
  for (let round = 1; round <= rounds; round++) {
    const isWhole = await checks.check(`round ${round}`, async () => {
      await fill(hot, HOT_FILES);
      await shell(`ls | shuf -n ${HOT_FILES / 2} | xargs rm`, { cwd: hot });
      await snapshots.turn(`round-${round}`);
      if (random.chance(0.5)) await killWithSnapshot(kills, snapshots, `busy-${round}`);
      else await store.remount();
      await snapshots.verify();
      expectSame(expected, await listTree(cold));
    });
    if (!isWhole) break;
  }
}

/** The snapshot is taken while the writers write, and is there after the kill. */
async function killWithSnapshot(
  kills: KillLoop,
  snapshots: Snapshots,
  name: string,
): Promise<void> {
  await kills.round(() => snapshots.take(name));
  await snapshots.remove(name);
}

/** Random files of up to `FILE_BYTES`, written over those of the same names. */
async function fill(directory: string, files: number): Promise<void> {
  const script = `for i in $(seq ${files}); do
    head -c $(shuf -i 1-${FILE_BYTES} -n 1) /dev/urandom > f$i; done`;
  await shell(script, { cwd: directory });
}

/** The newest few, each with what was in the directory when it was taken. */
class Snapshots {
  private readonly store: MountedStore;
  private readonly directory: string;
  private readonly kept: { readonly name: string; readonly lines: readonly string[] }[] = [];

  constructor(store: MountedStore, directory: string) {
    this.store = store;
    this.directory = directory;
  }

  /** Takes one while nobody writes below the directory, and removes the oldest. */
  async turn(name: string): Promise<void> {
    const lines = await listTree(this.directory);
    await this.take(name);
    this.kept.push({ name, lines });
    const oldest = this.kept.length > KEPT ? this.kept.shift() : undefined;
    if (oldest !== undefined) await this.remove(oldest.name);
  }

  async take(name: string): Promise<void> {
    await this.store.smfs("snapshot", "create", this.store.point, name);
  }

  async remove(name: string): Promise<void> {
    await this.store.smfs("snapshot", "rm", this.store.point, name);
  }

  /** The directory is at the same place in each snapshot. */
  async verify(): Promise<void> {
    for (const { name, lines } of this.kept) {
      const shown = this.directory.replace(
        this.store.point,
        this.store.at(".smfs", "snapshots", name),
      );
      expectSame(lines, await listTree(shown));
    }
  }
}
