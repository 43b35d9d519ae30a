/**
 * Names for inodes that findings are about: looked for only when there are findings, and only for
 * those inodes. One walk finds a name of each (files know none of their own), then each name's
 * directory is followed to the root.
 */
import { concatBytes, latin1 } from "../../../lib/bytes.ts";
import { FsError, SmfsError } from "../../../lib/errors.ts";
import { ROOT_INODE } from "../vfs.ts";
import { isBoundaryFailure, walkTree } from "./check-walk.ts";
import { decodeEntry, decodeInode, inodeOf, ITEM, keyOf, kindOf, LOW_END } from "./items.ts";
import type { Node } from "./node.ts";
import type { Runner } from "./runner.ts";
import type { Tree } from "./tree.ts";

/** Directories above a name, at most: longer is a cycle. */
const MAX_DEPTH = 4096;
const SLASH = latin1("/");

interface Named {
  readonly directory: number;
  readonly name: Uint8Array;
}

/** A path of each inode that has one. */
export async function findPaths(
  runner: Runner,
  tree: Tree,
  inodes: ReadonlySet<number>,
): Promise<Map<number, Uint8Array>> {
  const names = new Map<number, Named>();
  await walkTree(runner, tree.root, {
    onLeaf: (leaf) => noteNames(leaf, inodes, names),
    onUnreadable: () => {},
  });
  const paths = new Map<number, Uint8Array>();
  for (const inode of inodes) {
    const path = inode === ROOT_INODE ? SLASH : await pathOf(runner, tree, names.get(inode));
    if (path !== null) paths.set(inode, path);
  }
  return paths;
}

function noteNames(leaf: Node, wanted: ReadonlySet<number>, names: Map<number, Named>): void {
  for (const [i, high] of leaf.highs.entries()) {
    if (kindOf(high) !== ITEM.entry || high < keyOf(1, ITEM.attributes)) continue;
    const entry = tryDecodeEntry(leaf.valueAt(i));
    if (entry === null || !wanted.has(entry.inode) || names.has(entry.inode)) continue;
    names.set(entry.inode, { directory: inodeOf(high), name: entry.name.slice() });
  }
}

function tryDecodeEntry(value: Uint8Array) {
  try {
    return decodeEntry(value);
  } catch (error) {
    if (error instanceof SmfsError || error instanceof FsError) return null;
    throw error;
  }
}

async function pathOf(
  runner: Runner,
  tree: Tree,
  named: Named | undefined,
): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = [];
  let at = named;
  for (let depth = 0; at !== undefined && depth < MAX_DEPTH; depth++) {
    parts.unshift(SLASH, at.name);
    if (at.directory === ROOT_INODE) return concatBytes(parts);
    at = await nameOfDirectory(runner, tree, at.directory);
  }
  return null;
}

/** Directories do know where they stand. */
async function nameOfDirectory(
  runner: Runner,
  tree: Tree,
  inode: number,
): Promise<Named | undefined> {
  try {
    return await runner.run(() => {
      const value = tree.get(keyOf(inode, ITEM.attributes), 0);
      if (value === undefined) return undefined;
      const { parent } = decodeInode(value);
      let found: Named | undefined;
      tree.scan(keyOf(parent, ITEM.entry), 0, LOW_END, (_, item) => {
        const entry = tryDecodeEntry(item);
        if (entry?.inode === inode) found = { directory: parent, name: entry.name.slice() };
        return found === undefined;
      });
      return found;
    });
  } catch (error) {
    if (isBoundaryFailure(error)) return undefined;
    throw error;
  }
}
