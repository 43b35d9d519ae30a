/**
 * An application: one operation after the other on files of the root directory, and now and then an
 * fsync or fdatasync whose answer it does not wait for before it goes on.
 */
import { latin1 } from "../../lib/bytes.ts";
import type { Prng } from "../../lib/prng.ts";
import type { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { type Caller, ROOT_INODE, type SyncLevel, type Vfs } from "../../logfs/core/vfs.ts";
import type { History, Model } from "./history.ts";
import type { Life } from "./life.ts";

const ROOT: Caller = { uid: 0, gid: 0, groups: () => [] };
const READ_WRITE = { read: true, write: true, append: false, truncate: false };
const READ = { ...READ_WRITE, write: false };
const MAX_FILES = 8;
const MAX_FILE_BYTES = 20_000;

export interface Target {
  readonly fs: FileSystem;
  readonly headSequence: () => number;
  readonly levels: { readonly data: SyncLevel; readonly full: SyncLevel };
}

export class Workload {
  private readonly life: Life;
  private readonly prng: Prng;
  private readonly history: History;
  private readonly pauseMicros: number;

  constructor(life: Life, prng: Prng, history: History, pauseMicros: number) {
    this.life = life;
    this.prng = prng;
    this.history = history;
    this.pauseMicros = pauseMicros;
  }

  /** Until the process dies; rejects when the file system fails an operation that must succeed. */
  async run(target: Target): Promise<void> {
    for (;;) {
      await this.life.sleep(this.prng.below(2 * this.pauseMicros));
      await this.step(target);
    }
  }

  private async step(target: Target): Promise<void> {
    const { prng, history } = this;
    const { model } = history;
    const names = [...model.keys()];
    if (names.length === 0 || (names.length < MAX_FILES && prng.chance(0.1))) {
      await this.create(target, `f${prng.u32().toString(36)}`);
      return;
    }
    const name = prng.pick(names);
    const choice = prng.float();
    if (choice < 0.7) await this.write(target, name);
    else if (choice < 0.8) await this.truncate(target, name);
    else if (choice < 0.9) await this.rename(target, name);
    else await this.unlink(target, name);
  }

  private async create({ fs }: Target, name: string): Promise<void> {
    const done = this.begin(name, new Uint8Array(0));
    const made = await fs.create(ROOT, ROOT_INODE, latin1(name), 0o644, true, READ_WRITE);
    done();
    await fs.release(made.handle);
  }

  private async write(target: Target, name: string): Promise<void> {
    const { fs, headSequence, levels } = target;
    const old = this.content(name);
    const offset = this.prng.chance(0.6) ? old.length : this.prng.below(old.length + 1);
    const length = Math.min(1 + this.prng.below(5000), MAX_FILE_BYTES - offset);
    if (length <= 0) return;
    const data = this.prng.fill(new Uint8Array(length));
    const whole = new Uint8Array(Math.max(old.length, offset + length));
    whole.set(old);
    whole.set(data, offset);
    const { inode } = await fs.lookup(ROOT, ROOT_INODE, latin1(name));
    const handle = await fs.open(ROOT, inode, READ_WRITE);
    const done = this.begin(name, whole);
    await fs.write(handle, offset, data, "none");
    const operations = done();
    const request = this.prng.pick(["data", "full", null] as const);
    if (request !== null) {
      const sequence = headSequence();
      const acknowledge = (): void =>
        this.history.acknowledge({ level: levels[request], operations, sequence });
      const fail = (): void => {
        this.history.failedSyncs++;
      };
      Promise.resolve(fs.fsync(inode, request)).then(acknowledge, fail);
    }
    await fs.release(handle);
  }

  private async truncate({ fs }: Target, name: string): Promise<void> {
    const old = this.content(name);
    const size = this.prng.below(MAX_FILE_BYTES);
    const cut = new Uint8Array(size);
    cut.set(old.subarray(0, size));
    const { inode } = await fs.lookup(ROOT, ROOT_INODE, latin1(name));
    const done = this.begin(name, cut);
    await fs.setattr(ROOT, inode, { size });
    done();
  }

  private async rename({ fs }: Target, name: string): Promise<void> {
    const to = this.prng.pick([...this.history.model.keys(), `g${this.prng.u32().toString(36)}`]);
    if (to === name) return;
    const next = new Map(this.history.model);
    next.set(to, this.content(name));
    next.delete(name);
    const index = this.history.begin(next);
    await fs.rename(ROOT, ROOT_INODE, latin1(name), ROOT_INODE, latin1(to), 0);
    this.history.complete(index);
  }

  private async unlink({ fs }: Target, name: string): Promise<void> {
    const next = new Map(this.history.model);
    next.delete(name);
    const index = this.history.begin(next);
    await fs.unlink(ROOT, ROOT_INODE, latin1(name));
    this.history.complete(index);
  }

  private content(name: string): Uint8Array {
    return this.history.model.get(name) ?? new Uint8Array(0);
  }

  /** The returned function is called when the operation has returned; it gives how many there were. */
  private begin(name: string, content: Uint8Array): () => number {
    const next = new Map(this.history.model);
    next.set(name, content);
    const index = this.history.begin(next);
    return () => {
      this.history.complete(index);
      return index;
    };
  }
}

/** Everything that a file system shows: what a checker compares with the history. */
export async function readAll(fs: Vfs): Promise<Model> {
  const found: { name: string; inode: number }[] = [];
  await fs.readdir(ROOT, ROOT_INODE, 0, ({ name, inode }) => {
    found.push({ name: String.fromCharCode(...name), inode });
    return true;
  });
  const model = new Map<string, Uint8Array>();
  for (const { name, inode } of found) {
    const { size } = await fs.getattr(inode);
    const handle = await fs.open(ROOT, inode, READ);
    const whole = new Uint8Array(size);
    let at = 0;
    for (const piece of await fs.read(handle, 0, size)) {
      whole.set(piece, at);
      at += piece.length;
    }
    await fs.release(handle);
    if (at !== size) throw new Error(`${name}: ${size} bytes promised, ${at} read`);
    model.set(name, whole);
  }
  return model;
}
