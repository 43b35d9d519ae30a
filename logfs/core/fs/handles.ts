/**
 * Open files: a bounded table of small numbers. A number is used again only after its release.
 */
import { fail } from "../../../lib/errors.ts";
import type { Caller, OpenOptions, SyncRequest } from "../vfs.ts";
import { isRoot } from "./access.ts";
import type { Writer } from "./writing.ts";

/** Most handles open at once; ENOMEM beyond. */
const HANDLES_MAX = 1_048_576;

export interface Handle extends Writer {
  readonly read: boolean;
  readonly write: boolean;
  readonly sync: SyncRequest;
}

export class Handles {
  private readonly slots: (Handle | undefined)[] = [];
  private readonly free: number[] = [];

  get size(): number {
    return this.slots.length - this.free.length;
  }

  /** ENOMEM when the table is full. */
  requireRoom(): void {
    if (this.size >= HANDLES_MAX) fail("ENOMEM");
  }

  open(caller: Caller, inode: number, options: OpenOptions): number {
    this.requireRoom();
    const { read, write, append, sync = "none" } = options;
    const handle = this.free.pop() ?? this.slots.length;
    const privilege = isRoot(caller) ? "root" : "user";
    this.slots[handle] = { inode, read, write, append, sync, privilege };
    return handle;
  }

  /** EBADF when there is no such handle. */
  get(handle: number): Handle {
    return this.slots[handle] ?? fail("EBADF");
  }

  readable(handle: number): Handle {
    const open = this.get(handle);
    if (!open.read) fail("EBADF");
    return open;
  }

  writable(handle: number): Handle {
    const open = this.get(handle);
    if (!open.write) fail("EBADF");
    return open;
  }

  close(handle: number): Handle {
    const open = this.get(handle);
    this.slots[handle] = undefined;
    this.free.push(handle);
    return open;
  }
}
