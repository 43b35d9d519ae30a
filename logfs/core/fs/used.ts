/**
 * Inodes that somebody uses: by open handles, or by holds of a front-end. Such an inode outlives
 * its last name. For them, and only them, the last record that touched them is remembered, so that
 * fsync of one file does not wait for another's.
 *
 * Entries are bounded by the handle table and by the front-end's own limit on holds (for FUSE, the
 * kernel's inode cache, which may hold millions: those cost two entries of a table of numbers).
 */
import { assert } from "../../../lib/assert.ts";
import { NumberTable } from "../../../lib/number-table.ts";
import type { Attributes } from "../vfs.ts";
import { isDirectory } from "./modes.ts";

/** Of an inode that is open, or that has lost its last name. */
interface Use {
  handles: number;
  /** It has lost its last name: whoever lets it go last collects it. */
  orphaned: boolean;
  /** It is no longer in the tree: what its holders may still ask for. */
  remains: Attributes | undefined;
}

/** Whether an inode that was let go must be collected now. */
export type AfterUse = "nothing" | "collect";

export class UsedInodes {
  private readonly uses = new Map<number, Use>();
  private readonly holds = new NumberTable();
  /** Newest record that touched an inode in use; when first used, the newest of all. */
  private readonly sequences = new NumberTable();
  private orphanedCount = 0;

  get held(): number {
    return this.holds.size;
  }

  /** Without a name, still used. */
  get orphaned(): number {
    return this.orphanedCount;
  }

  readonly isUsed = (inode: number): boolean => this.sequences.get(inode) !== undefined;

  /**
   * A hold keeps a directory, which may be somebody's current one. Anything else is kept by handles:
   * a holder of a removed file can do no more than look at its attributes.
   */
  readonly keeps = (inode: number, mode: number): boolean => {
    if (isDirectory(mode)) return this.isUsed(inode);
    return (this.uses.get(inode)?.handles ?? 0) > 0;
  };

  opened(inode: number, sequence: number): void {
    this.begin(inode, sequence);
    this.use(inode).handles++;
  }

  hold(inode: number, sequence: number): void {
    this.begin(inode, sequence);
    this.holds.set(inode, (this.holds.get(inode) ?? 0) + 1);
  }

  closed(inode: number): AfterUse {
    const use = this.uses.get(inode);
    assert(use !== undefined && use.handles > 0, "an inode is closed as often as it was opened");
    use.handles--;
    return this.letGo(inode);
  }

  dropped(inode: number): AfterUse {
    const holds = this.holds.get(inode);
    assert(holds !== undefined, "an inode is dropped as often as it was held");
    if (holds > 1) this.holds.set(inode, holds - 1);
    else this.holds.delete(inode);
    return this.letGo(inode);
  }

  /** Its last name went, leaving an orphan item. */
  orphan(inode: number): AfterUse {
    if (!this.isUsed(inode)) return "collect";
    const use = this.use(inode);
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
    if (this.isUsed(inode)) this.use(inode).remains = remains;
  }

  /** The attributes of an inode that is held and gone. */
  remainsOf(inode: number): Attributes | undefined {
    return this.uses.get(inode)?.remains;
  }

  /** Answers may come in another order than their records. */
  touched(inode: number, sequence: number): void {
    const before = this.sequences.get(inode);
    if (before !== undefined && before < sequence) this.sequences.set(inode, sequence);
  }

  /** undefined when nobody uses it. */
  sequenceOf(inode: number): number | undefined {
    return this.sequences.get(inode);
  }

  private begin(inode: number, sequence: number): void {
    if (!this.isUsed(inode)) this.sequences.set(inode, sequence);
  }

  private use(inode: number): Use {
    let use = this.uses.get(inode);
    if (use === undefined) {
      use = { handles: 0, orphaned: false, remains: undefined };
      this.uses.set(inode, use);
    }
    return use;
  }

  private letGo(inode: number): AfterUse {
    const use = this.uses.get(inode);
    const { handles = 0, orphaned = false, remains } = use ?? {};
    if (handles > 0) return "nothing";
    const isHeld = this.holds.get(inode) !== undefined;
    if (isHeld && (orphaned || remains !== undefined)) return "nothing";
    this.uses.delete(inode);
    if (isHeld) return "nothing";
    this.sequences.delete(inode);
    if (!orphaned) return "nothing";
    this.orphanedCount--;
    return "collect";
  }
}
