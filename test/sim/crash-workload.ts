/**
 * Random operations on a file system and its model, one after the other; now and then a sync whose
 * answer is not waited for. Every operation is one that must succeed; when it fails for want of space
 * or because the disk failed, it must have done nothing or everything.
 */
import { latin1 } from "../../lib/bytes.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { Prng } from "../../lib/prng.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  type MaybePromise,
  RENAME_EXCHANGE,
  type Vfs,
} from "../../logfs/core/vfs.ts";
import { ModelError, type ModelFs, type ModelNode } from "../fs-model.ts";
import {
  copyOfModel,
  type CrashHistory,
  linesOf,
  linesOfVfs,
  type Model,
  of,
  ROOT,
} from "./crash-history.ts";

const READ_WRITE = { read: true, write: true, append: false, truncate: false };
const MAX_NAMES = 14;
const MAX_OPEN = 3;
const MAX_FILE_BYTES = 24_000;

const MAX_SNAPSHOTS = 3;

/** Everything that a machine shows, snapshots included. */
export async function linesOfMachine(machine: Machine): Promise<string[]> {
  const lines = await machine.wait(linesOfVfs(machine.fs));
  for (const [name, fs] of machine.snapshots()) {
    lines.push(...of(name, await machine.wait(linesOfVfs(fs))));
  }
  return lines;
}

/** The machine that a workload runs on. */
export interface Machine {
  readonly fs: Vfs;
  readonly headSequence: () => number;
  readonly checkpoint: () => void;
  readonly takeSnapshot: (name: string) => void;
  readonly removeSnapshot: (name: string) => void;
  /** `fs` is another one afterwards, and all handles are gone. */
  readonly rollBack: (name: string) => Promise<void>;
  readonly snapshots: () => [name: string, fs: Vfs][];
  /** Cleans all that is worth it. */
  readonly clean: () => Promise<void>;
  /** Lets time pass until the answer is there. */
  readonly wait: <T>(answer: MaybePromise<T>) => Promise<T>;
  /** Calls back when everything up to the record has left the process. */
  readonly whenWritten: (sequence: number, done: () => void) => void;
  /** Lets a little time pass. */
  readonly breathe: () => void;
}

type Operation = () => Promise<readonly ModelNode[]>;

export class CrashWorkload {
  private readonly prng: Prng;
  private readonly machine: Machine;
  private readonly history: CrashHistory;
  private model: ModelFs;
  private snapshots: Map<string, ModelFs>;
  private open: number[] = [];
  private names = 0;
  /** Operations refused for want of space. */
  refused = 0;

  constructor(prng: Prng, machine: Machine, history: CrashHistory) {
    this.prng = prng;
    this.machine = machine;
    this.history = history;
    this.model = copyOfModel(this.newest.fs);
    this.snapshots = new Map(this.newest.snapshots);
  }

  private get newest(): Model {
    return (this.history.states[this.history.newest] as { model: Model }).model;
  }

  private get now(): Model {
    return { fs: this.model, snapshots: this.snapshots };
  }

  /** What the operation under way was to do was not done. */
  private forgetOperation(): void {
    this.model = copyOfModel(this.newest.fs);
    this.snapshots = new Map(this.newest.snapshots);
  }

  /** False when the disk has failed: nothing more will succeed. */
  async run(operations: number): Promise<boolean> {
    for (let i = 0; i < operations; i++) {
      if (!(await this.step())) return false;
      if (this.prng.chance(0.5)) this.machine.breathe();
    }
    return true;
  }

  private async step(): Promise<boolean> {
    const [what, operation] = this.choose();
    try {
      const touched = await operation();
      this.note(what, touched);
      return true;
    } catch (error) {
      if (error instanceof ModelError) {
        this.forgetOperation();
        return true;
      }
      return this.handleFailure(what, error);
    }
  }

  private note(what: string, touched: readonly ModelNode[]): void {
    const { history, machine } = this;
    const sequence = machine.headSequence();
    history.add(
      this.now,
      sequence,
      what,
      touched.map(({ inode }) => inode),
    );
    const index = history.newest;
    machine.whenWritten(sequence, () => {
      history.written = Math.max(history.written, index);
    });
  }

  /** The file system says no, which is fine for a full or failed disk; then half a change is not. */
  private async handleFailure(what: string, error: unknown): Promise<boolean> {
    const code = error instanceof SmfsError ? error.code : "";
    if (code === "IO") return false;
    if (code !== "NO_SPACE") throw error;
    this.refused++;
    const shown = (await linesOfMachine(this.machine)).toSorted().join("\n");
    const after = this.now;
    this.forgetOperation();
    this.open = [];
    if (shown === textOf(this.now)) return true;
    if (shown !== textOf(after)) throw new Error(`${what} was done by half`);
    this.model = after.fs;
    this.snapshots = new Map(after.snapshots);
    this.note(what, []);
    return true;
  }

