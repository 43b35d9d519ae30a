/**
 * What a directory tree holds, as a list that can be compared: the record kept outside both sites.
 */
import { createHash } from "node:crypto";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

export interface TreeRecord {
  /** By path below the root: type, permissions, modification time and the digest of the content. */
  readonly entries: ReadonlyMap<string, string>;
  readonly files: number;
  readonly bytes: number;
}

export async function recordTree(root: string): Promise<TreeRecord> {
  const entries = new Map<string, string>();
  const totals = { files: 0, bytes: 0 };
  await visit(root, "", entries, totals);
  return { entries, ...totals };
}

async function visit(
  root: string,
  below: string,
  entries: Map<string, string>,
  totals: { files: number; bytes: number },
): Promise<void> {
  for (const name of (await readdir(join(root, below))).sort()) {
    const path = join(below, name);
    const full = join(root, path);
    const status = await lstat(full);
    const mode = status.mode.toString(8);
    if (status.isDirectory()) {
      entries.set(path, `directory ${mode}`);
      await visit(root, path, entries, totals);
    } else if (status.isSymbolicLink()) {
      entries.set(path, `symlink ${await readlink(full)}`);
      totals.files++;
    } else if (status.isFile()) {
      const digest = createHash("sha256")
        .update(await readFile(full))
        .digest("hex");
      entries.set(path, `file ${mode} ${Math.floor(status.mtimeMs)} ${digest}`);
      totals.files++;
      totals.bytes += status.size;
    }
  }
}

/** How many files of `expected` are in `found` with the same content, permissions and times. */
export function countIdentical(expected: TreeRecord, found: TreeRecord): number {
  let identical = 0;
  for (const [path, what] of expected.entries) {
    if (!what.startsWith("directory") && found.entries.get(path) === what) identical++;
  }
  return identical;
}
