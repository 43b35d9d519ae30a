/**
 * The kernel's lookup counts. Every answer that names an inode adds one; FORGET takes them off.
 * While an inode's count is above zero it is held in the `Vfs`, so its number stays good.
 */
import type { Vfs } from "../../core/vfs.ts";

export class Nodes {
  private readonly counts = new Map<number, number>();
  private readonly vfs: Vfs;
  private readonly failed: (error: unknown) => void;

  /** `failed` hears of drops that did not work: nobody waits for them. */
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

  /** The kernel is gone, and with it all that it knew. */
  forgetAll(): void {
    const inodes = [...this.counts.keys()];
    this.counts.clear();
    for (const inode of inodes) this.drop(inode);
  }

  private drop(inode: number): void {
    try {
      const dropped = this.vfs.drop(inode);
      if (dropped instanceof Promise) dropped.catch(this.failed);
    } catch (error) {
      this.failed(error);
    }
  }
}
