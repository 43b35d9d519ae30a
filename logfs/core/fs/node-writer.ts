/**
 * Writing the dirty nodes of a tree, level after level from the leaves up: a parent holds its
 * children's addresses, and those are known when their record is appended.
 */
import { assert } from "../../../lib/assert.ts";
import { equalBytes } from "../../../lib/bytes.ts";
import type { BlockWriter } from "./block-writer.ts";
import type { NodeReference, Slot } from "./node.ts";
import { encodeNode } from "./node-codec.ts";

export interface WrittenNode {
  readonly slot: Slot;
  readonly block: Uint8Array;
  readonly reference: NodeReference;
}

/**
 * Blocks that were just written, by what is in them: what trees have in common when the same change
 * is made in each stays in common.
 */
export class KnownBlocks {
  private readonly blocks = new Map<string, { block: Uint8Array; reference: NodeReference }>();

  note(block: Uint8Array, reference: NodeReference): void {
    this.blocks.set(keyOf(reference.checksum, block), { block, reference });
  }

  find(block: Uint8Array, checksum: number): NodeReference | null {
    const known = this.blocks.get(keyOf(checksum, block));
    return known !== undefined && equalBytes(known.block, block) ? known.reference : null;
  }
}

function keyOf(checksum: number, block: Uint8Array): string {
  return `${checksum}/${block.length}`;
}

export class NodeWriter {
  readonly written = new Map<Slot, WrittenNode>();
  private readonly blocks: BlockWriter;
  private readonly known: KnownBlocks | null;

  /** `known`: blocks that need not be written again. */
  constructor(blocks: BlockWriter, known: KnownBlocks | null = null) {
    this.blocks = blocks;
    this.known = known;
  }

  /** Everything dirty from `root` down. Throws what the log throws. */
  writeDirty(root: Slot): void {
    for (const level of dirtyLevels(root)) this.writeLevel(level);
  }

  referenceOf(slot: Slot): NodeReference {
    const reference = slot.reference ?? this.written.get(slot)?.reference;
    assert(reference !== undefined, "children are written before their parents");
    return reference;
  }

  private writeLevel(slots: readonly Slot[]): void {
    for (const slot of slots) {
      assert(slot.node !== null, "a dirty node is in memory");
      const { block, checksum } = encodeNode(slot.node, (child) => this.referenceOf(child));
      const placed = (reference: NodeReference): void => {
        this.written.set(slot, { slot, block, reference });
        this.known?.note(block, reference);
      };
      const known = this.known?.find(block, checksum) ?? null;
      if (known === null) this.blocks.add(block, checksum, placed);
      else placed(known);
    }
    this.blocks.flush();
  }
}

/** Dirty slots by level, leaves first. */
function dirtyLevels(root: Slot): Slot[][] {
  // A level may have none: the only leaf that changed may be gone.
  const levels = Array.from({ length: root.level + 1 }, (): Slot[] => []);
  const collect = (slot: Slot): void => {
    if (slot.reference !== null) return;
    levels[slot.level]?.push(slot);
    for (const child of slot.node?.children ?? []) collect(child);
  };
  collect(root);
  return levels;
}
