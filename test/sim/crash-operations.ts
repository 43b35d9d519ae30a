/**
 * The operations of a workload, each on the model first and then on the machine: so the model is what
 * the file system must become. Every one must succeed; `ModelError` means that it made no sense.
 */
import { latin1 } from "../../lib/bytes.ts";
import type { Prng } from "../../lib/prng.ts";
import { NO_QUOTA, type Quota } from "../../logfs/core/fs/superblock.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  type MaybePromise,
  RENAME_EXCHANGE,
  type SyncRequest,
  type Vfs,
} from "../../logfs/core/vfs.ts";
import { ModelFs, type ModelNode, refuse } from "../fs-model.ts";
import { copyOfModel, type Model, ROOT } from "./crash-history.ts";
import type { OperationName } from "./crash-mix.ts";

const READ_WRITE = { read: true, write: true, append: false, truncate: false };
const MAX_NAMES = 14;
const MAX_OPEN = 3;
const MAX_FILE_BYTES = 24_000;
const MAX_SNAPSHOTS = 3;

/** The machine that a workload runs on. */
export interface Machine {
  readonly fs: Vfs;
  readonly quota: Quota;
  readonly headSequence: () => number;
  readonly checkpoint: () => void;
  readonly takeSnapshot: (name: string) => void;
  readonly removeSnapshot: (name: string) => void;
  readonly setQuota: (quota: Quota) => void;
  /** Bytes of file data and inodes that the quota counts. */
  readonly used: () => Quota;
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

/** Inodes that an operation touched; whether it promised to be durable when it returned. */
export interface Done {
  readonly touched: readonly ModelNode[];
  readonly isDurable: boolean;
}

const NOTHING: Done = { touched: [], isDurable: false };

function touched(...nodes: readonly ModelNode[]): Done {
  return { touched: nodes, isDurable: false };
}

export class Operations {
  /** What the machine must show when the operation under way is over. */
  fs: ModelFs = new ModelFs();
  snapshots = new Map<string, ModelFs>();
  quota: Quota = NO_QUOTA;
  private readonly prng: Prng;
  private readonly machine: Machine;
  private readonly sync: (node: ModelNode) => Promise<void>;
  private open: { readonly handle: number; readonly inode: number }[] = [];
  private names = 0;

  constructor(prng: Prng, machine: Machine, sync: (node: ModelNode) => Promise<void>) {
    this.prng = prng;
    this.machine = machine;
    this.sync = sync;
  }

  get now(): Model {
    return { fs: this.fs, snapshots: this.snapshots, quota: this.quota };
  }

  /** What the operation under way was to do was not done. */
  becomes({ fs, snapshots, quota }: Model): void {
    this.fs = copyOfModel(fs);
    this.snapshots = new Map(snapshots);
    this.quota = quota;
  }

  act(name: OperationName): Promise<Done> {
    const { prng } = this;
    const nodes = this.fs.all();
    const files = nodes.filter(({ kind }) => kind === "file");
    const directory = prng.pick(this.fs.directories());
    if (files.length === 0) return this.create(directory);
    const file = prng.pick(files);
    switch (name) {
      case "make":
        return nodes.length < MAX_NAMES ? this.make(directory) : this.write(file);
      case "write":
        return this.write(file);
      case "truncate":
        return this.truncate(file);
      case "allocate":
        return this.allocate(file);
      case "setxattr":
        return this.setxattr(file);
      case "link":
        return this.link(file, directory);
      case "rename":
        return this.rename();
      case "remove":
        return this.remove();
      case "openOrClose":
        return this.openOrClose(file);
      case "writeOpen":
        return this.writeOpen();
      case "copy":
        return this.copy(file, prng.pick(files));
      case "sync":
        return this.sync(prng.pick(nodes)).then(() => NOTHING);
      case "checkpoint":
        return this.checkpoint();
      case "snapshot":
        return this.snapshot();
      case "quota":
        return this.changeQuota();
      case "clean":
        return this.clean();
    }
  }

  // ---- names ----------------------------------------------------------------------------------

