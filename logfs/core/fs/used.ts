/**
 * Inodes that somebody uses: by open handles, or by holds of a front-end. Such an inode outlives
 * its last name. For them, and only them, the last record that touched them is remembered, so that
 * fsync of one file does not wait for another's.
 *
 * Entries are bounded by the handle table and by the front-end's own limit on holds (for FUSE, the
 * kernel's inode cache).
 */
import { assert } from "../../../lib/assert.ts";
import type { Attributes } from "../vfs.ts";
import { isDirectory } from "./modes.ts";

interface Use {
  handles: number;
  holds: number;
  /** It has lost its last name: whoever lets it go last collects it. */
  orphaned: boolean;
  /** It is no longer in the tree: what its holders may still ask for. */
  remains: Attributes | undefined;
  /** Newest record that touched it; when first used, the newest of all. */
  sequence: number;
}

/** Whether an inode that was let go must be collected now. */
export type AfterUse = "nothing" | "collect";

export class UsedInodes {
  private readonly uses = new Map<number, Use>();
  private orphanedCount = 0;
  private heldCount = 0;

  get held(): number {
    return this.heldCount;
  }

  /** Without a name, still used. */
  get orphaned(): number {
    return this.orphanedCount;
  }

  readonly isUsed = (inode: number): boolean => this.uses.has(inode);

  /**
   * A hold keeps a directory, which may be somebody's current one. Anything else is kept by handles:
   * a holder of a removed file can do no more than look at its attributes.
   */
  readonly keeps = (inode: number, mode: number): boolean => {
    const use = this.uses.get(inode);
    return use !== undefined && (use.handles > 0 || isDirectory(mode));
  };

  opened(inode: number, sequence: number): void {
    this.use(inode, sequence).handles++;
  }

  hold(inode: number, sequence: number): void {
    const use = this.use(inode, sequence);
    if (use.holds++ === 0) this.heldCount++;
  }

  closed(inode: number): AfterUse {
    const use = this.require(inode);
    assert(use.handles > 0, "an inode is closed as often as it was opened");
    use.handles--;
    return this.letGo(inode, use);
  }

  dropped(inode: number): AfterUse {
    const use = this.require(inode);
    assert(use.holds > 0, "an inode is dropped as often as it was held");
    if (--use.holds === 0) this.heldCount--;
    return this.letGo(inode, use);
  }

  /** Its last name went, leaving an orphan item. */
  orphan(inode: number): AfterUse {
    const use = this.uses.get(inode);
    if (use === undefined) return "collect";
    if (!use.orphaned) this.orphanedCount++;
    use.orphaned = true;
    return "nothing";
  }

  /** It has got its first name. */
  named(inode: number): void {
    const use = this.uses.get(inode);
    if (use === undefined || !use.orphaned) return;
    use.orphaned = false;
    this.orphanedCount--;
  }

  /** Its last name went, and it with it. */
  removed(inode: number, remains: Attributes): void {
    const use = this.uses.get(inode);
    if (use !== undefined) use.remains = remains;
  }

  /** The attributes of an inode that is held and gone. */
  remainsOf(inode: number): Attributes | undefined {
    return this.uses.get(inode)?.remains;
  }

  /** Answers may come in another order than their records. */
  touched(inode: number, sequence: number): void {
    const use = this.uses.get(inode);
    if (use !== undefined) use.sequence = Math.max(use.sequence, sequence);
  }

  /** undefined when nobody uses it. */
  sequenceOf(inode: number): number | undefined {
    return this.uses.get(inode)?.sequence;
  }

  private use(inode: number, sequence: number): Use {
    let use = this.uses.get(inode);
    if (use === undefined) {
      use = { handles: 0, holds: 0, orphaned: false, remains: undefined, sequence };
      this.uses.set(inode, use);
    }
    return use;
  }

  private require(inode: number): Use {
    const use = this.uses.get(inode);
    assert(use !== undefined, `inode ${inode} is in use`);
    return use;
  }

  private letGo(inode: number, use: Use): AfterUse {
    if (use.handles > 0 || use.holds > 0) return "nothing";
    this.uses.delete(inode);
    if (!use.orphaned) return "nothing";
    this.orphanedCount--;
    return "collect";
  }
}
