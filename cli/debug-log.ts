/** One part of a log in words: a segment's header, a record with what it says, a gap. */
import { messageOf, SmfsError } from "../lib/errors.ts";
import { toHex } from "../lib/bytes.ts";
import { viewOf } from "../lib/codec.ts";
import { MAX_VALUE_BYTES } from "../logfs/core/fs/api.ts";
import { inodeOf } from "../logfs/core/fs/items.ts";
import { decodeMoved } from "../logfs/core/fs/moved.ts";
import { decodeCheckpoint } from "../logfs/core/fs/superblock.ts";
import { decodeUpdate } from "../logfs/core/fs/update.ts";
import { EpochStart, KIND, SealSummary } from "../logfs/core/log/format.ts";
import type { ScannedRecord } from "../logfs/core/log/scan.ts";
import type { Surveyed } from "../logfs/core/log/survey.ts";
import { describeItem, textOf } from "./debug-items.ts";
import type { Line } from "./output.ts";

export interface LogFilter {
  readonly from: number;
  readonly to: number;
  /** One of KIND; null: every kind, and what is no record. */
  readonly kind: number | null;
}

export function isWanted(part: Surveyed, { from, to, kind }: LogFilter): boolean {
  if (part.kind !== "record") return kind === null && from === 0;
  const { header } = part.record;
  const isOfKind = kind === null || header.kind === kind;
  return isOfKind && header.sequence >= from && header.sequence <= to;
}

export function describePart(part: Surveyed): Line {
  switch (part.kind) {
    case "segment": {
      const { segment, bytes, header, problem } = part;
      const about =
        header === null
          ? `DAMAGED: ${problem}`
          : `first record ${header.firstSequence}, checkpoint before at segment ${header.checkpointSegment} offset ${header.checkpointOffset}`;
      const { logId, ...rest } = header ?? {};
      const fields = { type: "segment", segment, bytes, problem, ...rest };
      const id = logId === undefined ? {} : { logId: toHex(logId) };
      return { text: `segment ${segment}, ${bytes} bytes: ${about}`, fields: { ...fields, ...id } };
    }
    case "gap": {
      const { segment, from, to, problem, isFollowed } = part;
      const what = isFollowed ? "DAMAGED" : "torn or damaged tail";
      const text = `  ${segment}:${from} … ${to}: ${what}: ${problem}`;
      return { text, fields: { type: "gap", segment, from, to, problem, isFollowed } };
    }
    case "record":
      return describeRecord(part.record, part.isNext);
  }
}

function describeRecord(record: ScannedRecord, isNext: boolean): Line {
  const { logId, padding: _, magic: __, ...header } = { padding: 0, ...record.header };
  const kind = nameOfKind(header.kind);
  const metadata = record.metadata();
  const problem = problemOf(record, metadata, isNext);
  const content = metadata === null ? { lines: [], fields: {} } : contentOf(header.kind, metadata);
  const time = new Date(header.timeMicros / 1000).toISOString();
  const head = [
    `  ${header.segment}:${header.offset}`,
    `#${header.sequence}`,
    kind,
    `${header.metadataBytes}+${header.bodyBytes} bytes`,
    time,
    `epoch ${Math.floor(header.epoch / 2 ** 32)}.${header.epoch % 2 ** 32}`,
    `durable ${header.durableSequence}`,
    ...(problem === null ? [] : [`DAMAGED: ${problem}`]),
  ];
  const text = [head.join("  "), ...content.lines.map((line) => `      ${line}`)].join("\n");
  const fields = { type: "record", ...header, kind, time, problem, logId: toHex(logId) };
  return { text, fields: { ...fields, ...content.fields } };
}

function nameOfKind(kind: number): string {
  return Object.entries(KIND).find(([, number]) => number === kind)?.[0] ?? `kind ${kind}`;
}

function problemOf(
  record: ScannedRecord,
  metadata: Uint8Array | null,
  isNext: boolean,
): string | null {
  if (!isNext) return "records before it are missing";
  if (metadata === null) return "its metadata part does not verify";
  return record.body() === null ? "its body part does not verify" : null;
}

interface Content {
  readonly lines: readonly string[];
  readonly fields: object;
}

function contentOf(kind: number, metadata: Uint8Array): Content {
  // A copy: reading the body moves the window that it is a view of.
  const bytes = metadata.slice();
  try {
    return decodeContent(kind, bytes);
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    return { lines: [`DAMAGED: ${messageOf(error)}`], fields: { content: messageOf(error) } };
  }
}

function decodeContent(kind: number, metadata: Uint8Array): Content {
  switch (kind) {
    case KIND.update:
      return updateContent(metadata);
    case KIND.checkpoint:
      return checkpointContent(metadata);
    case KIND.moved:
      return movedContent(metadata);
    case KIND.seal: {
      const seal = SealSummary.decode(viewOf(metadata), 0);
      return { lines: [`${seal.records} records in ${seal.usedBytes} bytes`], fields: { seal } };
    }
    case KIND.epoch: {
      const { writerId, ...start } = EpochStart.decode(viewOf(metadata), 0);
      const writer = toHex(writerId);
      return { lines: [`writer ${writer}`], fields: { start: { ...start, writerId: writer } } };
    }
    default:
      return { lines: [], fields: {} };
  }
}

function movedContent(metadata: Uint8Array): Content {
  const moved = decodeMoved(metadata);
  const lines = moved.map(({ high, low, bodyOffset, storedBytes, fromSegment, fromOffset }) => {
    const from = `${fromSegment}:${fromOffset}`;
    return `inode ${inodeOf(high)}, ${low}: ${storedBytes} bytes from ${from}, at ${bodyOffset} of the body`;
  });
  return { lines, fields: { moved } };
}

function updateContent(metadata: Uint8Array): Content {
  const { changes, frees, ...counts } = decodeUpdate(metadata, MAX_VALUE_BYTES);
  const items = changes.map(({ high, low, value }) => describeItem(high, low, value));
  const freed = frees.map(
    ({ segment, offset, length }) => `frees ${length} bytes at ${segment}:${offset}`,
  );
  return { lines: [...items.map(textOf), ...freed], fields: { ...counts, items, frees } };
}

function checkpointContent(metadata: Uint8Array): Content {
  const { live, volumeId, snapshots, root, ...counts } = decodeCheckpoint(metadata);
  const { entries, totalBytes } = live;
  const lines = [
    `root ${root.segment}:${root.offset}, ${root.length} bytes, height ${counts.height}`,
    `${counts.inodes} inodes, ${counts.dataBytes} bytes of data, next inode ${counts.nextInode}`,
    `${totalBytes} live bytes in ${entries.length} segments, ${snapshots.length} snapshots`,
    ...snapshots.map(
      ({ name, slot, sequence }) => `snapshot ${name} in slot ${slot} of #${sequence}`,
    ),
  ];
  const volume = { ...counts, volumeId: toHex(volumeId), root, live: entries, snapshots };
  return { lines, fields: { volume } };
}
