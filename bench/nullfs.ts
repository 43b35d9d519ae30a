/**
 * A file system that stores nothing: the ceiling of every front-end. It knows names, sizes and
 * attributes, because clients look at them; data written is dropped, and zeros are read.
 *
 * Nothing of it lasts and nothing in it waits: what a client measures on it is the protocol.
 */
import { fail } from "../lib/errors.ts";
import {
  ROOT_INODE,
  type Attributes,
  type AttributeChanges,
  type Caller,
  type DirectoryEntry,
  type FilePosition,
  type FsStatistics,
  type MaybePromise,
  type OpenOptions,
  type SyncRequest,
  type Timestamp,
  type Vfs,
} from "../logfs/core/vfs.ts";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const CHUNK_BYTES = 64 * 1024;
const ZEROS = new Uint8Array(CHUNK_BYTES);
const EPOCH: Timestamp = { seconds: 0, nanoseconds: 0 };
const BLOCK_BYTES = 4096;
const TOTAL_BYTES = 2 ** 40;

interface Node {
  readonly attributes: Attributes;
  readonly parent: number;
  /** Of a directory, by name as latin1 text. */
  readonly names: Map<string, number>;
  target: Uint8Array;
}

const textOf = (name: Uint8Array): string => Buffer.from(name).toString("latin1");

export class NullFs implements Vfs {
  readonly readOnly = false;
  protected readonly nodes = new Map<number, Node>();
  protected readonly handles = new Map<number, number>();
  private nextInode = ROOT_INODE;
  private nextHandle = 1;

  constructor() {
    this.add({ uid: 0, gid: 0, groups: () => [] }, ROOT_INODE, S_IFDIR | 0o777);
  }

  lookup(_caller: Caller, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    const directory = this.node(parent);
    const text = textOf(name);
    const inode = text === ".." ? directory.parent : directory.names.get(text);
    return inode === undefined ? fail("ENOENT") : this.node(inode).attributes;
  }

  getattr(inode: number): MaybePromise<Attributes> {
    return this.node(inode).attributes;
  }

  setattr(_caller: Caller, inode: number, changes: AttributeChanges): MaybePromise<Attributes> {
    const { attributes } = this.node(inode);
    const { mode, uid, gid, size, modified, accessed } = changes;
    if (mode !== undefined) attributes.mode = (attributes.mode & S_IFMT) | (mode & ~S_IFMT);
    if (uid !== undefined) attributes.uid = uid;
    if (gid !== undefined) attributes.gid = gid;
    if (size !== undefined) this.resize(inode, size);
    if (modified !== undefined) attributes.modified = timeOf(modified);
    if (accessed !== undefined) attributes.accessed = timeOf(accessed);
    return attributes;
  }

  access(): void {}

  mknod(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    device: number,
  ): MaybePromise<Attributes> {
    return Object.assign(this.make(caller, parent, name, mode), { device });
  }

  mkdir(caller: Caller, parent: number, name: Uint8Array, mode: number): MaybePromise<Attributes> {
    return this.make(caller, parent, name, S_IFDIR | (mode & 0o7777));
  }

  symlink(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    target: Uint8Array,
  ): MaybePromise<Attributes> {
    const made = this.make(caller, parent, name, S_IFLNK | 0o777);
    this.node(made.inode).target = target.slice();
    made.size = target.length;
    return made;
  }

  readlink(inode: number): MaybePromise<Uint8Array> {
    return this.node(inode).target;
  }

  link(_caller: Caller, inode: number, parent: number, name: Uint8Array): MaybePromise<Attributes> {
    const { attributes } = this.node(inode);
    this.node(parent).names.set(textOf(name), inode);
    attributes.links++;
    return attributes;
  }

  unlink(_caller: Caller, parent: number, name: Uint8Array): void {
    const inode = this.takeName(parent, name);
    this.node(inode).attributes.links--;
  }

  rmdir(_caller: Caller, parent: number, name: Uint8Array): void {
    const inode = this.node(parent).names.get(textOf(name)) ?? fail("ENOENT");
    if (this.node(inode).names.size > 0) fail("ENOTEMPTY");
    this.takeName(parent, name);
    this.node(inode).attributes.links = 0;
  }

  rename(
    _caller: Caller,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): void {
    const target = this.node(newParent).names.get(textOf(newName));
    if (flags === 1 && target !== undefined) fail("EEXIST");
    const moved = this.takeName(parent, name);
    this.node(newParent).names.set(textOf(newName), moved);
    if (target === undefined) return;
    if (flags === 2) this.node(parent).names.set(textOf(name), target);
    else this.node(target).attributes.links--;
  }

  create(
    caller: Caller,
    parent: number,
    name: Uint8Array,
    mode: number,
    exclusive: boolean,
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    const there = this.node(parent).names.get(textOf(name));
    if (there !== undefined && exclusive) fail("EEXIST");
    const { attributes } =
      there === undefined
        ? { attributes: this.make(caller, parent, name, S_IFREG | (mode & 0o7777)) }
        : this.node(there);
    return { attributes, handle: this.openNode(attributes.inode, options) };
  }

  createUnnamed(
    caller: Caller,
    parent: number,
    mode: number,
    _naming: "possible" | "never",
    options: OpenOptions,
  ): MaybePromise<{ attributes: Attributes; handle: number }> {
    const attributes = this.add(caller, parent, S_IFREG | (mode & 0o7777));
    attributes.links = 0;
    return { attributes, handle: this.openNode(attributes.inode, options) };
  }

