/**
 * smfs beside file systems that people use, in one run over the same backing store: libfuse's
 * `passthrough_hp` (C, the store's own file system behind FUSE) and GlusterFS with one brick.
 *
 * Each workload runs on all targets in turn, in the opposite order every other round (A B B A), so
 * that a machine that gets faster or slower meanwhile favours nobody; a ratio is the median of the
 * rounds'. Metadata has a round before the first that does not count. Processor time per operation
 * is the servers', without the clients'.
 */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SmfsError } from "../lib/errors.ts";
import { hasFio } from "./fio.ts";
import { startGluster } from "./gluster.ts";
import { median, Meter, type Sample } from "./meter.ts";
import { startPassthrough, startSmfs, type Target } from "./servers.ts";
import {
  DATA,
  METADATA,
  packTree,
  SYNCED,
  type Workload,
  type WorkloadOptions,
} from "./workloads.ts";

export interface PeersOptions {
  /** The program passthrough_hp. */
  readonly passthrough?: string;
  readonly gluster: boolean;
  /** Backing store of what needs no disk; default: memory, where there is /dev/shm. */
  readonly directory?: string;
  /** Backing store of what syncs, and of GlusterFS (which wants extended attributes). */
  readonly disk?: string;
  readonly rounds: number;
  readonly files: number;
  readonly fioDirectory?: string;
  /** Only workloads whose name contains this. */
  readonly only?: string;
}

export interface Comparison {
  readonly workload: string;
  readonly peer: string;
  /** Medians. */
  readonly smfs: Sample;
  readonly other: Sample;
  readonly ratio: number;
  /** What is asked of `ratio`; null where nothing is. */
  readonly target: number | null;
}

/** What smfs must reach of a peer's rate. */
const TARGETS: Record<string, Record<string, number>> = {
  passthrough_hp: {
    "write 1 MiB": 1,
    "read 1 MiB": 0.7,
    "random read 4 KiB": 0.5,
    "write 4 KiB + fsync, 16 writers": 1.5,
    "create, 1 processes": 0.7,
    "stat, 1 processes": 0.7,
    "unlink, 1 processes": 0.7,
    "create, 4 processes": 0.7,
    "stat, 4 processes": 0.7,
    "unlink, 4 processes": 0.7,
    untar: 0.8,
  },
  glusterfs: {
    "create, 1 processes": 2,
    "stat, 1 processes": 2,
    "unlink, 1 processes": 2,
    "create, 4 processes": 2,
    "stat, 4 processes": 2,
    "unlink, 4 processes": 2,
  },
};

type Start = (place: string) => Promise<Target>;

/** Targets that share a backing store, and what they are measured by. */
interface Part {
  readonly parent: string;
  readonly peers: readonly Start[];
  readonly workloads: readonly Workload[];
}

export async function run(options: PeersOptions) {
  const lacking: string[] = [];
  const parts = await partsOf(options, lacking);
  const comparisons: Comparison[] = [];
  for (const part of parts) comparisons.push(...(await measurePart(part, options)));
  return { schemaVersion: 1, rounds: options.rounds, files: options.files, lacking, comparisons };
}

async function partsOf(options: PeersOptions, lacking: string[]): Promise<Part[]> {
  const withFio = await hasFio();
  if (!withFio) lacking.push("fio: no data workloads (Debian package fio)");
  const wanted = (all: readonly Workload[]) =>
    all.filter(({ name }) => name.includes(options.only ?? ""));
  const disk = options.disk ?? tmpdir();
  const parts: Part[] = [];
  const { passthrough } = options;
  if (passthrough === undefined) {
    lacking.push("passthrough_hp: --peer passthrough_hp=PATH (built from libfuse's examples)");
  } else {
    const peers = [(place: string) => startPassthrough(place, passthrough)];
    const workloads = wanted([...(withFio ? DATA : []), ...METADATA]);
    parts.push({ parent: options.directory ?? memoryDirectory(), peers, workloads });
    if (withFio) parts.push({ parent: disk, peers, workloads: wanted([SYNCED]) });
  }
  if (!options.gluster)
    lacking.push("glusterfs: --gluster (Debian package glusterfs-server, root)");
  else parts.push({ parent: disk, peers: [startGluster], workloads: wanted(METADATA) });
  return parts.filter(({ workloads }) => workloads.length > 0);
}

