/** Files by their paths through `Vfs`, for a demonstration that cannot mount: no kernel in between. */
import { FsError } from "../../lib/errors.ts";
import { type Attributes, type Caller, ROOT_INODE, type Vfs } from "../../logfs/core/vfs.ts";
import type { Status, TreeReader, TreeWriter } from "./tree.ts";

const CALLER: Caller = {
  uid: process.geteuid?.() ?? 0,
  gid: process.getegid?.() ?? 0,
  groups: () => [],
};
const PERMISSIONS = 0o7777;
/** Read and written at a time, as the kernel would ask. */
const CHUNK_BYTES = 2 ** 20;
const READING = { read: true, write: false, append: false, truncate: false };
const WRITING = { read: false, write: true, append: false, truncate: true };

export class VfsFiles implements TreeReader, TreeWriter {
  private readonly vfs: Vfs;

  constructor(vfs: Vfs) {
    this.vfs = vfs;
  }

  async readdir(path: string): Promise<string[]> {
    const { inode } = await this.find(path);
    const names: string[] = [];
    await this.vfs.readdir(CALLER, inode, 0, ({ name }) => {
      names.push(Buffer.from(name).toString());
      return true;
    });
    return names;
  }

  async lstat(path: string): Promise<Status> {
    const { mode, size, modified } = await this.find(path);
    return { mode, size, mtimeMs: modified.seconds * 1000 + modified.nanoseconds / 1e6 };
  }

  async readFile(path: string): Promise<Buffer> {
    const { inode, size } = await this.find(path);
    const content = Buffer.alloc(size);
    const handle = await this.vfs.open(CALLER, inode, READING);
    try {
      for (let at = 0; at < size; ) {
        const start = at;
        const read = this.vfs.read(handle, at, CHUNK_BYTES);
        for (const piece of read instanceof Promise ? await read : read) {
          content.set(piece, at);
          at += piece.length;
        }
        if (at === start) throw new FsError("EIO", `${path} ends at ${at} of ${size} bytes`);
      }
      return content;
    } finally {
      await this.vfs.release(handle);
    }
  }

  async readlink(path: string): Promise<string> {
    const { inode } = await this.find(path);
    return Buffer.from(await this.vfs.readlink(inode)).toString();
  }

  async mkdir(path: string): Promise<void> {
    const [parent, name] = await this.place(path);
    await this.vfs.mkdir(CALLER, parent, name, 0o755);
  }

  async symlink(target: string, path: string): Promise<void> {
    const [parent, name] = await this.place(path);
    await this.vfs.symlink(CALLER, parent, name, Buffer.from(target));
  }

  async writeFile(path: string, content: Uint8Array): Promise<void> {
    const file = await this.create(path);
    try {
      for (let at = 0; at < content.length; at += CHUNK_BYTES) {
        await file.append(content.subarray(at, at + CHUNK_BYTES));
      }
    } finally {
      await file.close();
    }
  }

  async setStatus(path: string, { mode, mtimeMs }: Status): Promise<void> {
    const { inode } = await this.find(path);
    const seconds = Math.floor(mtimeMs / 1000);
    const modified = { seconds, nanoseconds: Math.round((mtimeMs - seconds * 1000) * 1e6) };
    await this.vfs.setattr(CALLER, inode, { mode: mode & PERMISSIONS, modified });
  }

  /** Everything that was done so far is as safe as the mount's fsync says. */
  async barrier(): Promise<void> {
    await this.vfs.fsync(ROOT_INODE, "full");
  }

  async create(path: string): Promise<GrowingFile> {
    const [parent, name] = await this.place(path);
    const made = await this.vfs.create(CALLER, parent, name, 0o644, false, WRITING);
    return new GrowingFile(this.vfs, made.attributes.inode, made.handle);
  }

  private async find(path: string): Promise<Attributes> {
    let found = await this.vfs.getattr(ROOT_INODE);
    for (const name of namesOf(path)) {
      found = await this.vfs.lookup(CALLER, found.inode, Buffer.from(name));
    }
    return found;
  }

  /** The directory that a path is in, and its name there. */
  private async place(path: string): Promise<[number, Uint8Array]> {
    const names = namesOf(path);
    const { inode } = await this.find(names.slice(0, -1).join("/"));
    return [inode, Buffer.from(names.at(-1) ?? "")];
  }
}

export class GrowingFile {
  private readonly vfs: Vfs;
  private readonly inode: number;
  private readonly handle: number;
  private size = 0;

  constructor(vfs: Vfs, inode: number, handle: number) {
    this.vfs = vfs;
    this.inode = inode;
    this.handle = handle;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.vfs.write(this.handle, this.size, bytes, "none");
    this.size += bytes.length;
  }

  async sync(): Promise<void> {
    await this.vfs.fsync(this.inode, "full");
  }

  async close(): Promise<void> {
    await this.vfs.release(this.handle);
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}
