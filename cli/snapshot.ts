/**
 * `smfs snapshot`: take, list, compare, return to and remove snapshots. Through the site when one
 * runs on the store, else on the store itself. A snapshot may be named as ZFS does: STORE@NAME.
 */
import { Command } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { formatBytes } from "../lib/units.ts";
import type { SnapshotInfo } from "../logfs/core/fs/snapshot-usage.ts";
import type { TreeVolume } from "../logfs/core/fs/volume.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { askControl } from "./control.ts";
import { storeOf } from "./mountpoints.ts";
import { diffCommand } from "./snapshot-diff.ts";
import { changeStored, readStored, unlessRunning } from "./stored-volume.ts";

/** A rollback waits for the mount to go and come. */
const ANSWER_MILLIS = 120_000;
const STORE = "the store's directory, or where it is mounted; or STORE@NAME";

export function snapshotCommand(): Command {
  const snapshot = new Command("snapshot").description("states of the file system that are kept");
  snapshot
    .command("create")
    .description("keep the file system as it is now")
    .argument("<store>", STORE)
    .argument("[name]", "1 to 255 letters, digits and _ . : -")
    .action((store: string, name?: string) => create(targetOf(store, name)));
  snapshot
    .command("list")
    .description("the snapshots, what they refer to, and what removing each would free at least")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--json", "print one JSON object")
    .action(list);
  snapshot.addCommand(diffCommand());
  snapshot
    .command("rollback")
    .description("make the file system what it was; later snapshots stay, later changes go")
    .argument("<store>", STORE)
    .argument("[name]", "the snapshot")
    .option("--force", "even though files are open: they become unusable")
    .action((store: string, name: string | undefined, flags: Forceable) =>
      rollBack(targetOf(store, name), flags),
    );
  snapshot
    .command("rm")
    .description("forget a snapshot; what only it needed is freed")
    .argument("<store>", STORE)
    .argument("[name]", "the snapshot")
    .option("--force", "even though files in it are open: they become unusable")
    .action((store: string, name: string | undefined, flags: Forceable) =>
      remove(targetOf(store, name), flags),
    );
  return snapshot;
}

interface Forceable {
  readonly force?: true;
}

export interface Target {
  readonly store: string;
  readonly name: string;
}

/** Throws `SmfsError` USAGE when no snapshot is named, or two are. */
export function targetOf(path: string, name: string | undefined): Target {
  if (name !== undefined) return { store: storeOf(path), name };
  const at = path.lastIndexOf("@");
  if (at <= 0) throw new SmfsError("USAGE", "name a snapshot: STORE NAME, or STORE@NAME");
  return { store: storeOf(path.slice(0, at)), name: path.slice(at + 1) };
}

async function create({ store, name }: Target): Promise<void> {
  await change(store, "take", { name }, (volume) => void volume.snapshots.take(name));
  process.stdout.write(`${store}@${name}\n`);
}

async function remove({ store, name }: Target, flags: Forceable): Promise<void> {
  await change(store, "remove", { name, ...flags }, (volume) => volume.snapshots.remove(name));
  process.stdout.write(`${store}@${name} is removed\n`);
}

async function rollBack({ store, name }: Target, flags: Forceable): Promise<void> {
  const act = (volume: TreeVolume): Promise<void> => volume.snapshots.rollBack(name);
  await change(store, "rollback", { name, ...flags }, act);
  process.stdout.write(`${store} is what it was at ${name}\n`);
}

/** `verb` of the running site; without one, `act` on the volume. */
async function change(
  store: string,
  verb: "take" | "remove" | "rollback",
  parameters: { readonly name: string } & Forceable,
  act: (volume: TreeVolume) => void | Promise<void>,
): Promise<void> {
  const query = new URLSearchParams({ name: parameters.name });
  if (parameters.force) query.set("force", "1");
  const { controlSocket } = StoreRegistry.open(store);
  await unlessRunning(
    () => askControl(controlSocket, `POST /snapshots/${verb}?${query.toString()}`, ANSWER_MILLIS),
    () => changeStored(store, act),
  );
}

async function list(path: string, { json }: { json?: true }): Promise<void> {
  const store = storeOf(path);
  const snapshots = await listSnapshots(store);
  if (json) {
    process.stdout.write(`${JSON.stringify({ schemaVersion: 1, store, snapshots })}\n`);
    return;
  }
  for (const line of tableOf(snapshots)) process.stdout.write(`${line}\n`);
}

/** In the order in which they were taken. */
export async function listSnapshots(store: string): Promise<SnapshotInfo[]> {
  const { controlSocket } = StoreRegistry.open(store);
  return unlessRunning(
    async () =>
      (await askControl<{ snapshots: SnapshotInfo[] }>(controlSocket, "GET /snapshots")).snapshots,
    () => readStored(store, ({ volume }) => volume.describeSnapshots()),
  );
}

const HEADINGS = ["NAME", "CREATED", "RECORD", "REFER", "UNIQUE"];

function tableOf(snapshots: readonly SnapshotInfo[]): string[] {
  const rows = [HEADINGS, ...snapshots.map(rowOf)];
  const widths = HEADINGS.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

function rowOf(snapshot: SnapshotInfo): string[] {
  const { name, createdMicros, sequence, referencedBytes, uniqueBytes, damage } = snapshot;
  const unique = uniqueBytes === null ? `damaged: ${damage}` : formatBytes(uniqueBytes);
  const created = new Date(createdMicros / 1000).toISOString();
  return [name, created, String(sequence), formatBytes(referencedBytes), unique];
}
