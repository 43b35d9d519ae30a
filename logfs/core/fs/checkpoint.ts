/**
 * Writing a checkpoint: the dirty nodes, children before parents, then the tables of snapshots that
 * need a place, then the superblock. All of it is one synchronous step, and its records may use the
 * reserve: it is what lets space be freed.
 *
 * A parent holds its children's addresses, and those are known when their record is appended: so
 * the levels are written one after the other, from the leaves up. Nothing of the state in memory
 * changes before the superblock is in the log; when an append is refused, what was written is
 * given back and the state is what it was.
 */
import { assert } from "../../../lib/assert.ts";
import type { Appended, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { BlockWriter } from "./block-writer.ts";
import type { KeptSnapshots } from "./kept.ts";
import type { LiveBytes } from "./live-bytes.ts";
import type { NodeReference, Slot } from "./node.ts";
import { encodeNode, rebaseLeaf } from "./node-codec.ts";
import type { VolumeState } from "./state.ts";
import { type Checkpoint, checkpointBytes, encodeCheckpoint } from "./superblock.ts";

interface Written {
  readonly slot: Slot;
  readonly block: Uint8Array;
  readonly reference: NodeReference;
}

/** Appends a checkpoint of `state`. Throws what the log throws; then nothing has changed. */
export function writeCheckpoint(log: LogWriter, state: VolumeState, nowMicros: number): Appended {
  const blocks = new BlockWriter(log);
  try {
    const nodes = new NodeWriter(blocks);
    for (const level of dirtyLevels(state.tree.root)) nodes.writeLevel(level);
    const live = liveAfter(state, nodes, Math.floor(nowMicros / 1_000_000));
    const kept = moveTables(state, blocks, live);
    const at = appendSuperblock(log, state, nodes.referenceOf(state.tree.root), live, kept);
    install(log, state, nodes, live, kept);
    log.noteCheckpoint(at);
    return at;
  } catch (error) {
    blocks.giveBack();
    throw error;
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

class NodeWriter {
  readonly written = new Map<Slot, Written>();
  private readonly blocks: BlockWriter;

  constructor(blocks: BlockWriter) {
    this.blocks = blocks;
  }

  writeLevel(slots: readonly Slot[]): void {
    for (const slot of slots) {
      assert(slot.node !== null, "a dirty node is in memory");
      const { block, checksum } = encodeNode(slot.node, (child) => this.referenceOf(child));
      this.blocks.add(block, checksum, (reference) => {
        this.written.set(slot, { slot, block, reference });
      });
    }
    this.blocks.flush();
  }

  referenceOf(slot: Slot): NodeReference {
    const reference = slot.reference ?? this.written.get(slot)?.reference;
    assert(reference !== undefined, "children are written before their parents");
    return reference;
  }
}

function liveAfter(state: VolumeState, nodes: NodeWriter, nowSeconds: number): LiveBytes {
  const live = state.live.copy();
  for (const { reference } of nodes.written.values()) {
    live.add(reference.segment, reference.length, nowSeconds);
  }
  for (const { segment, length } of state.tree.replaced) live.add(segment, -length);
  return live;
}

/** Writes the tables that were asked to move; `live` follows them. */
function moveTables(state: VolumeState, blocks: BlockWriter, live: LiveBytes): KeptSnapshots {
  const moved = new Map<number, NodeReference>();
  for (const [slot, block] of state.movingTables) {
    const old = state.kept.at(slot)?.table;
    assert(old !== undefined, "a table that moves belongs to a snapshot");
    blocks.add(block, old.checksum, (reference) => {
      moved.set(slot, reference);
      live.add(reference.segment, reference.length, live.writtenSecondsOf(old.segment));
      live.add(old.segment, -old.length);
    });
  }
  blocks.flush();
  return state.kept.withTables(moved);
}

function appendSuperblock(
  log: LogWriter,
  state: VolumeState,
  root: NodeReference,
  live: LiveBytes,
  kept: KeptSnapshots,
): Appended {
  const { height, nodeBytes } = state.tree;
  const checkpoint: Checkpoint = {
    ...state.identity,
    ...state.counters,
    height,
    nodeBytes,
    root,
    live,
    quota: state.quota,
    snapshots: kept.list,
    lastSlot: kept.lastSlot,
  };
  const fill = (metadata: Uint8Array): void => encodeCheckpoint(metadata, checkpoint);
  return log.append(KIND.checkpoint, checkpointBytes(checkpoint), [], fill, { privileged: true });
}

/** The written nodes are clean from here on; what they replaced is free. */
function install(
  log: LogWriter,
  state: VolumeState,
  nodes: NodeWriter,
  live: LiveBytes,
  kept: KeptSnapshots,
): void {
  for (const { slot, block, reference } of nodes.written.values()) {
    slot.reference = reference;
    if (slot.node?.level === 0) rebaseLeaf(slot.node, block);
    state.cache.charge(slot);
  }
  for (const reference of state.tree.replaced) log.free(reference, reference.length);
  state.tree.replaced = [];
  state.tree.dirtyBytes = 0;
  state.live = live;
  state.kept = kept;
  state.movingTables.clear();
  state.noteNamed();
  state.cache.trim();
}
