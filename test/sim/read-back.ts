/** Everything that a file system of the two-site world shows: what checkers compare with the history. */
import { SmfsError } from "../../lib/errors.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";
import { type Caller, ROOT_INODE, type Vfs } from "../../logfs/core/vfs.ts";

const ROOT: Caller = { uid: 0, gid: 0, groups: () => [] };
const READ = { read: true, write: false, append: false, truncate: false };

/** As `Model` (`history.ts`); null: a file that was refused for damage. */
export type Shown = Map<string, Uint8Array | null>;

export async function readAll(fs: Vfs, volume: TreeVolume): Promise<Shown> {
  const shown: Shown = await readSome(fs, "", readUnlessDamaged);
  for (const snapshot of volume.keptSnapshots) {
    const kept = new FileSystem(volume.openSnapshot(snapshot), { wait: () => undefined });
    shown.set(`@${snapshot.name}`, new Uint8Array(0));
    for (const [name, bytes] of await readSome(kept, `@${snapshot.name}/`, readUnlessDamaged))
      shown.set(name, bytes);
  }
  return shown;
}

/** The files of the root directory, by name. */
export function readFiles(fs: Vfs): Promise<Map<string, Uint8Array>> {
  return readSome(fs, "", readFile);
}

async function readSome<T>(
  fs: Vfs,
  prefix: string,
  read: (fs: Vfs, inode: number) => Promise<T>,
): Promise<Map<string, T>> {
  const found: { name: string; inode: number }[] = [];
  await fs.readdir(ROOT, ROOT_INODE, 0, ({ name, inode }) => {
    found.push({ name: String.fromCharCode(...name), inode });
    return true;
  });
  const shown = new Map<string, T>();
  for (const { name, inode } of found) shown.set(`${prefix}${name}`, await read(fs, inode));
  return shown;
}

async function readUnlessDamaged(fs: Vfs, inode: number): Promise<Uint8Array | null> {
  try {
    return await readFile(fs, inode);
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

export async function readFile(fs: Vfs, inode: number): Promise<Uint8Array> {
  const { size } = await fs.getattr(inode);
  const handle = await fs.open(ROOT, inode, READ);
  const whole = new Uint8Array(size);
  let at = 0;
  try {
    for (const piece of await fs.read(handle, 0, size)) {
      whole.set(piece, at);
      at += piece.length;
    }
  } finally {
    await fs.release(handle);
  }
  if (at !== size) throw new Error(`inode ${inode}: ${size} bytes promised, ${at} read`);
  return whole;
}

const TELLING = new Set(["DAMAGED", "IO", "SHORT"]);
const PLACE = /segment \d+|\b\d+:\d+/;

/** It says that there is damage, and where. */
export function isDamage(error: unknown): boolean {
  return error instanceof SmfsError && TELLING.has(error.code) && PLACE.test(error.message);
}
