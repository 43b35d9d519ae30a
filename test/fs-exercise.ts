/**
 * Everything that can be asked of a file system that somebody else made up: whatever it is, each
 * call gives an answer or an error that says what is wrong, after a bounded amount of work.
 */
import { latin1 } from "../lib/bytes.ts";
import { FsError, SmfsError } from "../lib/errors.ts";
import type { Prng } from "../lib/prng.ts";
import { ROOT_INODE, type Vfs } from "../logfs/core/vfs.ts";
import type { CrashMachine } from "./sim/crash-machine.ts";
import { ROOT } from "./sim/crash-history.ts";

const READ_WRITE = { read: true, write: true, append: false, truncate: false };
/** Of one directory, and of one file: those that were made up may be of any size. */
const MOST_ENTRIES = 200;
const READ_BYTES = 65_536;
const MOST_INODES = 100;

export interface Found {
  readonly name: Uint8Array;
  readonly parent: number;
  readonly inode: number;
}

/** What became of the calls. */
export interface Tally {
  answered: number;
  refused: number;
}

/** Neither an answer nor an error that a file system may give. */
export class Misbehaviour extends Error {
  override name = "Misbehaviour";
}

export class Exercise {
  readonly tally: Tally = { answered: 0, refused: 0 };
  private readonly machine: CrashMachine;
  private readonly prng: Prng;

  constructor(machine: CrashMachine, prng: Prng) {
    this.machine = machine;
    this.prng = prng;
  }

  async run(): Promise<void> {
    const { machine } = this;
    const found = await this.readAll(machine.fs);
    for (const [, fs] of machine.snapshots()) await this.readAll(fs);
    await this.attempt("fsck", () => machine.findings());
    for (const one of found) await this.change(machine.fs, one);
    await this.attempt("create", () =>
      machine.fs.create(ROOT, ROOT_INODE, latin1("new"), 0o644, false, READ_WRITE),
    );
    await this.attempt("checkpoint", () => machine.checkpoint());
    await this.attempt("fsync", () => machine.fs.fsync(ROOT_INODE, "full"));
    await this.attempt("fsck", () => machine.findings());
  }

  private async readAll(fs: Vfs): Promise<Found[]> {
    const found: Found[] = [{ name: latin1("."), parent: ROOT_INODE, inode: ROOT_INODE }];
    const seen = new Set([ROOT_INODE]);
    for (let i = 0; i < found.length && i < MOST_INODES; i++) {
      const { inode, parent, name } = found[i] as Found;
      await this.readOne(fs, inode);
      await this.attempt("lookup", () => fs.lookup(ROOT, parent, name));
      let entries = 0;
      await this.attempt("readdir", () =>
        fs.readdir(ROOT, inode, 0, (entry) => {
          const isNew = !seen.has(entry.inode);
          seen.add(entry.inode);
          if (isNew) found.push({ name: entry.name.slice(), parent: inode, inode: entry.inode });
          return ++entries < MOST_ENTRIES;
        }),
      );
    }
    return found.slice(1);
  }

  private async readOne(fs: Vfs, inode: number): Promise<void> {
    const attributes = await this.attempt("getattr", () => fs.getattr(inode));
    await this.attempt("readlink", () => fs.readlink(inode));
    const names = await this.attempt("listxattr", () => fs.listxattr(ROOT, inode));
    for (const name of names ?? []) {
      await this.attempt("getxattr", () => fs.getxattr(ROOT, inode, name));
    }
    const handle = await this.attempt("open", () =>
      fs.open(ROOT, inode, { ...READ_WRITE, write: false }),
    );
    if (handle === undefined) return;
    const last = Math.max(0, (attributes?.size ?? 0) - READ_BYTES);
    await this.attempt("read", () => fs.read(handle, 0, READ_BYTES));
    await this.attempt("read", () => fs.read(handle, last, READ_BYTES));
    await this.attempt("seek", () => fs.seek(handle, this.prng.below(9000), 3));
    await this.attempt("seek", () => fs.seek(handle, this.prng.below(9000), 4));
    await this.attempt("release", () => fs.release(handle));
  }

  private async change(fs: Vfs, { name, parent, inode }: Found): Promise<void> {
    const { prng } = this;
    const handle = await this.attempt("open", () => fs.open(ROOT, inode, READ_WRITE));
    if (handle !== undefined) {
      const bytes = prng.fill(new Uint8Array(1 + prng.below(3000)));
      await this.attempt("write", () => fs.write(handle, prng.below(9000), bytes, "none"));
      await this.attempt("fallocate", () => fs.fallocate(handle, prng.below(9000), 2000, 0x10));
      const at = { handle, offset: 0 };
      await this.attempt("copy", () => fs.copyRange(at, { handle, offset: 20_000 }, 5000));
      await this.attempt("truncate", () => fs.setattr(ROOT, inode, { size: prng.below(5000) }));
      await this.attempt("release", () => fs.release(handle));
    }
    const value = new Uint8Array(prng.pick([5, 3000]));
    await this.attempt("setxattr", () => fs.setxattr(ROOT, inode, latin1("user.x"), value, 0));
    await this.attempt("rename", () =>
      fs.rename(ROOT, parent, name, ROOT_INODE, latin1(`r${inode}`), 0),
    );
    if (prng.chance(0.5)) {
      await this.attempt("unlink", () => fs.unlink(ROOT, ROOT_INODE, latin1(`r${inode}`)));
      await this.attempt("rmdir", () => fs.rmdir(ROOT, ROOT_INODE, latin1(`r${inode}`)));
    }
  }

  /** undefined: refused, as it may be. */
  private async attempt<T>(what: string, act: () => T | Promise<T>): Promise<T | undefined> {
    try {
      const value = await act();
      this.tally.answered++;
      return value;
    } catch (error) {
      this.tally.refused++;
      expectRefusal(what, error);
      return undefined;
    }
  }
}

/** Throws `Misbehaviour` unless the error is one that a boundary may give. */
export function expectRefusal(what: string, error: unknown): void {
  if (error instanceof SmfsError || error instanceof FsError) return;
  throw new Misbehaviour(`${what}: ${String(error)}`, { cause: error });
}
