/**
 * Shared blocks (`sharing.ts`): every owner that an item lists has a piece of the block, and is
 * marked as one that shares. Their items come last in key order; what extents cover of a block more
 * than once was counted for each, and is alive once.
 */
import { FsError, messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Findings } from "./check-findings.ts";
import {
  BLOCK_BYTES,
  decodeInode,
  decodeOwners,
  FLAG_SHARED,
  ITEM,
  keyOf,
  type SharedOwner,
  sharedSegmentOf,
} from "./items.ts";
import { LiveBytes } from "./live-bytes.ts";
import type { Node } from "./node.ts";
import type { Runner } from "./runner.ts";
import { type BlockRange, isPiece, visitOwner } from "./sharing.ts";
import type { Tree } from "./tree.ts";

export class SharedBlocks {
  /** Bytes that several pieces cover, for every piece but one. */
  readonly countedTwice = new LiveBytes();
  private readonly runner: Runner;
  private readonly tree: Tree;
  private readonly findings: Findings;

  constructor(runner: Runner, tree: Tree, findings: Findings) {
    this.runner = runner;
    this.tree = tree;
    this.findings = findings;
  }

  async check(leaf: Node): Promise<void> {
    for (const [i, high] of leaf.highs.entries()) {
      const segment = sharedSegmentOf(high);
      if (segment === undefined) continue;
      const low = leaf.lows[i] as number;
      try {
        await this.block(segment, low, decodeOwners(leaf.valueAt(i)), { high, low });
      } catch (error) {
        if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
        this.findings.error("item", null, messageOf(error), { key: { high, low } });
      }
    }
  }

  private async block(
    segment: number,
    offset: number,
    owners: readonly SharedOwner[],
    key: { readonly high: number; readonly low: number },
  ): Promise<void> {
    const details = { address: { segment, offset }, key };
    if (owners.length === 0) {
      this.findings.error("shared", null, "a shared block without an owner", details);
    }
    const pieces: BlockRange[] = [];
    for (const owner of owners) {
      const found = await this.runner.run(() => this.piecesOf(segment, offset, owner));
      pieces.push(...found.pieces);
      if (found.pieces.length === 0) {
        const text = "listed as an owner of a block that it has nothing of";
        this.findings.error("shared", owner.inode, text, details);
      } else if (!found.isMarked) {
        const text = "owns a shared block without the mark that it does";
        this.findings.error("shared", owner.inode, text, details);
      }
    }
    const covered = pieces.reduce((sum, { from, to }) => sum + to - from, 0);
    this.countedTwice.add(segment, covered - unionBytes(pieces));
  }

  private piecesOf(segment: number, offset: number, owner: SharedOwner) {
    const attributes = this.tree.get(keyOf(owner.inode, ITEM.attributes), 0);
    const flags = attributes === undefined ? 0 : decodeInode(attributes).flags;
    const pieces: BlockRange[] = [];
    const block = { segment, offset, storedBytes: BLOCK_BYTES };
    visitOwner(this.tree, owner, { from: 0, to: BLOCK_BYTES }, (extent) => {
      if (!isPiece(extent, block, owner)) return true;
      return pieces.push({ from: extent.skip, to: extent.skip + extent.length }) > 0;
    });
    return { pieces, isMarked: (flags & FLAG_SHARED) !== 0 };
  }
}

function unionBytes(ranges: readonly BlockRange[]): number {
  let bytes = 0;
  let end = 0;
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    bytes += Math.max(0, to - Math.max(from, end));
    end = Math.max(end, to);
  }
  return bytes;
}