function memoryDirectory(): string {
  return fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
}

async function measurePart(part: Part, options: PeersOptions): Promise<Comparison[]> {
  const place = fs.mkdtempSync(join(part.parent, "smfs-bench-"));
  const targets: Target[] = [];
  try {
    for (const start of [startSmfs, ...part.peers]) targets.push(await start(place));
    const { fioDirectory } = options;
    const given = fioDirectory === undefined ? {} : { fioDirectory };
    const how = { files: options.files, tree: packTree(place), ...given };
    const warmed = part.workloads.filter(({ isWarmed }) => isWarmed);
    await measureRound(warmed, targets, 0, how);
    const rounds: Round[] = [];
    for (let round = 0; round < options.rounds; round++) {
      rounds.push(await measureRound(part.workloads, targets, round, how));
    }
    return targets.slice(1).flatMap((peer) => compare(rounds, peer.name));
  } finally {
    for (const target of targets) await target.stop();
    fs.rmSync(place, { recursive: true });
  }
}

/** Samples by target, then by workload. */
type Round = ReadonlyMap<string, ReadonlyMap<string, Sample>>;

async function measureRound(
  workloads: readonly Workload[],
  targets: readonly Target[],
  round: number,
  options: WorkloadOptions,
): Promise<Round> {
  const meters = new Map(targets.map((target) => [target.name, new Meter(target)]));
  const order = round % 2 === 0 ? targets : targets.toReversed();
  for (const workload of workloads) {
    for (const { name, directory } of order) {
      const meter = meters.get(name);
      if (meter !== undefined) await workload.run(meter, directory, options);
    }
  }
  return new Map([...meters].map(([name, { samples }]) => [name, samples]));
}

function compare(rounds: readonly Round[], peer: string): Comparison[] {
  const workloads = [...(rounds[0]?.get("smfs")?.keys() ?? [])];
  return workloads.map((workload) => {
    const ours = samplesOf(rounds, "smfs", workload);
    const theirs = samplesOf(rounds, peer, workload);
    const ratio = median(ours.map(({ rate }, i) => rate / (theirs[i]?.rate ?? Number.NaN)));
    const target = TARGETS[peer]?.[workload] ?? null;
    return { workload, peer, smfs: medians(ours), other: medians(theirs), ratio, target };
  });
}

function samplesOf(rounds: readonly Round[], target: string, workload: string): Sample[] {
  return rounds.map((round) => {
    const sample = round.get(target)?.get(workload);
    if (sample === undefined) throw new SmfsError("IO", `${target} was not measured: ${workload}`);
    return sample;
  });
}

function medians(samples: readonly Sample[]): Sample {
  return {
    rate: median(samples.map(({ rate }) => rate)),
    cpuMicros: median(samples.map(({ cpuMicros }) => cpuMicros)),
  };
}

const COLUMNS = [
  "workload",
  "peer",
  "smfs /s",
  "peer /s",
  "ratio",
  "target",
  "",
  "smfs µs",
  "peer µs",
];

/** The comparisons as lines of text; µs are the server's processor time per operation. */
export function table(comparisons: readonly Comparison[]): string {
  const rows = [COLUMNS, ...comparisons.map((one) => cells(one))];
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ");
  return rows.map((row) => `${line(row)}\n`).join("");
}

function cells({ workload, peer, smfs, other, ratio, target }: Comparison): string[] {
  const verdict = target === null ? "" : ratio >= target ? "met" : "MISSED";
  const rates = [smfs.rate, other.rate].map((rate) => rate.toFixed(0));
  const costs = [smfs.cpuMicros, other.cpuMicros].map((micros) => micros.toFixed(1));
  const asked = target === null ? "" : target.toFixed(1);
  return [workload, peer, ...rates, ratio.toFixed(2), asked, verdict, ...costs];
}