  private make(parent: ModelNode): Promise<Done> {
    const roll = this.prng.float();
    if (roll < 0.6) return this.create(parent);
    return roll < 0.85 ? this.mkdir(parent) : this.symlink(parent);
  }

  private async create(parent: ModelNode): Promise<Done> {
    const { fs, wait } = this.machine;
    const name = this.newName();
    const node = this.fs.make(parent, name, "file");
    const made = await wait(fs.create(ROOT, parent.inode, latin1(name), 0o644, true, READ_WRITE));
    node.inode = made.attributes.inode;
    await wait(fs.release(made.handle));
    return touched(parent, node);
  }

  private async mkdir(parent: ModelNode): Promise<Done> {
    const name = this.newName();
    const node = this.fs.make(parent, name, "directory");
    const { fs, wait } = this.machine;
    const made = await wait(fs.mkdir(ROOT, parent.inode, latin1(name), 0o755));
    node.inode = made.inode;
    return touched(parent, node);
  }

  private async symlink(parent: ModelNode): Promise<Done> {
    const name = this.newName();
    const target = this.bytes(1 + this.prng.below(200));
    const node = this.fs.make(parent, name, "symlink", target);
    const { fs, wait } = this.machine;
    const made = await wait(fs.symlink(ROOT, parent.inode, latin1(name), target));
    node.inode = made.inode;
    return touched(parent, node);
  }

  private async link(node: ModelNode, parent: ModelNode): Promise<Done> {
    const name = this.newName();
    this.fs.link(node, parent, name);
    const { fs, wait } = this.machine;
    await wait(fs.link(ROOT, node.inode, parent.inode, latin1(name)));
    return touched(node, parent);
  }

  private async rename(): Promise<Done> {
    const { prng } = this;
    const [from, name] = this.someName();
    const [to, taken] = prng.chance(0.5)
      ? this.someName()
      : [prng.pick(this.fs.directories()), null];
    const exchanges = taken !== null && prng.chance(0.4);
    const newName = taken ?? this.newName();
    this.fs.rename(from, name, to, newName, exchanges ? "exchange" : "replace");
    const flags = exchanges ? RENAME_EXCHANGE : 0;
    const { fs, wait } = this.machine;
    await wait(fs.rename(ROOT, from.inode, latin1(name), to.inode, latin1(newName), flags));
    return touched(from, to);
  }

  private async remove(): Promise<Done> {
    const [parent, name] = this.someName();
    const { fs, wait } = this.machine;
    const isDirectory = parent.entries.get(name)?.kind === "directory";
    if (isDirectory) this.fs.rmdir(parent, name);
    else this.fs.unlink(parent, name);
    await wait(fs[isDirectory ? "rmdir" : "unlink"](ROOT, parent.inode, latin1(name)));
    return touched(parent);
  }

  // ---- what files hold ------------------------------------------------------------------------

  private async write(node: ModelNode): Promise<Done> {
    const { prng } = this;
    const { length } = node.content;
    const offset = prng.pick([length, length, prng.below(length + 1), prng.below(length + 3000)]);
    const data = this.bytes(1 + prng.below(prng.pick([200, 5000, 12_000])));
    if (offset + data.length > MAX_FILE_BYTES) return this.truncate(node);
    this.fs.write(node, offset, data);
    const sync: SyncRequest = prng.pick(["none", "none", "none", "none", "data", "full"]);
    await this.through(node, (handle) => this.machine.fs.write(handle, offset, data, sync));
    return { touched: [node], isDurable: sync !== "none" };
  }

  private async truncate(node: ModelNode): Promise<Done> {
    const size = this.prng.below(this.prng.pick([1, node.content.length + 1, MAX_FILE_BYTES]));
    this.fs.resize(node, size);
    await this.machine.wait(this.machine.fs.setattr(ROOT, node.inode, { size }));
    return touched(node);
  }

  private async allocate(node: ModelNode): Promise<Done> {
    const { prng } = this;
    const offset = prng.below(node.content.length + 1);
    const length = 1 + prng.below(6000);
    const punches = prng.chance(0.5);
    const end = punches ? node.content.length : Math.max(node.content.length, offset + length);
    this.fs.resize(node, end);
    this.fs.zero(node, offset, length);
    const mode = punches ? FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE : FALLOC_ZERO_RANGE;
    await this.through(node, (handle) => this.machine.fs.fallocate(handle, offset, length, mode));
    return touched(node);
  }

