/**
 * The state of a volume from a damaged log (`rebuildState`): the newest checkpoint that can be read,
 * its tree with empty places where nodes cannot be read, what the log still has of those
 * (`salvage.ts`), and every update behind the checkpoint that can be read.
 */
import { messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader, SegmentStore } from "../log/api.ts";
import { KIND, type RecordHeader } from "../log/format.ts";
import type { LogSummary } from "../log/mend.ts";
import { describeAddress, readRecordHeader, RECORD_HEADER_BYTES } from "../log/record.ts";
import { type SurveyedRecord, surveyLog } from "../log/survey.ts";
import type { NodeCache } from "./cache.ts";
import { type KeyRange, walkTree } from "./check-walk.ts";
import { KeptSnapshots } from "./kept.ts";
import { ChildItem, Node, NodeHeader, Slot } from "./node.ts";
import { historyOf, type KnownCheckpoint, type Span } from "./repair-history.ts";
import type { RepairReport } from "./repair-report.ts";
import { Runner } from "./runner.ts";
import { Salvage } from "./salvage.ts";
import { VolumeState } from "./state.ts";
import { type Checkpoint, decodeCheckpoint } from "./superblock.ts";
import type { Tree } from "./tree.ts";
import { decodeUpdate } from "./update.ts";

export interface Rebuilt {
  readonly state: VolumeState;
  /** Something was lost or brought back: the state differs from what the log says. */
  readonly isChanged: boolean;
}

interface Source {
  readonly store: SegmentStore;
  readonly logId: Uint8Array;
  readonly runner: Runner;
  readonly report: RepairReport;
}

/** Throws `SmfsError` DAMAGED when no checkpoint can be read. */
export async function rebuildState(
  store: SegmentStore,
  logId: Uint8Array,
  summary: LogSummary,
  cache: NodeCache,
  report: RepairReport,
): Promise<Rebuilt> {
  const reader = readerOf(store);
  const runner = new Runner(reader, cache);
  const source = { store, logId, runner, report };
  const { at, checkpoint, skipped } = newestCheckpoint(store, summary, report);
  const kept = await KeptSnapshots.load(reader, checkpoint, KeptSnapshots.NONE);
  const state = VolumeState.at(checkpoint, kept, cache);
  state.checkpoint = { segment: at.segment, offset: at.offset };
  const lost = await takeOutLost(runner, state.tree, report);
  if (lost.length > 0) {
    const known = knownCheckpoints(store, summary);
    await bringBack(source, state, lost, historyOf(known, at.sequence));
  }
  const missed = await replay(source, state, at);
  return { state, isChanged: skipped + lost.length + missed > 0 };
}

/** Bytes at addresses, without a log: of everything that is in the files. */
export function readerOf(store: SegmentStore): Pick<LogReader, "read"> {
  return {
    read: ({ segment, offset }, length, done) => store.read(segment, offset, length, done),
  };
}

export function newestCheckpoint(
  store: SegmentStore,
  { checkpoints }: LogSummary,
  report: RepairReport,
) {
  let skipped = 0;
  for (const at of checkpoints.toReversed()) {
    const found = tryDecode(store, at);
    if (!(found instanceof SmfsError)) return { at, checkpoint: found, skipped };
    skipped++;
    const what = `the checkpoint at ${describeAddress(at)} cannot be read (${messageOf(found)})`;
    report.done("superblock", `${what}: the one before and what follows it are used`, at);
  }
  throw new SmfsError("DAMAGED", "no checkpoint can be read: there is nothing to start from");
}

function tryDecode(store: SegmentStore, { segment, offset }: Address): Checkpoint | SmfsError {
  try {
    const header = readRecordHeader(store.readSync(segment, offset, RECORD_HEADER_BYTES), 0);
    const from = offset + RECORD_HEADER_BYTES;
    return decodeCheckpoint(store.readSync(segment, from, header.metadataBytes));
  } catch (error) {
    if (error instanceof SmfsError) return error;
    throw error;
  }
}

function knownCheckpoints(store: SegmentStore, { checkpoints }: LogSummary): KnownCheckpoint[] {
  return checkpoints.flatMap((at) => {
    const checkpoint = tryDecode(store, at);
    return checkpoint instanceof SmfsError ? [] : [{ ...at, checkpoint }];
  });
}

