/**
 * Writing a checkpoint: the dirty nodes, children before parents, then the tables of snapshots that
 * need a place, then the superblock. All of it is one synchronous step, and its records may use the
 * reserve: it is what lets space be freed.
 *
 * A parent holds its children's addresses, and those are known when their record is appended: so
 * the levels are written one after the other, from the leaves up. Nothing of the state in memory
 * changes before the superblock is in the log; when an append is refused, nothing refers to what
 * was written, and the state is what it was.
 *
 * Snapshots are taken, removed and returned to, and quotas set, by a checkpoint that says something
 * else than the state does (`CheckpointChange`): so each is atomic, and replay knows no such thing.
 */
import { assert } from "../../../lib/assert.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import type { Appended, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { BlockWriter } from "./block-writer.ts";
import type { KeptSnapshots } from "./kept.ts";
import { type LiveBytes, tableBlock } from "./live-bytes.ts";
import { type NodeReference, Slot } from "./node.ts";
import { encodeNode, rebaseLeaf } from "./node-codec.ts";
import type { Snapshot } from "./snapshot.ts";
import type { VolumeCounters, VolumeState } from "./state.ts";
import { checkpointBytes, encodeCheckpoint, type Quota } from "./superblock.ts";

/** What a checkpoint changes besides writing down what there is. */
export type CheckpointChange =
  | { readonly kind: "none" }
  | { readonly kind: "take"; readonly slot: number; readonly name: string }
  | { readonly kind: "remove"; readonly slot: number }
  /** `table`: that of the snapshot's tree. */
  | { readonly kind: "rollBack"; readonly snapshot: Snapshot; readonly table: LiveBytes }
  | { readonly kind: "quota"; readonly quota: Quota };

const NOTHING: CheckpointChange = { kind: "none" };

/** What the superblock will say, and the state be. */
interface Next {
  readonly root: NodeReference;
  readonly height: number;
  readonly counters: Readonly<VolumeCounters>;
  /** Changes while tables are written. */
  readonly live: LiveBytes;
  kept: KeptSnapshots;
  quota: Quota;
  readonly rollbacks: number;
}

/** When the checkpoint is written: microseconds since 1970, and the newest record before it. */
interface Moment {
  readonly micros: number;
  readonly seconds: number;
  readonly sequence: number;
}

/** Appends a checkpoint of `state`. Throws what the log throws; then nothing has changed. */
export function writeCheckpoint(
  log: LogWriter,
  state: VolumeState,
  nowMicros: number,
  change: CheckpointChange = NOTHING,
): Appended {
  const seconds = Math.floor(nowMicros / 1_000_000);
  const now = { micros: nowMicros, seconds, sequence: log.head.sequence };
  const blocks = new BlockWriter(log);
  const nodes = new NodeWriter(blocks);
  const next = change.kind === "rollBack" ? rolledBack(state, change) : flushed(state, nodes, now);
  if (change.kind === "take") take(next, change, blocks, now);
  if (change.kind === "remove") remove(next, change.slot);
  if (change.kind === "quota") next.quota = change.quota;
  moveTables(state, next, blocks);
  const at = appendSuperblock(log, state, next);
  if (change.kind === "rollBack") installTree(state, next);
  else installNodes(state, nodes);
  install(state, next);
  state.checkpoint = { segment: at.segment, offset: at.offset };
  log.noteCheckpoint(at);
  return at;
}

/** The state as it is, with its nodes in the log. */
function flushed(state: VolumeState, nodes: NodeWriter, now: Moment): Next {
  const { tree, counters, kept, quota, rollbacks } = state;
  for (const level of dirtyLevels(tree.root)) nodes.writeLevel(level);
  const live = state.live.copy();
  for (const { reference } of nodes.written.values()) {
    live.add(reference.segment, reference.length, now.seconds);
  }
  for (const { segment, length } of tree.ahead) live.add(segment, length, now.seconds);
  for (const { segment, length } of tree.replaced) live.add(segment, -length);
  const root = nodes.referenceOf(tree.root);
  return { root, height: tree.height, counters: { ...counters }, live, kept, quota, rollbacks };
}

