/**
 * Directory trees, of this machine or of a site's file system: copied, and recorded as a list that
 * can be compared (the record is kept outside both sites).
 */
import { createHash } from "node:crypto";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** stat.h, from include/uapi/linux/stat.h */
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFREG = 0o100000;

export interface Status {
  /** Type and permission bits, as st_mode. */
  readonly mode: number;
  readonly size: number;
  /** Last modification, milliseconds since 1970. */
  readonly mtimeMs: number;
}

export interface TreeReader {
  readdir(path: string): Promise<string[]>;
  lstat(path: string): Promise<Status>;
  readFile(path: string): Promise<Buffer>;
  readlink(path: string): Promise<string>;
}

export interface TreeWriter {
  mkdir(path: string): Promise<void>;
  writeFile(path: string, content: Uint8Array): Promise<void>;
  symlink(target: string, path: string): Promise<void>;
  /** Permissions and time of last modification. */
  setStatus(path: string, status: Status): Promise<void>;
}

export const HOST_FILES: TreeReader = {
  readdir: (path) => readdir(path),
  lstat: (path) => lstat(path),
  readFile: (path) => readFile(path),
  readlink: (path) => readlink(path),
};

export interface TreeRecord {
  /** By path below the root: type, permissions, modification time and the digest of the content. */
  readonly entries: ReadonlyMap<string, string>;
  readonly files: number;
  readonly bytes: number;
}

export async function recordTree(
  root: string,
  files: TreeReader = HOST_FILES,
): Promise<TreeRecord> {
  const entries = new Map<string, string>();
  const totals = { files: 0, bytes: 0 };
  await visit(files, root, "", entries, totals);
  return { entries, ...totals };
}

async function visit(
  files: TreeReader,
  root: string,
  below: string,
  entries: Map<string, string>,
  totals: { files: number; bytes: number },
): Promise<void> {
  for (const name of (await files.readdir(join(root, below))).toSorted()) {
    const path = join(below, name);
    const full = join(root, path);
    const status = await files.lstat(full);
    const mode = status.mode.toString(8);
    const type = status.mode & S_IFMT;
    if (type === S_IFDIR) {
      entries.set(path, `directory ${mode}`);
      await visit(files, root, path, entries, totals);
    } else if (type === S_IFLNK) {
      entries.set(path, `symlink ${await files.readlink(full)}`);
      totals.files++;
    } else if (type === S_IFREG) {
      const digest = createHash("sha256")
        .update(await files.readFile(full))
        .digest("hex");
      entries.set(path, `file ${mode} ${Math.floor(status.mtimeMs)} ${digest}`);
      totals.files++;
      totals.bytes += status.size;
    }
  }
}

/** As `cp -a`, but for owners and hard links. */
export async function copyTree(
  from: TreeReader,
  source: string,
  to: TreeWriter,
  target: string,
): Promise<void> {
  await to.mkdir(target);
  for (const name of await from.readdir(source)) {
    const [here, there] = [join(source, name), join(target, name)];
    const type = (await from.lstat(here)).mode & S_IFMT;
    if (type === S_IFDIR) await copyTree(from, here, to, there);
    else if (type === S_IFLNK) await to.symlink(await from.readlink(here), there);
    else if (type === S_IFREG) {
      await to.writeFile(there, await from.readFile(here));
      await to.setStatus(there, await from.lstat(here));
    }
  }
  // Only now: its own entries would change the time, and the permissions may forbid them.
  await to.setStatus(target, await from.lstat(source));
}

/** What was the same before and after: whoever changes a tree while it is copied gets either. */
export function unchanged(before: TreeRecord, after: TreeRecord): TreeRecord {
  const entries = new Map(
    [...before.entries].filter(([path, what]) => after.entries.get(path) === what),
  );
  return { entries, files: filesOf({ ...before, entries }).length, bytes: before.bytes };
}

/** Files of `expected` that are not in `found` with the same content, permissions and times. */
export function differences(expected: TreeRecord, found: TreeRecord): string[] {
  return filesOf(expected).filter((path) => found.entries.get(path) !== expected.entries.get(path));
}

function filesOf({ entries }: TreeRecord): string[] {
  return [...entries].filter(([, what]) => !what.startsWith("directory")).map(([path]) => path);
}