  open(_caller: Caller, inode: number, options: OpenOptions): MaybePromise<number> {
    return this.openNode(inode, options);
  }

  release(handle: number): MaybePromise<void> {
    this.handles.delete(handle);
  }

  read(handle: number, offset: number, length: number): MaybePromise<Uint8Array[]> {
    const { attributes } = this.nodeOf(handle);
    const pieces: Uint8Array[] = [];
    let left = Math.min(length, attributes.size - offset);
    for (; left > 0; left -= CHUNK_BYTES)
      pieces.push(ZEROS.subarray(0, Math.min(left, CHUNK_BYTES)));
    return pieces;
  }

  write(
    handle: number,
    offset: number,
    data: Uint8Array,
    _sync: SyncRequest,
  ): MaybePromise<number> {
    const { attributes } = this.nodeOf(handle);
    const end = offset + data.length;
    if (end > attributes.size) this.resize(attributes.inode, end);
    attributes.modified = timeOf("now");
    return data.length;
  }

  fsync(_inode: number, _request: "data" | "full"): MaybePromise<void> {}

  seek(handle: number, offset: number, whence: 3 | 4): MaybePromise<number> {
    const { attributes } = this.nodeOf(handle);
    if (offset >= attributes.size) fail("ENXIO");
    return whence === 3 ? offset : attributes.size;
  }

  copyRange(_from: FilePosition, to: FilePosition, length: number): MaybePromise<number> {
    const { attributes } = this.nodeOf(to.handle);
    if (to.offset + length > attributes.size) this.resize(attributes.inode, to.offset + length);
    return length;
  }

  fallocate(handle: number, offset: number, length: number, mode: number): MaybePromise<void> {
    const { attributes } = this.nodeOf(handle);
    if (mode === 0 && offset + length > attributes.size) {
      this.resize(attributes.inode, offset + length);
    }
  }

  readdir(
    _caller: Caller,
    inode: number,
    cookie: number,
    visit: (entry: DirectoryEntry) => boolean,
  ): MaybePromise<void> {
    let at = 0;
    for (const [name, child] of this.node(inode).names) {
      if (++at <= cookie) continue;
      const type = this.node(child).attributes.mode & S_IFMT;
      if (!visit({ name: Buffer.from(name, "latin1"), inode: child, type, cookie: at })) return;
    }
  }

  getxattr(_caller: Caller, _inode: number, _name: Uint8Array): MaybePromise<Uint8Array> {
    return fail("ENODATA");
  }
  setxattr(
    _caller: Caller,
    _inode: number,
    _name: Uint8Array,
    _value: Uint8Array,
    _flags: number,
  ): MaybePromise<void> {
    fail("EOPNOTSUPP");
  }
  listxattr(_caller: Caller, _inode: number): MaybePromise<Uint8Array[]> {
    return [];
  }
  removexattr(_caller: Caller, _inode: number, _name: Uint8Array): MaybePromise<void> {
    fail("ENODATA");
  }

  statfs(): FsStatistics {
    return {
      blockSize: BLOCK_BYTES,
      totalBytes: TOTAL_BYTES,
      freeBytes: TOTAL_BYTES,
      inodes: this.nodes.size,
      freeInodes: 2 ** 32,
      nameMax: 255,
    };
  }

  hold(_inode: number): void {}

  drop(inode: number): void {
    if (this.nodes.get(inode)?.attributes.links === 0) this.nodes.delete(inode);
  }

  protected node(inode: number): Node {
    return this.nodes.get(inode) ?? fail("ESTALE");
  }

  protected nodeOf(handle: number): Node {
    return this.node(this.handles.get(handle) ?? fail("EBADF"));
  }

  protected resize(inode: number, size: number): void {
    this.node(inode).attributes.size = size;
  }

  private openNode(inode: number, options: OpenOptions): number {
    this.node(inode);
    if (options.truncate) this.resize(inode, 0);
    const handle = this.nextHandle++;
    this.handles.set(handle, inode);
    return handle;
  }

  private make(caller: Caller, parent: number, name: Uint8Array, mode: number): Attributes {
    const { names } = this.node(parent);
    const text = textOf(name);
    if (names.has(text)) fail("EEXIST");
    const made = this.add(caller, parent, mode);
    names.set(text, made.inode);
    return made;
  }

  private add(caller: Caller, parent: number, mode: number): Attributes {
    const inode = this.nextInode++;
    const attributes: Attributes = {
      inode,
      mode,
      links: 1,
      uid: caller.uid,
      gid: caller.gid,
      device: 0,
      size: 0,
      allocatedBytes: 0,
      accessed: EPOCH,
      modified: EPOCH,
      changed: EPOCH,
      born: EPOCH,
    };
    this.nodes.set(inode, { attributes, parent, names: new Map(), target: new Uint8Array(0) });
    return attributes;
  }

  private takeName(parent: number, name: Uint8Array): number {
    const { names } = this.node(parent);
    const inode = names.get(textOf(name)) ?? fail("ENOENT");
    names.delete(textOf(name));
    return inode;
  }
}

function timeOf(time: Timestamp | "now"): Timestamp {
  if (time !== "now") return time;
  const millis = Date.now();
  return { seconds: Math.floor(millis / 1000), nanoseconds: (millis % 1000) * 1e6 };
}