  private choose(): [string, Operation] {
    const { prng, model } = this;
    const nodes = model.all();
    const files = nodes.filter(({ kind }) => kind === "file");
    const directory = prng.pick(model.directories());
    const file = files.length > 0 ? prng.pick(files) : null;
    const roll = prng.float();
    if (file === null || (nodes.length < MAX_NAMES && roll < 0.18)) return this.making(directory);
    if (roll < 0.45) return ["write", () => this.write(file)];
    if (roll < 0.52) return ["truncate", () => this.truncate(file)];
    if (roll < 0.57) return ["allocate", () => this.allocate(file)];
    if (roll < 0.63) return ["setxattr", () => this.setxattr(file)];
    if (roll < 0.66) return ["link", () => this.link(file, directory)];
    if (roll < 0.72) return ["rename", () => this.rename()];
    if (roll < 0.78) return ["unlink", () => this.remove()];
    if (roll < 0.82) return ["open or close", () => this.openOrClose(file)];
    if (roll < 0.845) return ["checkpoint", () => this.checkpoint()];
    if (roll < 0.87) return ["copy", () => this.copy(file, prng.pick(files))];
    if (roll < 0.9) return ["snapshot", () => this.snapshot()];
    if (roll < 0.91) return ["clean", () => this.clean()];
    return ["sync", () => this.sync(prng.pick(nodes))];
  }

  private making(parent: ModelNode): [string, Operation] {
    const roll = this.prng.float();
    if (roll < 0.6) return ["create", () => this.create(parent)];
    if (roll < 0.85) return ["mkdir", () => this.mkdir(parent)];
    return ["symlink", () => this.symlink(parent)];
  }

  // ---- operations: the model first, so that it is what the file system must become ---------------

  private async create(parent: ModelNode): Promise<ModelNode[]> {
    const { fs, wait } = this.machine;
    const name = this.newName();
    const node = this.model.make(parent, name, "file");
    const made = await wait(fs.create(ROOT, parent.inode, latin1(name), 0o644, true, READ_WRITE));
    node.inode = made.attributes.inode;
    await wait(fs.release(made.handle));
    return [parent, node];
  }

  private async mkdir(parent: ModelNode): Promise<ModelNode[]> {
    const name = this.newName();
    const node = this.model.make(parent, name, "directory");
    const { fs, wait } = this.machine;
    const made = await wait(fs.mkdir(ROOT, parent.inode, latin1(name), 0o755));
    node.inode = made.inode;
    return [parent, node];
  }

  private async symlink(parent: ModelNode): Promise<ModelNode[]> {
    const name = this.newName();
    const target = this.bytes(1 + this.prng.below(200));
    const node = this.model.make(parent, name, "symlink", target);
    const { fs, wait } = this.machine;
    const made = await wait(fs.symlink(ROOT, parent.inode, latin1(name), target));
    node.inode = made.inode;
    return [parent, node];
  }

  private async write(node: ModelNode): Promise<ModelNode[]> {
    const { prng, model } = this;
    const { length } = node.content;
    const offset = prng.pick([length, length, prng.below(length + 1), prng.below(length + 3000)]);
    const data = this.bytes(1 + prng.below(prng.pick([200, 5000, 12_000])));
    if (offset + data.length > MAX_FILE_BYTES) return this.truncate(node);
    model.write(node, offset, data);
    await this.through(node, (handle) => this.machine.fs.write(handle, offset, data, "none"));
    return [node];
  }

  private async truncate(node: ModelNode): Promise<ModelNode[]> {
    const size = this.prng.below(this.prng.pick([1, node.content.length + 1, MAX_FILE_BYTES]));
    this.model.resize(node, size);
    await this.machine.wait(this.machine.fs.setattr(ROOT, node.inode, { size }));
    return [node];
  }

  private async allocate(node: ModelNode): Promise<ModelNode[]> {
    const { prng, model } = this;
    const offset = prng.below(node.content.length + 1);
    const length = 1 + prng.below(6000);
    const punches = prng.chance(0.5);
    const end = punches ? node.content.length : Math.max(node.content.length, offset + length);
    model.resize(node, end);
    model.zero(node, offset, length);
    const mode = punches ? FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE : FALLOC_ZERO_RANGE;
    await this.through(node, (handle) => this.machine.fs.fallocate(handle, offset, length, mode));
    return [node];
  }

  private async setxattr(node: ModelNode): Promise<ModelNode[]> {
    const { prng, machine } = this;
    const name = `user.${prng.pick(["a", "b"])}`;
    const removes = node.xattrs.has(name) && prng.chance(0.4);
    if (removes) {
      node.xattrs.delete(name);
      await machine.wait(machine.fs.removexattr(ROOT, node.inode, latin1(name)));
    } else {
      const value = this.bytes(prng.chance(0.5) ? prng.below(100) : 2049 + prng.below(4000));
      node.xattrs.set(name, value);
      await machine.wait(machine.fs.setxattr(ROOT, node.inode, latin1(name), value, 0));
    }
    return [node];
  }

  private async link(node: ModelNode, parent: ModelNode): Promise<ModelNode[]> {
    const name = this.newName();
    this.model.link(node, parent, name);
    const { fs, wait } = this.machine;
    await wait(fs.link(ROOT, node.inode, parent.inode, latin1(name)));
    return [node, parent];
  }

