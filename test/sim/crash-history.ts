/**
 * What a crash explorer knows of a file system that it did not ask the file system: the state after
 * every operation, by the sequence of the record that made it, and what was acknowledged.
 */
import { crc32c } from "../../lib/crc32c.ts";
import { concatBytes } from "../../lib/bytes.ts";
import { NO_QUOTA, type Quota } from "../../logfs/core/fs/superblock.ts";
import { type Caller, ROOT_INODE, type Vfs } from "../../logfs/core/vfs.ts";
import { ModelFs, type ModelNode } from "../fs-model.ts";

export const ROOT: Caller = { uid: 0, gid: 0, groups: () => [] };
const READ = { read: true, write: false, append: false, truncate: false };

/** A file system, its snapshots by name, its quota. */
export interface Model {
  readonly fs: ModelFs;
  readonly snapshots: ReadonlyMap<string, ModelFs>;
  readonly quota: Quota;
}

export function emptyModel(): Model {
  return { fs: new ModelFs(), snapshots: new Map(), quota: NO_QUOTA };
}

export interface State {
  /** The newest record before the operation, and when it was over: one of those between made it. */
  readonly before: number;
  readonly sequence: number;
  readonly model: Model;
  readonly what: string;
}

/** One line per name, in order of names: two file systems that give the same look the same. */
export function linesOf({ fs, snapshots, quota }: Model): string[] {
  const kept = [...snapshots].map(([name, model]) => of(name, linesOfModel(model)));
  return [...linesOfModel(fs), ...kept.flat(), lineOfQuota(quota)];
}

export function lineOfQuota({ bytes, inodes }: Quota): string {
  return `quota of ${bytes} bytes, ${inodes} inodes`;
}

/** The lines of a snapshot. */
export function of(snapshot: string, lines: readonly string[]): string[] {
  return [`@${snapshot}`, ...lines.map((text) => `@${snapshot}${text}`)];
}

function linesOfModel(model: ModelFs): string[] {
  const lines: string[] = [];
  const visit = (node: ModelNode, path: string): void => {
    const { kind, inode, links, content, xattrs } = node;
    const attributes = [...xattrs].map(([name, value]) => `${name}=${sumOf(value)}`);
    lines.push(line(path, kind, inode, links, content, attributes));
    for (const [name, child] of node.entries) visit(child, `${path}/${name}`);
  };
  visit(model.root, "");
  return lines.toSorted();
}

/** As `linesOf`, of what a file system shows. */
export async function linesOfVfs(fs: Vfs): Promise<string[]> {
  const { lines, refusals } = await surveyOf(fs);
  const [refusal] = refusals;
  if (refusal !== undefined) throw refusal.error;
  return lines.toSorted();
}

export interface Refusal {
  readonly path: string;
  readonly inode: number;
  readonly error: unknown;
}

/** What a file system shows, and what it refuses to show. */
export async function surveyOf(fs: Vfs): Promise<{ lines: string[]; refusals: Refusal[] }> {
  const lines: string[] = [];
  const refusals: Refusal[] = [];
  const visit = async (inode: number, path: string): Promise<void> => {
    const entries: { name: string; inode: number }[] = [];
    try {
      const { kind, text } = await lineOf(fs, inode, path);
      lines.push(text);
      if (kind !== "directory") return;
      await fs.readdir(ROOT, inode, 0, (entry) => {
        entries.push({ name: String.fromCharCode(...entry.name), inode: entry.inode });
        return true;
      });
    } catch (error) {
      refusals.push({ path, inode, error });
    }
    for (const entry of entries) await visit(entry.inode, `${path}/${entry.name}`);
  };
  await visit(ROOT_INODE, "");
  return { lines, refusals };
}

async function lineOf(fs: Vfs, inode: number, path: string) {
  const { mode, links } = await fs.getattr(inode);
  const kind = KINDS.get(mode & S_IFMT) ?? "something else";
  const content = await contentOf(fs, inode, kind);
  return { kind, text: line(path, kind, inode, links, content, await xattrsOf(fs, inode)) };
}

const S_IFMT = 0o170000;
const KINDS = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
]);

