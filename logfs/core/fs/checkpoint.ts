/**
 * Writing a checkpoint: the dirty nodes, children before parents, then the tables of snapshots that
 * need a place, then the superblock. All of it is one synchronous step, and its records may use the
 * reserve: it is what lets space be freed.
 *
 * Nothing of the state in memory changes before the superblock is in the log; when an append is
 * refused, nothing refers to what was written, and the state is what it was.
 *
 * Snapshots are taken, removed, returned to and moved, and quotas set, by a checkpoint that says
 * something else than the state does (`CheckpointChange`): so each is atomic, and replay knows no such
 * thing.
 */
import { assert } from "../../../lib/assert.ts";
import { crc32c } from "../../../lib/crc32c.ts";
import type { Appended, LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import { BlockWriter } from "./block-writer.ts";
import type { KeptSnapshots } from "./kept.ts";
import { type LiveBytes, tableBlock } from "./live-bytes.ts";
import { type NodeReference, Slot } from "./node.ts";
import { rebaseLeaf } from "./node-codec.ts";
import { type KnownBlocks, NodeWriter } from "./node-writer.ts";
import type { LiveChange } from "./relocation.ts";
import type { SegmentTable } from "./segment-table.ts";
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
  | { readonly kind: "quota"; readonly quota: Quota }
  | Relocate;

/** Snapshots' trees stand somewhere else, and so does what the active tree shares with them. */
interface Relocate {
  readonly kind: "relocate";
  readonly trees: readonly RelocatedTree[];
  /** Of the active tree, whose items point to the new places already. */
  readonly live: LiveChange;
  /** Nodes that were written for the snapshots. */
  readonly known: KnownBlocks;
}

export interface RelocatedTree {
  readonly slot: number;
  readonly root: NodeReference;
  readonly height: number;
  /** What it refers to now, and that as a block in the log. */
  readonly segments: SegmentTable;
  readonly referencedBytes: number;
  readonly table: NodeReference;
}

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
  const nodes = new NodeWriter(blocks, change.kind === "relocate" ? change.known : null);
  const next = change.kind === "rollBack" ? rolledBack(state, change) : flushed(state, nodes, now);
  if (change.kind === "take") take(next, change, blocks, now);
  if (change.kind === "remove") remove(next, change.slot);
  if (change.kind === "quota") next.quota = change.quota;
  if (change.kind === "relocate") relocate(next, change, now);
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
  nodes.writeDirty(tree.root);
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

/** Each tree gets its root, and a table that says what it refers to now. */
function relocate(next: Next, { trees, live: change }: Relocate, now: Moment): void {
  const { live, kept } = next;
  change.applyTo(live);
  const relocated = new Map<number, { snapshot: Snapshot; table: SegmentTable }>();
  for (const { slot, segments, ...place } of trees) {
    const old = kept.at(slot);
    assert(old !== undefined, "only a snapshot that is kept can be relocated");
    live.add(old.table.segment, -old.table.length);
    live.add(place.table.segment, place.table.length, now.seconds);
    relocated.set(slot, { snapshot: { ...old, ...place }, table: segments });
  }
  next.kept = kept.relocated(relocated);
}

/** Writes the tables that were asked to move, but for those that were written anew. */
function moveTables(state: VolumeState, next: Next, blocks: BlockWriter): void {
  const moved = new Map<number, NodeReference>();
  const { live } = next;
  for (const [slot, block] of state.movingTables) {
    const old = next.kept.at(slot)?.table;
    if (old === undefined || old !== state.kept.at(slot)?.table) continue;
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
