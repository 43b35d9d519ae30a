/**
 * Moving what snapshots refer to out of victims, for all trees at once (ARCHITECTURE, "Cleaning").
 *
 * In batches, in the order of the keys, so that one leaf is rewritten once. For each: load the nodes
 * that may change and the bytes; then, while the gate holds writers back, write the blocks (those that
 * only snapshots refer to apart from the others), the snapshots' nodes and tables, and commit.
 *
 * A batch that comes too late (another checkpoint was written) has changed nothing; the next round
 * does it again.
 */
import { SmfsError } from "../../../../lib/errors.ts";
import type { RelocatedTree } from "../checkpoint.ts";
import { type ExtentItem, ITEM, keyOf, sumBlock } from "../items.ts";
import { loadTable } from "../kept.ts";
import type { MovedEntry } from "../moved.ts";
import { MovedEntry as MovedEntryLayout } from "../moved.ts";
import type { Relocation } from "../relocating.ts";
import { AddressMap, type Key, type MovedBlock, type MovedRun } from "../relocation.ts";
import { SegmentTable } from "../segment-table.ts";
import type { Snapshot } from "../snapshot.ts";
import type { BlockRange } from "../sharing.ts";
import type { CleanableVolume, CleanerLog } from "./api.ts";
import { writtenWhenBehind } from "./backlog.ts";
import type { NodeReader } from "./forest.ts";
import type { Gate } from "./gate.ts";
import type { KeptBlock } from "./kept-survey.ts";
import { type KeySpan, KeySpans } from "./key-ranges.ts";
import { loadPieces } from "./loading.ts";
import { finishTree, planRewrite, type RewritePlan, rewriteNodes } from "./rewriting.ts";
import type { CleanerCounters } from "./statistics.ts";

export interface KeptPorts {
  readonly log: CleanerLog;
  readonly volume: CleanableVolume;
  readonly gate: Pick<Gate, "hold">;
  readonly counters: CleanerCounters;
  readonly reader: NodeReader;
}

/** What a round found that snapshots have in its victims. */
export interface KeptVictims {
  readonly segments: ReadonlySet<number>;
  readonly blocks: readonly KeptBlock[];
  readonly nodes: readonly Key[];
  /** `CleanableVolume.treesVersion` when it was found. */
  readonly version: string;
}

export interface KeptOptions {
  readonly segmentBytes: number;
  readonly maxRecordBytes: number;
  readonly batchBytes: number;
  readonly isWanted: () => boolean;
  /** So many bytes were appended for it. */
  readonly onWritten: (bytes: number) => void;
}

/** Body of one record, at most. */
const RECORD_BYTES = 2 ** 20;
/** Extents and nodes of one batch: the active tree's leaves for them are changed in one step. */
const BATCH_ITEMS = 2048;
/** Blocks of nodes that one batch keeps in memory. */
const PLAN_BYTES = 16 * 2 ** 20;
/** Blocks that are less than this share of a segment are not worth one of their own. */
const ALONE_SHARE = 1 / 8;

/** One thing to move: a block, or (null) a node. */
interface Unit {
  readonly block: KeptBlock | null;
  /** Where trees have it. */
  readonly keys: readonly Key[];
}

/** `late`: something else came first; it is to be tried again. */
type Outcome = "moved" | "stays" | "late";

/** Rejects with what reading and appending reject, but damage. */
export async function evacuateKept(
  ports: KeptPorts,
  victims: KeptVictims,
  options: KeptOptions,
): Promise<Outcome> {
  const { volume } = ports;
  let outcome: Outcome = "moved";
  const batches = batchesOf(unitsOf(victims), options.batchBytes);
  // Halves of a batch that was too large come before what is behind it.
  for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
    if (!options.isWanted() || volume.treesVersion !== victims.version) return "late";
    const plan = await planFor(ports, victims, batch);
    if (plan === null) {
      const middle = batch.length >>> 1;
      batches.unshift(batch.slice(0, middle), batch.slice(middle));
      continue;
    }
    const now = await moveBatch(ports, victims, options, batch, plan);
    if (now === "late") return now;
    if (now === "stays") outcome = now;
  }
  return outcome;
}

function unitsOf({ blocks, nodes }: KeptVictims): Unit[] {
  const units: Unit[] = [
    ...blocks.map((block) => ({ block, keys: block.keys })),
    ...nodes.map((key) => ({ block: null, keys: [key] })),
  ];
  return units.toSorted((a, b) => compareKeys(a.keys[0], b.keys[0]));
}