async function contentOf(fs: Vfs, inode: number, kind: string): Promise<Uint8Array> {
  if (kind === "symlink") return fs.readlink(inode);
  if (kind !== "file") return new Uint8Array(0);
  const { size } = await fs.getattr(inode);
  const handle = await fs.open(ROOT, inode, READ);
  const pieces = (await fs.read(handle, 0, size + 1)).map((piece) => piece.slice());
  await fs.release(handle);
  return concatBytes(pieces);
}

async function xattrsOf(fs: Vfs, inode: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of await fs.listxattr(ROOT, inode)) {
    const value = await fs.getxattr(ROOT, inode, name);
    found.push(`${String.fromCharCode(...name)}=${sumOf(value)}`);
  }
  return found;
}

function line(
  path: string,
  kind: string,
  inode: number,
  links: number,
  content: Uint8Array,
  xattrs: readonly string[],
): string {
  return [path, kind, inode, links, sumOf(content), ...[...xattrs].toSorted()].join(" ");
}

const sums = new WeakMap<Uint8Array, string>();

/** Contents of a model are replaced, never changed in place, so a sum stays right. */
function sumOf(bytes: Uint8Array): string {
  const known = sums.get(bytes);
  if (known !== undefined) return known;
  const sum = `${bytes.length}:${crc32c(bytes).toString(16)}`;
  sums.set(bytes, sum);
  return sum;
}

export function copyOfModel(model: ModelFs): ModelFs {
  const copies = new Map<ModelNode, ModelNode>();
  const copyOf = (node: ModelNode, parent: ModelNode | null): ModelNode => {
    const known = copies.get(node);
    if (known !== undefined) return known;
    const copy = { ...node, parent, entries: new Map(), xattrs: new Map(node.xattrs) };
    copies.set(node, copy);
    for (const [name, child] of node.entries) copy.entries.set(name, copyOf(child, copy));
    return copy;
  };
  const whole = new ModelFs();
  return Object.assign(whole, { root: copyOf(model.root, null) });
}

/** States and promises of one line of history; a crash makes a new one of the part that was kept. */
export class CrashHistory {
  readonly states: State[];
  /** Index of the newest state that touched an inode. */
  readonly touched: Map<number, number>;
  /** Index of the newest state that was acknowledged as durable; −1: not even the empty one. */
  durable: number;
  /** As `durable`, for what survives the process but not the power. */
  written: number;

  constructor(
    states: readonly State[] = [],
    touched: ReadonlyMap<number, number> = new Map(),
    durable = -1,
  ) {
    this.states = [...states];
    this.touched = new Map(touched);
    this.durable = durable;
    this.written = durable;
  }

  get newest(): number {
    return this.states.length - 1;
  }

  add(
    { fs, snapshots, quota }: Model,
    sequence: number,
    what: string,
    inodes: readonly number[],
  ): void {
    const before = this.states.at(-1)?.sequence ?? sequence - 1;
    this.states.push({
      before,
      sequence,
      model: { fs: copyOfModel(fs), snapshots: new Map(snapshots), quota },
      what,
    });
    for (const inode of inodes) this.touched.set(inode, this.newest);
  }

  /** Indexes of the states that a log whose newest record is `sequence` may show, newest first. */
  indexesAt(sequence: number): number[] {
    const oldest = this.states.findLastIndex((state) => state.sequence <= sequence);
    const begun = this.states.findLastIndex(({ before }) => before < sequence);
    const newest = Math.max(oldest, begun);
    return Array.from({ length: newest - oldest + 1 }, (_, i) => newest - i).filter((i) => i >= 0);
  }

  /** The history of a machine that came back with record `found` as its newest, at state `index`. */
  after(index: number, found: number, durable: number): CrashHistory {
    const touched = [...this.touched].map(([inode, at]) => [inode, Math.min(at, index)] as const);
    // A state that is there may be older than the checkpoint that its operation was about to write.
    const states = this.states
      .slice(0, index + 1)
      .map((state) => ({ ...state, sequence: Math.min(state.sequence, found) }));
    return new CrashHistory(states, new Map(touched), durable);
  }
}
