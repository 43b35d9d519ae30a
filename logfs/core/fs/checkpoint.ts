/**
 * Writing a checkpoint: the dirty nodes, children before parents, then the superblock. All of it is
 * one synchronous step, and its records may use the reserve: it is what lets space be freed.
 *
 * A parent holds its children's addresses, and those are known when their record is appended: so
 * the levels are written one after the other, from the leaves up. Nothing of the tree in memory
 * changes before the superblock is in the log; when an append is refused, what was written is
 * given back and the state is what it was.
 */
import { assert } from "../../../lib/assert.ts";
import type { Appended, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import type { NodeReference, Slot } from "./node.ts";
import { encodeNode, rebaseLeaf } from "./node-codec.ts";
import type { VolumeState } from "./state.ts";
import {
  type Checkpoint,
  checkpointBytes,
  encodeCheckpoint,
  type LiveBytes,
} from "./superblock.ts";

/** Body of one `nodes` record at most: it passes the WAN and memory like any other record. */
const NODES_BODY_BYTES = 2 ** 20;

interface Written {
  readonly slot: Slot;
  readonly block: Uint8Array;
  readonly reference: NodeReference;
}

/** Appends a checkpoint of `state`. Throws what the log throws; then nothing has changed. */
export function writeCheckpoint(log: LogWriter, state: VolumeState): Appended {
  const nodes = new NodeWriter(log);
  try {
    for (const level of dirtyLevels(state.tree.root)) nodes.writeLevel(level);
    const live = liveAfter(state, nodes);
    const at = appendSuperblock(log, state, nodes.referenceOf(state.tree.root), live);
    install(log, state, nodes, live);
    log.noteCheckpoint(at);
    return at;
  } catch (error) {
    nodes.giveBack();
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
  private readonly log: LogWriter;

  constructor(log: LogWriter) {
    this.log = log;
  }

  writeLevel(slots: readonly Slot[]): void {
    let batch: { slot: Slot; block: Uint8Array; checksum: number }[] = [];
    let bytes = 0;
    for (const slot of slots) {
      assert(slot.node !== null, "a dirty node is in memory");
      const encoded = encodeNode(slot.node, (child) => this.referenceOf(child));
      if (bytes + encoded.block.length > NODES_BODY_BYTES) {
        this.append(batch);
        batch = [];
        bytes = 0;
      }
      batch.push({ slot, ...encoded });
      bytes += encoded.block.length;
    }
    this.append(batch);
  }

  referenceOf(slot: Slot): NodeReference {
    const reference = slot.reference ?? this.written.get(slot)?.reference;
    assert(reference !== undefined, "children are written before their parents");
    return reference;
  }

  giveBack(): void {
    for (const { reference } of this.written.values()) this.log.free(reference, reference.length);
  }

  private append(batch: readonly { slot: Slot; block: Uint8Array; checksum: number }[]): void {
    if (batch.length === 0) return;
    const blocks = batch.map(({ block }) => block);
    const at = this.log.append(KIND.nodes, 0, blocks, () => {}, { privileged: true });
    let offset = at.bodyOffset;
    for (const { slot, block, checksum } of batch) {
      const reference = { segment: at.segment, offset, length: block.length, checksum };
      this.written.set(slot, { slot, block, reference });
      offset += block.length;
    }
  }
}

function liveAfter(state: VolumeState, nodes: NodeWriter): LiveBytes {
  const live = state.live.copy();
  for (const { reference } of nodes.written.values()) live.add(reference.segment, reference.length);
  for (const { segment, length } of state.tree.replaced) live.add(segment, -length);
  return live;
}

function appendSuperblock(
  log: LogWriter,
  state: VolumeState,
  root: NodeReference,
  live: LiveBytes,
): Appended {
  const { height, nodeBytes } = state.tree;
  const checkpoint: Checkpoint = {
    ...state.identity,
    ...state.counters,
    height,
    nodeBytes,
    root,
    live,
  };
  const fill = (metadata: Uint8Array): void => encodeCheckpoint(metadata, checkpoint);
  return log.append(KIND.checkpoint, checkpointBytes(live), [], fill, { privileged: true });
}

/** The written nodes are clean from here on; what they replaced is free. */
function install(log: LogWriter, state: VolumeState, nodes: NodeWriter, live: LiveBytes): void {
  for (const { slot, block, reference } of nodes.written.values()) {
    slot.reference = reference;
    if (slot.node?.level === 0) rebaseLeaf(slot.node, block);
    state.cache.charge(slot);
  }
  for (const reference of state.tree.replaced) log.free(reference, reference.length);
  state.tree.replaced = [];
  state.tree.dirtyBytes = 0;
  state.live = live;
  state.cache.trim();
}
