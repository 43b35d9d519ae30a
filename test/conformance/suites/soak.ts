/**
 * A small store under churn: most of what is written is soon overwritten or removed, many times the
 * store's capacity in all, so that segments must be dropped and cleaned for it to go on. Meanwhile a
 * part stays as it was, snapshots are taken and removed, and the file server is killed.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../../lib/prng.ts";
import type { SiteStatus } from "../../../web/status-types.ts";
import { KillLoop } from "../kill/loop.ts";
import type { MountedStore } from "../mounted-store.ts";
import { type Checks, type Suite, type SuiteOptions, withStore } from "../suite.ts";
import { expectSame, listTree } from "../tree.ts";

const DEFAULT_ROUNDS = 20;
/** About two thirds of it are alive: a quarter stays, snapshots hold as much again. */
const SMALL = { segmentSize: "8MiB", mountFlags: ["--capacity=192MB"] };
const COLD_FILES = 800;
const HOT_FILES = 400;
/** So often each hot file is written in a round: half the capacity in all. */
const OVERWRITES = 4;
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
  const random = new Prng(options.seed);
  fill(cold, COLD_FILES, random);
  const expected = await listTree(cold);
  const snapshots = new Snapshots(store, hot);
  const kills = new KillLoop(store, options.seed);
  let cleaned = 0;
  for (let round = 1; round <= rounds; round++) {
    const isWhole = await checks.check(`round ${round}`, async () => {
      for (let i = 0; i < OVERWRITES; i++) fill(hot, HOT_FILES, random);
      thin(hot, random);
      cleaned += await cleanedSegments(store);
      await snapshots.turn(`round-${round}`);
      if (random.chance(0.5)) await killWithSnapshot(kills, snapshots, `busy-${round}`);
      else await store.remount();
      await snapshots.verify();
      expectSame(expected, await listTree(cold));
    });
    if (!isWhole) break;
  }
  options.log(`${cleaned} segments cleaned`);
  checks.note("the cleaner was needed", cleaned > 0 ? "passed" : "failed", "nothing was cleaned");
}

/** Since the server started. */
async function cleanedSegments(store: MountedStore): Promise<number> {
  const text = await store.smfs("status", "--json", store.point);
  return (JSON.parse(text) as SiteStatus).cleaner?.cleanedSegments ?? 0;
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

/** Random files, written over those of the same names. */
function fill(directory: string, files: number, random: Prng): void {
  for (let i = 0; i < files; i++) {
    writeFileSync(join(directory, `f${i}`), randomBytes(1 + random.below(FILE_BYTES)));
  }
}

/** Removes about every second file. */
function thin(directory: string, random: Prng): void {
  for (const name of readdirSync(directory)) {
    if (random.chance(0.5)) unlinkSync(join(directory, name));
  }
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