/** The tree of a snapshot; numbers of inodes that came later are not given again. */
function rolledBack(
  { counters, kept, quota, rollbacks: before }: VolumeState,
  { snapshot, table }: { readonly snapshot: Snapshot; readonly table: LiveBytes },
): Next {
  const { root, height, inodes, dataBytes } = snapshot;
  const live = table.copy();
  for (const one of kept.list) live.add(one.table.segment, one.table.length);
  const nextInode = Math.max(counters.nextInode, snapshot.nextInode);
  const rollbacks = (before + 1) % 256;
  return { root, height, counters: { nextInode, inodes, dataBytes }, live, kept, quota, rollbacks };
}

/** Keeps the root, and writes down the table of its tree: without what belongs to the snapshots. */
function take(
  next: Next,
  { slot, name }: { readonly slot: number; readonly name: string },
  blocks: BlockWriter,
  now: Moment,
): void {
  const { root, height, counters, live } = next;
  const own = live.copy();
  for (const { table } of next.kept.list) own.add(table.segment, -table.length);
  const block = tableBlock(own);
  const referencedBytes = own.totalBytes;
  const fields = { slot, name, createdMicros: now.micros, sequence: now.sequence };
  blocks.add(block, crc32c(block), (table) => {
    live.add(table.segment, table.length, now.seconds);
    const snapshot = { ...fields, ...counters, root, height, referencedBytes, table };
    next.kept = next.kept.with(snapshot, own);
  });
  blocks.flush();
}

function remove(next: Next, slot: number): void {
  const removed = next.kept.at(slot);
  assert(removed !== undefined, "only a snapshot that is kept can be removed");
  next.live.add(removed.table.segment, -removed.table.length);
  next.kept = next.kept.without(slot);
}

/** Writes the tables that were asked to move. */
function moveTables(state: VolumeState, next: Next, blocks: BlockWriter): void {
  const moved = new Map<number, NodeReference>();
  const { live } = next;
  for (const [slot, block] of state.movingTables) {
    const old = next.kept.at(slot)?.table;
    if (old === undefined) continue;
    blocks.add(block, old.checksum, (reference) => {
      moved.set(slot, reference);
      live.add(reference.segment, reference.length, live.writtenSecondsOf(old.segment));
      live.add(old.segment, -old.length);
    });
  }
  blocks.flush();
  next.kept = next.kept.withTables(moved);
}

function appendSuperblock(log: LogWriter, state: VolumeState, next: Next): Appended {
  const { root, height, counters, live, kept, quota, rollbacks } = next;
  const checkpoint = {
    ...state.identity,
    ...counters,
    height,
    nodeBytes: state.tree.nodeBytes,
    root,
    live,
    quota,
    snapshots: kept.list,
    lastSlot: kept.lastSlot,
    rollbacks,
    previous: state.checkpoint,
  };
  const fill = (metadata: Uint8Array): void => encodeCheckpoint(metadata, checkpoint);
  return log.append(KIND.checkpoint, checkpointBytes(checkpoint), [], fill, { privileged: true });
}

/** The written nodes are clean from here on; what they replaced is free. */
function installNodes({ tree, cache }: VolumeState, nodes: NodeWriter): void {
  for (const { slot, block, reference } of nodes.written.values()) {
    slot.reference = reference;
    if (slot.node?.level === 0) rebaseLeaf(slot.node, block);
    cache.charge(slot);
  }
  tree.replaced = [];
  tree.ahead = [];
  tree.dirtyBytes = 0;
}

/** Another tree takes the place of the one in memory, dirty nodes and all. */
function installTree(state: VolumeState, { root, height, counters }: Next): void {
  state.cache.clear();
  state.tree.switchTo(new Slot(height - 1, root, null));
  Object.assign(state.counters, counters);
}

function install(state: VolumeState, { live, kept, quota, rollbacks }: Next): void {
  state.live = live;
  state.kept = kept;
  state.quota = quota;
  state.rollbacks = rollbacks;
  state.movingTables.clear();
  state.cache.trim();
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

interface Written {
  readonly slot: Slot;
  readonly block: Uint8Array;
  readonly reference: NodeReference;
}