  private async rename(): Promise<ModelNode[]> {
    const { prng, model } = this;
    const [from, name] = this.someName();
    const [to, taken] = prng.chance(0.5) ? this.someName() : [prng.pick(model.directories()), null];
    const exchanges = taken !== null && prng.chance(0.4);
    const newName = taken ?? this.newName();
    model.rename(from, name, to, newName, exchanges ? "exchange" : "replace");
    const flags = exchanges ? RENAME_EXCHANGE : 0;
    const { fs, wait } = this.machine;
    await wait(fs.rename(ROOT, from.inode, latin1(name), to.inode, latin1(newName), flags));
    return [from, to];
  }

  private async remove(): Promise<ModelNode[]> {
    const [parent, name] = this.someName();
    const { fs, wait } = this.machine;
    const isDirectory = parent.entries.get(name)?.kind === "directory";
    if (isDirectory) this.model.rmdir(parent, name);
    else this.model.unlink(parent, name);
    await wait(fs[isDirectory ? "rmdir" : "unlink"](ROOT, parent.inode, latin1(name)));
    return [parent];
  }

  /** A file that is open outlives its last name, until a crash or the release. */
  private async openOrClose(node: ModelNode): Promise<ModelNode[]> {
    const { fs, wait } = this.machine;
    if (this.open.length < MAX_OPEN && this.prng.chance(0.6)) {
      this.open.push(await wait(fs.open(ROOT, node.inode, READ_WRITE)));
    } else {
      const closed = this.open.shift();
      if (closed !== undefined) await wait(fs.release(closed));
    }
    return [];
  }

  private async checkpoint(): Promise<ModelNode[]> {
    this.machine.checkpoint();
    return [];
  }

  /** Shared extents: no bytes are copied. */
  private async copy(from: ModelNode, to: ModelNode): Promise<ModelNode[]> {
    const { machine, prng, model } = this;
    const { length: size } = from.content;
    if (size === 0 || from === to) return this.write(to);
    const source = prng.below(size);
    const target = prng.below(to.content.length + 1);
    const length = Math.min(1 + prng.below(9000), MAX_FILE_BYTES - target);
    const open = (node: ModelNode) => machine.wait(machine.fs.open(ROOT, node.inode, READ_WRITE));
    const [reader, writer] = [await open(from), await open(to)];
    try {
      const [at, onto] = [
        { handle: reader, offset: source },
        { handle: writer, offset: target },
      ];
      const copied = await machine.wait(machine.fs.copyRange(at, onto, length));
      model.write(to, target, from.content.slice(source, source + copied));
    } finally {
      await machine.wait(machine.fs.release(reader));
      await machine.wait(machine.fs.release(writer));
    }
    return [from, to];
  }

  private async snapshot(): Promise<ModelNode[]> {
    const { machine, model, prng, snapshots } = this;
    const names = [...snapshots.keys()];
    const roll = prng.float();
    if (names.length === 0 || (names.length < MAX_SNAPSHOTS && roll < 0.5)) {
      const name = `s${prng.below(1e6)}`;
      snapshots.set(name, copyOfModel(model));
      machine.takeSnapshot(name);
      return [];
    }
    const name = prng.pick(names);
    if (roll < 0.75) {
      snapshots.delete(name);
      machine.removeSnapshot(name);
      return [];
    }
    this.open = [];
    this.model = copyOfModel(snapshots.get(name) as ModelFs);
    await machine.rollBack(name);
    return this.model.all();
  }

  private async clean(): Promise<ModelNode[]> {
    await this.machine.clean();
    return [];
  }

  private async sync(node: ModelNode): Promise<ModelNode[]> {
    const { history, machine, prng } = this;
    const index = history.touched.get(node.inode) ?? 0;
    const synced = machine.fs.fsync(node.inode, prng.pick(["data", "full"]));
    const acknowledge = (): void => {
      history.durable = Math.max(history.durable, index);
    };
    const answer = Promise.resolve(synced).then(acknowledge);
    if (prng.chance(0.4)) await machine.wait(answer);
    // A failure is the disk's: the next operation says so.
    else answer.catch(() => undefined);
    return [];
  }

  private async through(
    node: ModelNode,
    act: (handle: number) => MaybePromise<unknown>,
  ): Promise<void> {
    const { fs, wait } = this.machine;
    const handle = await wait(fs.open(ROOT, node.inode, READ_WRITE));
    try {
      await wait(act(handle));
    } finally {
      await wait(fs.release(handle));
    }
  }

  private someName(): [ModelNode, string] {
    const named = this.model
      .directories()
      .flatMap((parent) => [...parent.entries.keys()].map((name) => [parent, name] as const));
    const [parent, name] = this.prng.pick(named);
    return [parent, name];
  }

  private newName(): string {
    this.names++;
    return `${this.names.toString(36)}${"n".repeat(this.prng.below(20))}${this.prng.below(1e6)}`;
  }

  private bytes(length: number): Uint8Array {
    return this.prng.fill(new Uint8Array(length));
  }
}

function textOf(model: Model): string {
  return linesOf(model).toSorted().join("\n");
}
