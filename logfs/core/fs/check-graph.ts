/**
 * Names against inodes. While items pass by, `Graph` notes of each inode what it says of itself and
 * what names say of it; in the end the two must agree. It is about a range of inodes that fits into
 * memory (`check-table.ts`); parents outside of it are asked for one by one.
 */
import { ROOT_INODE } from "../vfs.ts";
import type { Findings } from "./check-findings.ts";
import { InodeTable, MARK } from "./check-table.ts";
import type { InodeItem } from "./items.ts";
import { S_IFDIR } from "./modes.ts";
import { isTruncating } from "./truncation.ts";

/** st_mode's type bits as the table keeps them. */
const TYPE_SHIFT = 12;
const DIRECTORY = S_IFDIR >>> TYPE_SHIFT;

/** The directory an inode says it stands in; null: there is no such directory. */
export type ParentOf = (inode: number) => Promise<number | null>;

export class Graph {
  readonly table: InodeTable;
  private readonly findings: Findings;

  /** About inodes from `from` on, as many as `memoryBytes` hold. */
  constructor(findings: Findings, from: number, memoryBytes: number) {
    this.findings = findings;
    this.table = new InodeTable(from, memoryBytes);
  }

  inode(inode: number, item: InodeItem): void {
    const { table } = this;
    const slot = table.slotOf(inode);
    if (slot < 0) return;
    table.type[slot] = item.mode >>> TYPE_SHIFT;
    table.links[slot] = item.links;
    table.parent[slot] = item.parent;
    if (isTruncating(item)) this.mark(inode, MARK.truncating);
  }

  entry(directory: number, inode: number, type: number): void {
    const { table } = this;
    const slot = table.slotOf(inode);
    if (slot < 0) return;
    table.names[slot] = (table.names[slot] as number) + 1;
    table.namedIn[slot] = directory;
    table.namedType[slot] = type >>> TYPE_SHIFT;
  }

  mark(inode: number, mark: number): void {
    const slot = this.table.slotOf(inode);
    if (slot >= 0) this.table.marks[slot] = (this.table.marks[slot] as number) | mark;
  }

  /** `nextInode`: as the superblock says. */
  async finish(nextInode: number, parentOf: ParentOf): Promise<void> {
    const { table, findings } = this;
    if (table.covers(ROOT_INODE) && this.typeOf(ROOT_INODE) !== DIRECTORY) {
      findings.error("root", ROOT_INODE, "the root directory is missing");
    }
    for (const inode of table.sorted()) {
      const slot = table.lookup(inode);
      if (table.type[slot] === 0) {
        this.absent(inode, slot);
        continue;
      }
      if (inode >= nextInode) {
        findings.error("next-inode", inode, `not below the next inode ${nextInode}`);
      }
      await this.present(inode, slot, parentOf);
    }
  }

  private typeOf(inode: number): number {
    const slot = this.table.lookup(inode);
    return slot < 0 ? 0 : (this.table.type[slot] as number);
  }

  private isMarked(slot: number, mark: number): boolean {
    return ((this.table.marks[slot] as number) & mark) !== 0;
  }

  /** Something speaks of an inode whose attributes nobody has seen. */
  private absent(inode: number, slot: number): void {
    const { names, namedIn } = this.table;
    if ((names[slot] as number) > 0) {
      const text = `an entry leads to inode ${inode}, which does not exist`;
      this.findings.error("entry-dangling", namedIn[slot] as number, text, { subject: inode });
    }
    if (this.isMarked(slot, MARK.orphan)) {
      this.findings.error("orphan", inode, "an orphan that does not exist");
    }
    if (this.isMarked(slot, MARK.truncation)) {
      this.findings.error("truncation", inode, "a truncation of an inode that does not exist");
    }
  }

