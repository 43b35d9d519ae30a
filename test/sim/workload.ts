/**
 * An application: one operation after the other on files of the root directory, and now and then an
 * fsync or fdatasync whose answer it does not wait for before it goes on.
 */
import { equalBytes, latin1 } from "../../lib/bytes.ts";
import type { Prng } from "../../lib/prng.ts";
import { type Caller, ROOT_INODE, type SyncLevel } from "../../logfs/core/vfs.ts";
import type { History, Model } from "./history.ts";
import type { Life } from "./life.ts";
import { readFile } from "./read-back.ts";
import type { SimPrimary } from "./sites.ts";

const ROOT: Caller = { uid: 0, gid: 0, groups: () => [] };
const READ_WRITE = { read: true, write: true, append: false, truncate: false };
const MAX_FILES = 8;
const MAX_SNAPSHOTS = 3;
const MAX_FILE_BYTES = 20_000;

export interface Target {
  readonly primary: SimPrimary;
  readonly levels: { readonly data: SyncLevel; readonly full: SyncLevel };
  /** An operation may fail so now (the disk is full, or damaged); then it has done nothing. */
  readonly mayRefuse: (error: unknown) => boolean;
}

export class Workload {
  /** Operations that were refused. */
  refused = 0;
  private readonly life: Life;
  private readonly prng: Prng;
  private readonly history: History;
  private readonly pauseMicros: number;
  /** The operation under way. */
  private begun: number | null = null;

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
      await this.step(target).catch((error: unknown) => this.handleFailure(target, error));
    }
  }

  private handleFailure(target: Target, error: unknown): void {
    if (!this.life.alive || !target.mayRefuse(error)) throw error;
    this.refused++;
    if (this.begun !== null) this.history.retract(this.begun);
    this.begun = null;
  }

  private async step(target: Target): Promise<void> {
    const { prng } = this;
    const names = this.names();
    if (names.length === 0 || (names.length < MAX_FILES && prng.chance(0.1))) {
      await this.create(target, `f${prng.u32().toString(36)}`);
      return;
    }
    const name = prng.pick(names);
    const choice = prng.float();
    if (choice < 0.62) await this.write(target, name);
    else if (choice < 0.7) await this.truncate(target, name);
    else if (choice < 0.78) await this.rename(target, name);
    else if (choice < 0.86) await this.unlink(target, name);
    else if (choice < 0.95) await this.read(target, name);
    else await this.snapshot(target);
  }

  /** Of files, not of snapshots. */
  private names(): string[] {
    return [...this.history.model.keys()].filter((name) => !name.startsWith("@"));
  }

  private async read({ primary: { fs } }: Target, name: string): Promise<void> {
    const expected = this.content(name);
    const { inode } = await fs.lookup(ROOT, ROOT_INODE, latin1(name));
    const shown = await readFile(fs, inode);
    if (!equalBytes(shown, expected)) throw new Error(`${name} is read wrong`);
  }

  private async snapshot({ primary }: Target): Promise<void> {
    const { model } = this.history;
    const taken = [...model.keys()].filter((key) => key.startsWith("@") && !key.includes("/"));
    const roll = this.prng.float();
    if (taken.length === 0 || (taken.length < MAX_SNAPSHOTS && roll < 0.5)) {
      const snapshot = `s${this.prng.u32().toString(36)}`;
      const kept = this.names().map(
        (name) => [`@${snapshot}/${name}`, this.content(name)] as const,
      );
      const whole = [`@${snapshot}`, new Uint8Array(0)] as const;
      await this.become([...model, whole, ...kept], () => primary.takeSnapshot(snapshot));
      return;
    }
    const snapshot = this.prng.pick(taken);
    const prefix = `${snapshot}/`;
    if (roll < 0.85) {
      const left = [...model].filter(([key]) => key !== snapshot && !key.startsWith(prefix));
      await this.become(left, () => primary.removeSnapshot(snapshot.slice(1)));
      return;
    }
    const kept = [...model].filter(([key]) => key.startsWith("@"));
    const files = kept.filter(([key]) => key.startsWith(prefix));
    const back = files.map(([key, bytes]) => [key.slice(prefix.length), bytes] as const);
    await this.become([...kept, ...back], () => primary.rollBack(snapshot.slice(1)));
  }

  private async become(
    next: readonly (readonly [string, Uint8Array])[],
    act: () => Promise<unknown>,
  ): Promise<void> {
    const done = this.beginModel(new Map(next));
    await act();
    done();
  }

  private async create({ primary: { fs } }: Target, name: string): Promise<void> {
    const done = this.begin(name, new Uint8Array(0));
    const made = await fs.create(ROOT, ROOT_INODE, latin1(name), 0o644, true, READ_WRITE);
    done();
    await fs.release(made.handle);
  }

  private async write(target: Target, name: string): Promise<void> {
    const { primary, levels } = target;
    const { fs, volume } = primary;
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
      const sequence = volume.headSequence;
      const acknowledge = (): void =>
        this.history.acknowledge({ level: levels[request], operations, sequence });
      const fail = (): void => {
        this.history.failedSyncs++;
      };
      const ifAlive = (tell: () => void) => () => (this.life.alive ? tell() : undefined);
      Promise.resolve(fs.fsync(inode, request)).then(ifAlive(acknowledge), ifAlive(fail));
    }
    await fs.release(handle);
  }

  private async truncate({ primary: { fs } }: Target, name: string): Promise<void> {
    const old = this.content(name);
    const size = this.prng.below(MAX_FILE_BYTES);
    const cut = new Uint8Array(size);
    cut.set(old.subarray(0, size));
    const { inode } = await fs.lookup(ROOT, ROOT_INODE, latin1(name));
    const done = this.begin(name, cut);
    await fs.setattr(ROOT, inode, { size });
    done();
  }

  private async rename({ primary: { fs } }: Target, name: string): Promise<void> {
    const to = this.prng.pick([...this.names(), `g${this.prng.u32().toString(36)}`]);
    if (to === name) return;
    const next = new Map(this.history.model);
    next.set(to, this.content(name));
    next.delete(name);
    const done = this.beginModel(next);
    await fs.rename(ROOT, ROOT_INODE, latin1(name), ROOT_INODE, latin1(to), 0);
    done();
  }

  private async unlink({ primary: { fs } }: Target, name: string): Promise<void> {
    const next = new Map(this.history.model);
    next.delete(name);
    const done = this.beginModel(next);
    await fs.unlink(ROOT, ROOT_INODE, latin1(name));
    done();
  }

  private content(name: string): Uint8Array {
    return this.history.model.get(name) ?? new Uint8Array(0);
  }

  /** The returned function is called when the operation has returned; it gives how many there were. */
  private begin(name: string, content: Uint8Array): () => number {
    const next = new Map(this.history.model);
    next.set(name, content);
    return this.beginModel(next);
  }

  private beginModel(next: Model): () => number {
    // What a dead process goes on with reaches no disk, and nobody hears of it.
    if (!this.life.alive) return () => 0;
    const index = this.history.begin(next);
    this.begun = index;
    return () => {
      this.begun = null;
      if (this.life.alive) this.history.complete(index);
      return index;
    };
  }
}