function compareKeys(a: Key | undefined, b: Key | undefined): number {
  return (a?.high ?? 0) - (b?.high ?? 0) || (a?.low ?? 0) - (b?.low ?? 0);
}

function batchesOf(units: readonly Unit[], batchBytes: number): Unit[][] {
  const batches: Unit[][] = [];
  let bytes = 0;
  let items = 0;
  for (const unit of units) {
    const size = unit.block?.block.storedBytes ?? 0;
    const count = unit.keys.length + (unit.block?.activeItems ?? 0);
    const batch = batches.at(-1);
    if (batch === undefined || bytes + size > batchBytes || items + count > BATCH_ITEMS) {
      batches.push([unit]);
      bytes = size;
      items = count;
    } else {
      batch.push(unit);
      bytes += size;
      items += count;
    }
  }
  return batches;
}

/** null: too much for one batch. */
function planFor(
  { volume, reader }: KeptPorts,
  victims: KeptVictims,
  batch: readonly Unit[],
): Promise<RewritePlan | null> {
  const spans = batch.flatMap(({ keys }) =>
    keys.map(({ high, low }): KeySpan => ({ high, from: low, to: low + 1 })),
  );
  const roots = snapshotsOf(volume, victims).map(({ root, height }) => ({
    reference: root,
    level: height - 1,
  }));
  const mostBytes = batch.length > 1 ? PLAN_BYTES : Infinity;
  return planRewrite(reader, roots, new KeySpans(spans), mostBytes);
}

/** Those that refer to a victim, as they stand now. */
function snapshotsOf(volume: CleanableVolume, { segments }: KeptVictims): Snapshot[] {
  const naming = [...segments].flatMap((segment) => volume.kept.naming(segment));
  return [...new Set(naming)];
}

async function moveBatch(
  ports: KeptPorts,
  victims: KeptVictims,
  options: KeptOptions,
  batch: readonly Unit[],
  plan: RewritePlan,
): Promise<Outcome> {
  const { volume, gate, log } = ports;
  const blocks = await loadBlocks(ports, batch);
  const before = log.statistics.bytesAppended;
  try {
    return await gate.hold(() =>
      volume.relocate(async (relocation) => {
        if (volume.treesVersion !== victims.version) return "late";
        const map = await writeBlocks(ports, relocation, blocks, options);
        const isDone = await writeTrees(ports, relocation, plan, map, victims);
        return isDone ? "moved" : "late";
      }),
    );
  } catch (error) {
    // What was surveyed is not so any more, or too much at once: the segment stays, and is judged.
    if (error instanceof SmfsError && STAYING.includes(error.code)) return "stays";
    throw error;
  } finally {
    options.onWritten(log.statistics.bytesAppended - before);
  }
}

const STAYING: readonly string[] = ["BUSY", "TOO_LARGE"];

interface LoadedBlock {
  readonly kept: KeptBlock;
  readonly bytes: Uint8Array;
}

async function loadBlocks(
  { volume, counters }: KeptPorts,
  batch: readonly Unit[],
): Promise<LoadedBlock[]> {
  const kept = new Map(
    batch.flatMap(({ block }) => (block === null ? [] : [[block.block, block]])),
  );
  const pieces = [...kept.values()].map(({ block, writtenSeconds }) => {
    return { kind: "shared", inode: 0, block, writtenSeconds } as const;
  });
  const loaded = await loadPieces(volume, pieces);
  counters.damagedBlocks += loaded.damagedBlocks;
  return loaded.pieces.flatMap(({ piece, bytes }) => {
    const block = kept.get(piece.block);
    return block === undefined ? [] : [{ kept: block, bytes }];
  });
}

/** Blocks of snapshots only first: they are the coldest, and go when their snapshots do. */
async function writeBlocks(
  { log, counters }: KeptPorts,
  relocation: Relocation,
  blocks: readonly LoadedBlock[],
  { segmentBytes, maxRecordBytes }: KeptOptions,
): Promise<AddressMap> {
  const moved: MovedBlock[] = [];
  const classes = [
    blocks.filter(({ kept }) => kept.activeItems === 0),
    blocks.filter(({ kept }) => kept.activeItems > 0),
  ];
  for (const some of classes) {
    const bytes = some.reduce((sum, { kept }) => sum + bytesOf(kept.ranges), 0);
    const isAlone = bytes >= segmentBytes * ALONE_SHARE;
    if (isAlone) log.sealSegment();
    for (const record of recordsOf(some, Math.min(RECORD_BYTES, maxRecordBytes))) {
      moved.push(...appendRecord(relocation, record));
      await writtenWhenBehind(log);
    }
    if (isAlone) log.sealSegment();
    counters.movedBytes += bytes;
    counters.movedPieces += some.length;
  }
  return new AddressMap(moved);
}

