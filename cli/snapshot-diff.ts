/**
 * `smfs snapshot diff`: what changed since a snapshot, or between two. It reads the store's files
 * itself, beside a running site: what snapshots hold does not change, and the site is spared the work.
 */
import { Command } from "commander";
import { type PathChange, diffTrees } from "../logfs/core/fs/diff.ts";
import type { FrozenVolume } from "../logfs/core/fs/frozen-volume.ts";
import type { TreeAccess } from "../logfs/core/fs/snapshot-volume.ts";
import { SmfsError } from "../lib/errors.ts";
import { storeOf } from "./mountpoints.ts";
import { readStored } from "./stored-volume.ts";

const SIGNS = { added: "+", removed: "-", modified: "M", renamed: "R" } as const;

export function diffCommand(): Command {
  return new Command("diff")
    .description("paths that were added (+), removed (-), modified (M), renamed (R)")
    .argument("<store>", "the store's directory, or where it is mounted; or STORE@NAME")
    .argument("[names...]", "the older snapshot, then the newer one; without it: as it is now")
    .option("--json", "print one JSON object a line")
    .action(async (path: string, names: string[], { json }: { json?: true }) => {
      const { store, from, to } = sidesOf(path, names);
      const changes = await readStored(store, ({ volume }) =>
        diffTrees(side(volume, from), side(volume, to)),
      );
      for (const change of changes) process.stdout.write(json ? asJson(change) : asLine(change));
    });
}

interface Sides {
  readonly store: string;
  readonly from: string;
  /** null: the file system as it is now. */
  readonly to: string | null;
}

function sidesOf(path: string, names: readonly string[]): Sides {
  const at = names.length < 2 ? path.lastIndexOf("@") : -1;
  const inPath = at > 0 ? [path.slice(at + 1)] : [];
  const [from, to, ...more] = [...inPath, ...names];
  if (from === undefined || more.length > 0) {
    throw new SmfsError("USAGE", "name one snapshot or two: STORE A [B], or STORE@A [B]");
  }
  return { store: storeOf(at > 0 ? path.slice(0, at) : path), from, to: to ?? null };
}

function side(volume: FrozenVolume, name: string | null): TreeAccess {
  if (name === null) return volume.nodes;
  const snapshot = volume.keptSnapshots.find((one) => one.name === name);
  if (snapshot === undefined) throw new SmfsError("NOT_FOUND", `there is no snapshot ${name}`);
  return volume.openSnapshot(snapshot).nodes;
}

function asLine({ kind, path, newPath }: PathChange): string {
  const target = newPath === undefined ? "" : ` -> ${escaped(newPath)}`;
  return `${SIGNS[kind]}\t${escaped(path)}${target}\n`;
}

function asJson({ kind, inode, type, path, newPath }: PathChange): string {
  const target = newPath === undefined ? {} : { newPath: text(newPath) };
  const typeName = TYPES.get(type) ?? "unknown";
  return `${JSON.stringify({ kind, inode, type: typeName, path: text(path), ...target })}\n`;
}

/** stat(1)'s letters would need a table to be read. */
const TYPES = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o010000, "fifo"],
  [0o140000, "socket"],
  [0o060000, "block device"],
  [0o020000, "character device"],
]);

function text(path: Uint8Array): string {
  return Buffer.from(path).toString("utf8");
}

/** One line a path, whatever bytes are in it: control characters and backslashes as in `zfs diff`. */
function escaped(path: Uint8Array): string {
  return text(path).replace(
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(4, "0")}`,
  );
}
