/**
 * What the kernel holds of the file system, and what is given back when it goes.
 *
 * - Lookup counts: every answer that names an inode adds one; FORGET takes them off. While an
 *   inode's count is above zero it is held in the `Vfs`, so its number stays good.
 * - Open handles. A connection that is cut sends no RELEASE for them.
 */
import { NumberTable } from "../../../lib/number-table.ts";
import type { MaybePromise, Vfs } from "../../core/vfs.ts";

export class Holdings {
  private readonly counts = new NumberTable();
  private readonly handles = new Set<number>();
  private readonly vfs: Vfs;
  private readonly failed: (error: unknown) => void;

  /** `failed` hears of what was given back and did not work: nobody waits for it. */
  constructor(vfs: Vfs, failed: (error: unknown) => void) {
    this.vfs = vfs;
    this.failed = failed;
  }

  get size(): number {
    return this.counts.size;
  }

  remember(inode: number): void {
    const count = this.counts.get(inode) ?? 0;
    if (count === 0) this.vfs.hold(inode);
    this.counts.set(inode, count + 1);
  }

  /** Forgetting what is not known, or more than is known, is the kernel's mistake and does no harm. */
  forget(inode: number, lookups: number): void {
    const count = this.counts.get(inode);
    if (count === undefined) return;
    if (count > lookups) {
      this.counts.set(inode, count - lookups);
      return;
    }
    this.counts.delete(inode);
    this.drop(inode);
  }

  opened(handle: number): void {
    this.handles.add(handle);
  }

  /** The call that releases it comes from whoever says so. */
  released(handle: number): void {
    this.handles.delete(handle);
  }

  release(handle: number): void {
    if (this.handles.delete(handle)) this.giveBack(() => this.vfs.release(handle));
  }

  /** The kernel is gone, and with it all that it knew. */
  giveBackAll(): void {
    for (const handle of [...this.handles]) this.release(handle);
    const inodes = this.counts.keys();
    this.counts.clear();
    for (const inode of inodes) this.drop(inode);
  }

  private drop(inode: number): void {
    this.giveBack(() => this.vfs.drop(inode));
  }

  private giveBack(call: () => MaybePromise<void>): void {
    try {
      const done = call();
      if (done instanceof Promise) done.catch(this.failed);
    } catch (error) {
      this.failed(error);
    }
  }
}