  private async setxattr(node: ModelNode): Promise<Done> {
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
    return touched(node);
  }

  /** Shared extents: no bytes are copied. */
  private async copy(from: ModelNode, to: ModelNode): Promise<Done> {
    const { machine, prng } = this;
    const { length: size } = from.content;
    if (size === 0 || from === to) return this.write(to);
    const source = prng.below(size);
    const target = prng.below(to.content.length + 1);
    const length = Math.min(1 + prng.below(9000), MAX_FILE_BYTES - target);
    await this.through(from, (reader) =>
      this.through(to, async (writer) => {
        const [at, onto] = [
          { handle: reader, offset: source },
          { handle: writer, offset: target },
        ];
        const copied = await machine.wait(machine.fs.copyRange(at, onto, length));
        this.fs.write(to, target, from.content.slice(source, source + copied));
      }),
    );
    return touched(from, to);
  }

  // ---- files that are held open ---------------------------------------------------------------

  /** A file that is open outlives its last name, until a crash or the release. */
  private async openOrClose(node: ModelNode): Promise<Done> {
    const { fs, wait } = this.machine;
    if (this.open.length < MAX_OPEN && this.prng.chance(0.6)) {
      const handle = await wait(fs.open(ROOT, node.inode, READ_WRITE));
      this.open.push({ handle, inode: node.inode });
    } else {
      const closed = this.open.shift();
      if (closed !== undefined) await wait(fs.release(closed.handle));
    }
    return NOTHING;
  }

  /** Of one that has no name any more nothing is seen. */
  private async writeOpen(): Promise<Done> {
    const { machine, prng, open } = this;
    if (open.length === 0) refuse("EBADF");
    const { handle, inode } = prng.pick(open);
    const offset = prng.below(MAX_FILE_BYTES / 2);
    const data = this.bytes(1 + prng.below(6000));
    const node = this.fs.all().find((one) => one.inode === inode);
    if (node !== undefined) this.fs.write(node, offset, data);
    await machine.wait(machine.fs.write(handle, offset, data, "none"));
    return node === undefined ? NOTHING : touched(node);
  }

  /** The machine was opened again, or the tree is another one. */
  forgetHandles(): void {
    this.open = [];
  }

  // ---- the administrator's --------------------------------------------------------------------

  private async checkpoint(): Promise<Done> {
    this.machine.checkpoint();
    return NOTHING;
  }

  private async snapshot(): Promise<Done> {
    const { machine, prng, snapshots } = this;
    const names = [...snapshots.keys()];
    const roll = prng.float();
    if (names.length === 0 || (names.length < MAX_SNAPSHOTS && roll < 0.5)) {
      const name = `s${prng.below(1e6)}`;
      snapshots.set(name, copyOfModel(this.fs));
      machine.takeSnapshot(name);
      return NOTHING;
    }
    const name = prng.pick(names);
    if (roll < 0.75) {
      snapshots.delete(name);
      machine.removeSnapshot(name);
      return NOTHING;
    }
    this.forgetHandles();
    this.fs = copyOfModel(snapshots.get(name) as ModelFs);
    await machine.rollBack(name);
    return touched(...this.fs.all());
  }

  /** None, or one that is soon, or already, reached. */
  private async changeQuota(): Promise<Done> {
    const { machine, prng } = this;
    const used = machine.used();
    this.quota = prng.chance(0.3)
      ? NO_QUOTA
      : {
          bytes: prng.pick([0, 1 + prng.below(2 * used.bytes + 10_000)]),
          inodes: prng.pick([0, used.inodes + prng.below(4)]),
        };
    machine.setQuota(this.quota);
    return NOTHING;
  }

  private async clean(): Promise<Done> {
    await this.machine.clean();
    return NOTHING;
  }

  // ---- what they are made of ------------------------------------------------------------------

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
    const named = this.fs
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
