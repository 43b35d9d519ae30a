/**
 * `Relocation`: the writing side of moving what snapshots refer to. Blocks and nodes are appended to
 * the log, where nothing refers to them; `commit` makes all trees point there, in one step and by one
 * checkpoint. Until that nothing has changed, and what was written is dead.
 *
 * No other checkpoint may come in between: behind one, a segment with what no table names is dead, and
 * a mirror that hears of it drops it. Then `commit` does nothing, and all is to be done again.
 */
import { assert } from "../../../lib/assert.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import type { Appended, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { BlockWriter } from "./block-writer.ts";
import type { RelocatedTree } from "./checkpoint.ts";
import { type LiveBytes, tableBlock } from "./live-bytes.ts";
import { encodeMoved, type MovedEntry, movedBytes } from "./moved.ts";
import { KnownBlocks, NodeWriter } from "./node-writer.ts";
import type { NodeReference } from "./node.ts";
import type { AddressMap, TreeChanges } from "./relocation.ts";
import type { Tree } from "./tree.ts";

/** What `commit` makes true. */
export interface Move {
  readonly map: AddressMap;
  readonly trees: readonly RelocatedTree[];
  readonly known: KnownBlocks;
}

export class Relocation {
  /** What was written for the snapshots' trees. */
  readonly known = new KnownBlocks();
  private readonly log: Pick<LogWriter, "append">;
  private readonly isCurrent: () => boolean;
  private readonly switchTo: (move: Move) => boolean | Promise<boolean>;

  /** `switchTo`: the step that makes it so; false when it may not be done any more. */
  constructor(
    log: Pick<LogWriter, "append">,
    isCurrent: () => boolean,
    switchTo: (move: Move) => boolean | Promise<boolean>,
  ) {
    this.log = log;
    this.isCurrent = isCurrent;
    this.switchTo = switchTo;
  }

  /** False: it is in vain to go on. */
  get isPossible(): boolean {
    return this.isCurrent();
  }

  /** One record. Throws what the log throws. */
  appendBlocks(entries: readonly MovedEntry[], blocks: readonly Uint8Array[]): Appended {
    const fill = (metadata: Uint8Array): void => encodeMoved(metadata, entries);
    return this.log.append(KIND.moved, movedBytes(entries), blocks, fill, { privileged: true });
  }

  newNodes(): BlockWriter {
    return new BlockWriter(this.log, KIND.keptNodes);
  }

  /** Writes a table of live bytes. Throws what the log throws. */
  appendTable(live: LiveBytes): NodeReference {
    const block = tableBlock(live);
    const blocks = this.newNodes();
    let place: NodeReference | null = null;
    blocks.add(block, crc32c(block), (reference) => {
      place = reference;
    });
    blocks.flush();
    assert(place !== null, "a block that was flushed has its place");
    return place;
  }

  /** Writes what of a snapshot's tree is dirty; gives its root. Throws what the log throws. */
  appendTree(tree: Tree): { root: NodeReference; written: NodeReference[] } {
    const nodes = new NodeWriter(this.newNodes(), this.known);
    nodes.writeDirty(tree.root);
    const written = [...nodes.written.values()].map(({ reference }) => reference);
    return { root: nodes.referenceOf(tree.root), written };
  }

  /** False when it is too late. Throws or rejects with what the log does; then nothing has changed. */
  commit(map: AddressMap, trees: readonly RelocatedTree[]): boolean | Promise<boolean> {
    return this.switchTo({ map, trees, known: this.known });
  }
}

/** Items of a tree, put or deleted; can be taken back. `tree.prepare` was called for all of them. */
export function applyChanges(tree: Tree, { puts, deletes }: TreeChanges): () => void {
  const before = [...puts, ...deletes].map(({ high, low }) => {
    const value = tree.get(high, low);
    return { high, low, value: value === undefined ? null : value.slice() };
  });
  for (const { high, low, value } of puts) tree.put(high, low, value);
  for (const { high, low } of deletes) tree.delete(high, low);
  return () => {
    for (const { high, low, value } of before) if (value !== null) tree.put(high, low, value);
    for (const { high, low, value } of before) if (value === null) tree.delete(high, low);
  };
}

/** Makes sure that `applyChanges` finds all it needs in memory. Throws `Miss`. */
export function prepareChanges(tree: Tree, { puts, deletes }: TreeChanges): void {
  for (const { high, low } of puts) tree.prepare(high, low, false);
  for (const { high, low } of deletes) tree.prepare(high, low, true);
}
