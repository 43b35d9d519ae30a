/**
 * Paths of inodes in one tree, for many inodes at once. An inode says which directory a name of it
 * stands in (of a directory always true, of a file a hint), and each such directory is read once.
 * Files whose hint is wrong or missing are looked for in one walk over the whole tree.
 */
import { concatBytes, latin1 } from "../../../lib/bytes.ts";
import { ROOT_INODE } from "../vfs.ts";
import { walkTree } from "./check-walk.ts";
import { decodeEntry, decodeInode, inodeOf, ITEM, keyOf, kindOf } from "./items.ts";
import { listEntries } from "./names.ts";
import type { Node } from "./node.ts";
import type { TreeAccess } from "./snapshot-volume.ts";

export interface Named {
  readonly directory: number;
  readonly name: Uint8Array;
}

/** Directories above a name, at most: longer is a circle, which only damage makes. */
const MAX_DEPTH = 4096;
const LISTING_BATCH = 1024;
const SLASH = latin1("/");

export class Names {
  private readonly access: TreeAccess;
  private readonly known = new Map<number, Named>();

  constructor(access: TreeAccess) {
    this.access = access;
  }

  note(inode: number, named: Named): void {
    this.known.set(inode, named);
  }

  /** Learns names of `inodes` and of everything above them. Rejects with what loading a node does. */
  async resolve(inodes: Iterable<number>): Promise<void> {
    const lost = await this.climb(inodes);
    if (lost.size === 0) return;
    await this.search(lost);
    const directories = [...lost].map((inode) => this.known.get(inode)?.directory ?? ROOT_INODE);
    await this.climb(directories);
  }

  /** null when it has no name, or not all above it are known. */
  pathOf(inode: number): Uint8Array | null {
    return inode === ROOT_INODE ? SLASH : this.pathOfName(this.known.get(inode));
  }

  pathOfName(named: Named | undefined): Uint8Array | null {
    const parts: Uint8Array[] = [];
    let at = named;
    for (let depth = 0; at !== undefined && depth < MAX_DEPTH; depth++) {
      parts.unshift(SLASH, at.name);
      if (at.directory === ROOT_INODE) return concatBytes(parts);
      at = this.known.get(at.directory);
    }
    return null;
  }

  /** Level by level up to the root; gives those that are not where they say. */
  private async climb(inodes: Iterable<number>): Promise<Set<number>> {
    const lost = new Set<number>();
    let wanted = new Set(inodes);
    for (let depth = 0; wanted.size > 0 && depth < MAX_DEPTH; depth++) {
      const above = new Set<number>();
      for (const [directory, children] of await this.byDirectory(wanted)) {
        await this.readDirectory(directory, children);
        above.add(directory);
      }
      for (const inode of wanted) {
        const named = this.known.get(inode);
        if (named !== undefined) above.add(named.directory);
        else if (inode !== ROOT_INODE) lost.add(inode);
      }
      for (const inode of above) if (this.known.has(inode)) above.delete(inode);
      above.delete(ROOT_INODE);
      wanted = above;
    }
    return lost;
  }

  private async byDirectory(wanted: ReadonlySet<number>): Promise<Map<number, Set<number>>> {
    const groups = new Map<number, Set<number>>();
    for (const inode of wanted) {
      if (this.known.has(inode) || inode === ROOT_INODE) continue;
      const parent = await this.parentOf(inode);
      if (parent === 0) continue;
      const group = groups.get(parent);
      if (group === undefined) groups.set(parent, new Set([inode]));
      else group.add(inode);
    }
    return groups;
  }

  /** 0 when it does not know. */
  private async parentOf(inode: number): Promise<number> {
    const { tree, runner } = this.access;
    return runner.run(() => {
      const value = tree.get(keyOf(inode, ITEM.attributes), 0);
      return value === undefined ? 0 : decodeInode(value).parent;
    });
  }

  private async readDirectory(directory: number, wanted: Set<number>): Promise<void> {
    const { tree, runner } = this.access;
    for (let cookie = 0; wanted.size > 0; ) {
      const from = cookie;
      const entries = await runner.run(() => listEntries(tree, directory, from, LISTING_BATCH));
      for (const { inode, name } of entries) {
        if (wanted.delete(inode)) this.note(inode, { directory, name });
      }
      const last = entries.at(-1);
      if (last === undefined || entries.length < LISTING_BATCH) return;
      cookie = last.cookie;
    }
  }

  private async search(wanted: ReadonlySet<number>): Promise<void> {
    const { tree, runner } = this.access;
    await walkTree(runner, tree.root, {
      onLeaf: (leaf) => this.noteEntries(leaf, wanted),
      onUnreadable: (_slot, _range, error) => {
        throw error;
      },
    });
  }

  private noteEntries(leaf: Node, wanted: ReadonlySet<number>): void {
    for (const [i, high] of leaf.highs.entries()) {
      if (kindOf(high) !== ITEM.entry || inodeOf(high) === 0) continue;
      const { inode, name } = decodeEntry(leaf.valueAt(i));
      if (!wanted.has(inode) || this.known.has(inode)) continue;
      this.note(inode, { directory: inodeOf(high), name: name.slice() });
    }
  }
}
