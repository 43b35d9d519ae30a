/**
 * The model that property tests compare the file system with: the semantics of a Linux local file
 * system for root, in plain objects, without any of the code under test.
 */
import type { ErrnoName } from "../lib/errno.ts";

export type NodeKind = "file" | "directory" | "symlink";

export interface ModelNode {
  readonly kind: NodeKind;
  inode: number;
  links: number;
  content: Uint8Array;
  /** Of a directory. */
  readonly entries: Map<string, ModelNode>;
  parent: ModelNode | null;
  readonly xattrs: Map<string, Uint8Array>;
}

export class ModelError extends Error {
  readonly code: ErrnoName;
  constructor(code: ErrnoName) {
    super(code);
    this.code = code;
  }
}

export function refuse(code: ErrnoName): never {
  throw new ModelError(code);
}

function newNode(kind: NodeKind, parent: ModelNode | null): ModelNode {
  const links = kind === "directory" ? 2 : 1;
  const content = new Uint8Array(0);
  return { kind, inode: 0, links, content, entries: new Map(), parent, xattrs: new Map() };
}

export class ModelFs {
  readonly root = newNode("directory", null);

  constructor() {
    this.root.inode = 1;
  }

  directories(): ModelNode[] {
    return this.all().filter((node) => node.kind === "directory");
  }

  /** Every node with a name, once. */
  all(): ModelNode[] {
    const seen = new Set<ModelNode>();
    const visit = (node: ModelNode): void => {
      if (seen.has(node)) return;
      seen.add(node);
      for (const child of node.entries.values()) visit(child);
    };
    visit(this.root);
    return [...seen];
  }

  make(
    parent: ModelNode,
    name: string,
    kind: NodeKind,
    content: Uint8Array = new Uint8Array(0),
  ): ModelNode {
    if (parent.entries.has(name)) refuse("EEXIST");
    if (parent.links === 0) refuse("ENOENT");
    const node = newNode(kind, kind === "directory" ? parent : null);
    node.content = content;
    parent.entries.set(name, node);
    if (kind === "directory") parent.links++;
    return node;
  }

  link(node: ModelNode, parent: ModelNode, name: string): void {
    if (parent.entries.has(name)) refuse("EEXIST");
    if (node.kind === "directory") refuse("EPERM");
    if (node.links === 0) refuse("ENOENT");
    parent.entries.set(name, node);
    node.links++;
  }

  unlink(parent: ModelNode, name: string): void {
    const node = parent.entries.get(name) ?? refuse("ENOENT");
    if (node.kind === "directory") refuse("EISDIR");
    parent.entries.delete(name);
    node.links--;
  }

  rmdir(parent: ModelNode, name: string): void {
    const node = parent.entries.get(name) ?? refuse("ENOENT");
    if (node.kind !== "directory") refuse("ENOTDIR");
    if (node.entries.size > 0) refuse("ENOTEMPTY");
    parent.entries.delete(name);
    parent.links--;
    node.links = 0;
  }

  rename(
    from: ModelNode,
    name: string,
    to: ModelNode,
    newName: string,
    mode: "replace" | "noReplace" | "exchange",
  ): void {
    const node = from.entries.get(name) ?? refuse("ENOENT");
    const other = to.entries.get(newName);
    if (mode === "exchange" && other === undefined) refuse("ENOENT");
    if (mode === "noReplace" && other !== undefined) refuse("EEXIST");
    if (isAbove(node, to)) refuse("EINVAL");
    if (other !== undefined && from !== to && isAbove(other, from)) {
      refuse(mode === "exchange" ? "EINVAL" : "ENOTEMPTY");
    }
    if (node === other) return;
    if (mode === "exchange" && other !== undefined) {
      this.place(from, name, other);
      this.place(to, newName, node);
    } else {
      if (other !== undefined) this.replace(node, other, to, newName);
      from.entries.delete(name);
      this.place(to, newName, node);
    }
    this.recountDirectories();
  }

  private replace(node: ModelNode, other: ModelNode, to: ModelNode, newName: string): void {
    if (node.kind === "directory" && other.kind !== "directory") refuse("ENOTDIR");
    if (node.kind !== "directory" && other.kind === "directory") refuse("EISDIR");
    if (other.entries.size > 0) refuse("ENOTEMPTY");
    to.entries.delete(newName);
    other.links = other.kind === "directory" ? 0 : other.links - 1;
  }

  private place(parent: ModelNode, name: string, node: ModelNode): void {
    parent.entries.set(name, node);
    if (node.kind === "directory") node.parent = parent;
  }

  private recountDirectories(): void {
    for (const node of this.directories()) {
      const below = [...node.entries.values()].filter(({ kind }) => kind === "directory");
      node.links = 2 + below.length;
    }
  }

  write(node: ModelNode, offset: number, data: Uint8Array): void {
    this.resize(node, Math.max(node.content.length, offset + data.length));
    node.content.set(data, offset);
  }

  resize(node: ModelNode, size: number): void {
    const content = new Uint8Array(size);
    content.set(node.content.subarray(0, size));
    node.content = content;
  }

  zero(node: ModelNode, offset: number, length: number): void {
    node.content.fill(0, offset, offset + length);
  }
}

/** Whether `node` is `directory` or above it. */
function isAbove(node: ModelNode, directory: ModelNode): boolean {
  for (let at: ModelNode | null = directory; at !== null; at = at.parent) {
    if (at === node) return true;
  }
  return false;
}
