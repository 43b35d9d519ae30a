/**
 * The second half of a check: names against inodes. While items pass by, `Graph` notes of each inode
 * what it says of itself and what names say of it; in the end the two must agree.
 * Memory: one entry per inode.
 */
import { ROOT_INODE } from "../vfs.ts";
import type { Findings } from "./check-findings.ts";
import type { InodeItem } from "./items.ts";
import { isDirectory, typeOf } from "./modes.ts";

interface Vertex {
  /** st_mode's type bits as the inode says; −1 while its attributes were not seen. */
  type: number;
  /** As the attributes say. */
  links: number;
  parent: number;
  /** Entries that lead here. */
  names: number;
  /** The directory of the last of them. */
  namedIn: number;
  /** The type that entry says. */
  namedType: number;
  reaches: "unknown" | "root" | "nothing";
}

export class Graph {
  private readonly vertices = new Map<number, Vertex>();
  private readonly orphans = new Set<number>();
  private readonly findings: Findings;

  constructor(findings: Findings) {
    this.findings = findings;
  }

  inode(inode: number, item: InodeItem): void {
    const vertex = this.vertex(inode);
    vertex.type = typeOf(item.mode);
    vertex.links = item.links;
    vertex.parent = item.parent;
  }

  entry(directory: number, inode: number, type: number): void {
    const vertex = this.vertex(inode);
    vertex.names++;
    vertex.namedIn = directory;
    vertex.namedType = type;
  }

  orphan(inode: number): void {
    this.orphans.add(inode);
  }

  /** `nextInode`: as the superblock says. */
  finish(nextInode: number): void {
    const root = this.vertices.get(ROOT_INODE);
    if (root === undefined || !isDirectory(root.type)) {
      this.findings.error(ROOT_INODE, "the root directory is missing");
    }
    for (const [inode, vertex] of this.vertices) {
      if (inode >= nextInode) this.findings.error(inode, `not below the next inode ${nextInode}`);
      if (vertex.type < 0) this.dangling(inode, vertex);
      else this.linked(inode, vertex);
    }
    for (const inode of this.orphans) {
      const vertex = this.vertices.get(inode);
      if (vertex === undefined || vertex.type < 0) {
        this.findings.error(inode, "an orphan that does not exist");
      } else if (vertex.links > 0) {
        this.findings.error(inode, `an orphan with ${vertex.links} links`);
      }
    }
  }

  private dangling(inode: number, { namedIn }: Vertex): void {
    this.findings.error(namedIn, `an entry leads to inode ${inode}, which does not exist`);
  }

  private linked(inode: number, vertex: Vertex): void {
    if (vertex.names > 0 && vertex.namedType !== vertex.type) this.wrongType(vertex.namedIn, inode);
    if (vertex.links === 0) this.unlinked(inode, vertex);
    else if (isDirectory(vertex.type)) this.directory(inode, vertex);
    else if (vertex.names !== vertex.links) {
      this.findings.error(inode, `says ${vertex.links} links, has ${vertex.names} names`);
    }
  }

  private unlinked(inode: number, { names }: Vertex): void {
    if (names > 0) this.findings.error(inode, `says it has no links, has ${names} names`);
    if (!this.orphans.has(inode)) this.findings.error(inode, "without links and not an orphan");
  }

  private directory(inode: number, vertex: Vertex): void {
    const { names, namedIn, parent } = vertex;
    if (inode === ROOT_INODE) {
      if (names > 0 || parent !== inode) this.findings.error(inode, "the root has a parent");
      return;
    }
    if (names !== 1) this.findings.error(inode, `a directory with ${names} names`);
    else if (namedIn !== parent) {
      this.findings.error(inode, `says it stands in ${parent}, stands in ${namedIn}`);
    }
    if (!this.reachesRoot(inode)) this.findings.error(inode, "not reachable from the root");
  }

  /** Follows parents; every directory on the way remembers the answer. */
  private reachesRoot(inode: number): boolean {
    const way: Vertex[] = [];
    let at = inode;
    let vertex = this.vertices.get(at);
    while (at !== ROOT_INODE && vertex !== undefined && vertex.reaches === "unknown") {
      // A cycle meets this mark: what leads into itself does not lead to the root.
      vertex.reaches = "nothing";
      way.push(vertex);
      at = vertex.parent;
      vertex = this.vertices.get(at);
    }
    const reaches = at === ROOT_INODE || vertex?.reaches === "root" ? "root" : "nothing";
    for (const passed of way) passed.reaches = reaches;
    return reaches === "root";
  }

  private wrongType(directory: number, inode: number): void {
    this.findings.error(directory, `an entry of another type than its inode ${inode}`);
  }

  private vertex(inode: number): Vertex {
    let vertex = this.vertices.get(inode);
    if (vertex === undefined) {
      const named = { names: 0, namedIn: 0, namedType: -1 };
      vertex = { type: -1, links: 0, parent: 0, ...named, reaches: "unknown" };
      this.vertices.set(inode, vertex);
    }
    return vertex;
  }
}