function bytesOf(ranges: readonly BlockRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from, 0);
}

function recordsOf(blocks: readonly LoadedBlock[], recordBytes: number): LoadedBlock[][] {
  const records: LoadedBlock[][] = [];
  let bytes = 0;
  for (const block of blocks) {
    const { ranges } = block.kept;
    const entries = ranges.length * namesOf(block.kept).length;
    const size = bytesOf(ranges) + entries * MovedEntryLayout.size;
    const record = records.at(-1);
    if (record === undefined || bytes + size > recordBytes) {
      records.push([block]);
      bytes = size;
    } else {
      record.push(block);
      bytes += size;
    }
  }
  return records;
}

/** Of file data with the file offset of the block's byte 0 as `low`. */
function namesOf({ owners, attributes }: KeptBlock): Key[] {
  if (attributes.length > 0) return [...attributes];
  return owners.map(({ inode, start }) => ({ high: keyOf(inode, ITEM.extent), low: start }));
}

interface PlannedRun extends BlockRange, Pick<ExtentItem, "checksum" | "sums"> {
  readonly kept: KeptBlock;
  readonly bytes: Uint8Array;
  readonly bodyOffset: number;
}

function appendRecord(relocation: Relocation, blocks: readonly LoadedBlock[]): MovedBlock[] {
  const runs: PlannedRun[] = [];
  let bodyOffset = 0;
  for (const { kept, bytes: stored } of blocks) {
    for (const { from, to } of kept.ranges) {
      const bytes = stored.subarray(from, to);
      runs.push({ kept, from, to, bytes, ...sumBlock(bytes), bodyOffset });
      bodyOffset += bytes.length;
    }
  }
  const at = relocation.appendBlocks(
    runs.flatMap(entriesOf),
    runs.map(({ bytes }) => bytes),
  );
  return blocks.map(({ kept }) => {
    const own = runs.filter((run) => run.kept === kept);
    return { ...kept, isActive: kept.activeItems > 0, runs: own.map((run) => placed(run, at)) };
  });
}

function entriesOf({ kept, from, bytes, checksum, bodyOffset }: PlannedRun): MovedEntry[] {
  const { segment, offset } = kept.block;
  const isValue = kept.attributes.length > 0;
  return namesOf(kept).map(({ high, low }) => ({
    high,
    low: isValue ? low : low + from,
    bodyOffset,
    storedBytes: bytes.length,
    checksum,
    fromSegment: segment,
    fromOffset: offset + from,
  }));
}

function placed(
  run: PlannedRun,
  at: { readonly segment: number; readonly bodyOffset: number },
): MovedRun {
  const { from, to, bytes, checksum, sums, bodyOffset } = run;
  const { segment } = at;
  const offset = at.bodyOffset + bodyOffset;
  const place = { segment, offset, storedBytes: bytes.length, checksum };
  return { from, to, place: sums === undefined ? place : { ...place, sums } };
}

async function writeTrees(
  ports: KeptPorts,
  relocation: Relocation,
  plan: RewritePlan,
  map: AddressMap,
  victims: KeptVictims,
): Promise<boolean> {
  const { log, volume, counters } = ports;
  const nowSeconds = Math.floor(volume.nowMicros() / 1_000_000);
  const blocks = relocation.newNodes();
  const { known } = relocation;
  rewriteNodes(plan, { map, victims: victims.segments, blocks, known, nowSeconds });
  const trees: RelocatedTree[] = [];
  for (const snapshot of snapshotsOf(volume, victims)) {
    const tree = await finishTree(volume, relocation, plan, snapshot, { map, nowSeconds });
    if (tree === null) continue;
    const { root, height, live: change, nodes } = tree;
    const live = await loadTable(log, snapshot);
    change.applyTo(live);
    const table = relocation.appendTable(live);
    const { totalBytes: referencedBytes } = live;
    const segments = SegmentTable.of(live);
    trees.push({ slot: snapshot.slot, root, height, segments, referencedBytes, table });
    counters.movedNodes += nodes;
    await writtenWhenBehind(log);
  }
  return relocation.commit(map, trees);
}