/** Every node that cannot be read becomes an empty one; gives their ranges of keys. */
async function takeOutLost(runner: Runner, tree: Tree, report: RepairReport): Promise<KeyRange[]> {
  const lost: { slot: Slot; range: KeyRange }[] = [];
  await walkTree(runner, tree.root, {
    onLeaf: () => {},
    onUnreadable: (slot, range, error) => {
      lost.push({ slot, range });
      report.done("node", `${messageOf(error)}: made again from the log`, slot.reference);
    },
  });
  for (const { slot, range } of lost) placeEmpty(tree, slot, range);
  return lost.map(({ range }) => range);
}

/** A node without items, and below it one child down to a leaf. */
function placeEmpty(tree: Tree, slot: Slot, { from }: KeyRange): void {
  if (slot.reference !== null) tree.replaced.push(slot.reference);
  slot.reference = null;
  let at = slot;
  for (;;) {
    const node = new Node(at.level);
    at.node = node;
    if (node.level > 0) {
      const child = new Slot(node.level - 1, null, null);
      node.highs.push(from.high);
      node.lows.push(from.low);
      node.children.push(child);
      node.bytes += ChildItem.size;
      at = child;
    }
    tree.dirtyBytes += node.bytes;
    if (node.level === 0) return;
  }
}

async function bringBack(
  source: Source,
  { tree }: VolumeState,
  ranges: readonly KeyRange[],
  history: readonly Span[],
): Promise<void> {
  const salvage = new Salvage(ranges, tree.nodeBytes);
  const last = history.at(-1)?.to ?? 0;
  for (const { record } of recordsOf(source, 0)) {
    const { sequence } = record.header;
    if (sequence > last) break;
    if (!history.some(({ from, to }) => from < sequence && sequence <= to)) continue;
    if (record.header.kind === KIND.nodes) {
      const body = record.body();
      if (body !== null) salvage.nodes(body);
    } else if (record.header.kind === KIND.update) {
      const metadata = record.metadata();
      if (metadata !== null) salvage.update(decodeUpdate(metadata, tree.maxValueBytes).changes);
    }
  }
  for (const { from } of ranges) await touch(source.runner, tree, from);
  for (const { high, low, value } of salvage.found()) {
    await source.runner.run(() => {
      tree.prepare(high, low, false);
      tree.put(high, low, value);
    });
  }
  source.report.done("salvage", `${salvage.count} items of lost tree nodes were found in the log`);
}

/** An item comes and goes: the empty leaf is written, or joined with its neighbour if it stays empty. */
async function touch(runner: Runner, tree: Tree, { high, low }: KeyRange["from"]): Promise<void> {
  await runner.run(() => {
    tree.prepare(high, low, true);
    if (tree.get(high, low) === undefined) tree.put(high, low, new Uint8Array(NodeHeader.size));
  });
  await runner.run(() => {
    tree.prepare(high, low, true);
    tree.delete(high, low);
  });
}

/** Applies what stands behind the checkpoint; gives how many records cannot be read. */
async function replay(
  source: Source,
  state: VolumeState,
  from: Address & { readonly sequence: number },
): Promise<number> {
  let missed = 0;
  let sequence = from.sequence;
  for (const { record } of recordsOf(source, from.segment)) {
    const { header } = record;
    if (header.sequence <= from.sequence) continue;
    const between = header.sequence - sequence - 1;
    if (between > 0)
      source.report.leave("log", `${between} records before ${header.sequence} are lost`);
    missed += between;
    sequence = header.sequence;
    if (header.kind === KIND.checkpoint && record.metadata() === null) {
      missed++;
      const what = "a checkpoint that cannot be read: an older one and what follows it are used";
      source.report.done("superblock", what, record);
    }
    if (header.kind !== KIND.update) continue;
    const metadata = record.metadata()?.slice();
    if (metadata !== undefined) await apply(source.runner, state, metadata, header);
    else {
      missed++;
      source.report.leave("log", `record ${sequence}: what it changed cannot be read`, record);
    }
  }
  return missed;
}

async function apply(
  runner: Runner,
  state: VolumeState,
  metadata: Uint8Array,
  { segment, bodyBytes, timeMicros }: RecordHeader,
): Promise<void> {
  const update = decodeUpdate(metadata, state.tree.maxValueBytes);
  const body = { segment, bytes: bodyBytes, writtenSeconds: Math.floor(timeMicros / 1_000_000) };
  await runner.run(() => {
    state.prepare(update.changes);
    state.apply(update, body);
  });
}

function* recordsOf({ store, logId }: Source, firstSegment: number): Generator<SurveyedRecord> {
  for (const part of surveyLog(store, logId, firstSegment)) if (part.kind === "record") yield part;
}