  private async present(inode: number, slot: number, parentOf: ParentOf): Promise<void> {
    const { table, findings } = this;
    const links = table.links[slot] as number;
    const names = table.names[slot] as number;
    const type = table.type[slot] as number;
    if (names > 0 && table.namedType[slot] !== type) {
      const text = `an entry of another type than its inode ${inode}`;
      findings.error("entry-type", table.namedIn[slot] as number, text, { subject: inode });
    }
    if (this.isMarked(slot, MARK.truncating) !== this.isMarked(slot, MARK.truncation)) {
      findings.error("truncation", inode, "its mark and the pending truncation do not agree");
    }
    if (this.isMarked(slot, MARK.orphan) && links > 0) {
      findings.error("orphan", inode, `an orphan with ${links} links`);
    }
    if (links === 0) this.unlinked(inode, slot, names);
    else if (type === DIRECTORY) await this.directory(inode, slot, parentOf);
    else if (names === 0) findings.error("unreachable", inode, `says ${links} links, has 0 names`);
    else if (names !== links) {
      const text = `says ${links} links, has ${names} names`;
      findings.error("links", inode, text, { subject: names });
    }
  }

  private unlinked(inode: number, slot: number, names: number): void {
    if (names > 0) {
      const text = `says it has no links, has ${names} names`;
      this.findings.error("links", inode, text, { subject: names });
    } else if (!this.isMarked(slot, MARK.orphan)) {
      this.findings.error("unlinked", inode, "without links and not an orphan");
    }
  }

  private async directory(inode: number, slot: number, parentOf: ParentOf): Promise<void> {
    const { table, findings } = this;
    const names = table.names[slot] as number;
    const namedIn = table.namedIn[slot] as number;
    const parent = table.parent[slot] as number;
    if (inode === ROOT_INODE) {
      if (names > 0 || parent !== inode) findings.error("root", inode, "the root has a parent");
      return;
    }
    if (names > 1) findings.error("directory-names", inode, `a directory with ${names} names`);
    else if (names === 1 && namedIn !== parent) {
      const text = `says it stands in ${parent}, stands in ${namedIn}`;
      findings.error("directory-parent", inode, text, { subject: namedIn });
    }
    if (names === 0) findings.error("unreachable", inode, "a directory with 0 names");
    else if (!(await this.reachesRoot(inode, parentOf))) {
      findings.error("unreachable", inode, "not reachable from the root");
    }
  }

  /** Follows parents; every directory on the way remembers the answer. */
  private async reachesRoot(inode: number, parentOf: ParentOf): Promise<boolean> {
    const way: number[] = [];
    let at: number | null = inode;
    let isRooted = false;
    while (at !== null && this.table.covers(at)) {
      const slot: number = this.table.lookup(at);
      isRooted = at === ROOT_INODE || (slot >= 0 && this.isMarked(slot, MARK.rooted));
      if (isRooted || slot < 0 || this.isMarked(slot, MARK.lost)) break;
      // A cycle meets this mark: what leads into itself does not lead to the root.
      this.mark(at, MARK.lost);
      way.push(slot);
      at = this.table.parent[slot] as number;
    }
    if (at !== null && !this.table.covers(at)) isRooted = await climbs(at, parentOf);
    if (isRooted) for (const slot of way) this.settle(slot);
    return isRooted;
  }

  private settle(slot: number): void {
    this.table.marks[slot] = ((this.table.marks[slot] as number) & ~MARK.lost) | MARK.rooted;
  }
}

/** Whether parents lead to the root. Brent's algorithm: a cycle is found without a list of the way. */
async function climbs(from: number, parentOf: ParentOf): Promise<boolean> {
  let tortoise = from;
  let at: number | null = from;
  for (let steps = 1, power = 1; at !== null && at !== ROOT_INODE; steps++) {
    at = await parentOf(at);
    if (at === tortoise) return false;
    if (steps === power && at !== null) {
      tortoise = at;
      power *= 2;
      steps = 0;
    }
  }
  return at === ROOT_INODE;
}
