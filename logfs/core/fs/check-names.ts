/** Questions that only a walk over the whole tree answers: who names an inode, how names are hashed. */
import { FsError, SmfsError } from "../../../lib/errors.ts";
import { walkTree } from "./check-walk.ts";
import { decodeEntry, decodeInode, inodeOf, ITEM, kindOf } from "./items.ts";
import { isDirectory } from "./modes.ts";
import type { Node } from "./node.ts";
import type { Runner } from "./runner.ts";
import type { Tree } from "./tree.ts";

/** Names of one directory are enough to act on; the next check finds the rest. */
const MAX_NAMES = 1024;

/** The directory of each name that leads to the inode. */
export async function namesOf(
  runner: Pick<Runner, "run">,
  tree: Tree,
  inode: number,
): Promise<number[]> {
  const found: number[] = [];
  await eachItem(runner, tree, ITEM.entry, (high, value) => {
    if (decodeEntry(value).inode === inode && found.length < MAX_NAMES) found.push(inodeOf(high));
  });
  return found;
}

/** The seed of the volume's names, which every directory has; 0 when there is no directory. */
export async function nameSeedOf(runner: Pick<Runner, "run">, tree: Tree): Promise<number> {
  let seed = 0;
  await eachItem(runner, tree, ITEM.attributes, (_, value) => {
    const item = decodeInode(value);
    if (isDirectory(item.mode)) seed = item.nameSeed;
  });
  return seed;
}

async function eachItem(
  runner: Pick<Runner, "run">,
  tree: Tree,
  kind: number,
  visit: (high: number, value: Uint8Array) => void,
): Promise<void> {
  const onLeaf = (leaf: Node): void => {
    for (const [i, high] of leaf.highs.entries()) {
      if (kindOf(high) !== kind) continue;
      try {
        visit(high, leaf.valueAt(i));
      } catch (error) {
        // An item that cannot be decoded answers nothing; the check reports it.
        if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
      }
    }
  };
  await walkTree(runner, tree.root, { onLeaf, onUnreadable: () => {} });
}
