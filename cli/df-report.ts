/** How much room a store has and where it went, as the control socket and `smfs df` say it. */
import { formatBytes } from "../lib/units.ts";
import type { VolumeStatistics } from "../logfs/core/fs/api.ts";
import type { SpaceUse } from "../logfs/core/fs/space-use.ts";
import type { FileSegmentStore } from "../logfs/log/store.ts";
import { limitOf } from "./quota-report.ts";

export interface SpaceReport extends SpaceUse {
  readonly schemaVersion: 1;
  readonly store: string;
  /** Of the device, or the store's capacity when that is smaller; and what is free of it. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Kept back for operations that free space. */
  readonly reserveBytes: number;
  /** Of file data, as files count it. */
  readonly dataBytes: number;
  readonly inodes: number;
  /** null: no limit. */
  readonly quotaBytes: number | null;
  readonly quotaInodes: number | null;
  readonly snapshots: number;
}

export function spaceReport(
  path: string,
  files: Pick<FileSegmentStore, "space" | "reserveFileBytes">,
  use: SpaceUse,
  { dataBytes, inodes, quota }: VolumeStatistics,
  snapshots: number,
): SpaceReport {
  return {
    schemaVersion: 1,
    store: path,
    ...files.space(),
    reserveBytes: files.reserveFileBytes,
    ...use,
    dataBytes,
    inodes,
    quotaBytes: limitOf(quota.bytes),
    quotaInodes: limitOf(quota.inodes),
    snapshots,
  };
}

export function describeSpace(report: SpaceReport): string {
  const { totalBytes, freeBytes, usedBytes, segments, liveBytes, pinnedBytes } = report;
  const { reclaimableBytes, reserveBytes, dataBytes, quotaBytes, inodes, quotaInodes } = report;
  const other = Math.max(0, usedBytes - liveBytes - pinnedBytes - reclaimableBytes);
  const rows: readonly (readonly [string, number | string, string])[] = [
    ["capacity", totalBytes, ""],
    ["free", freeBytes, ""],
    ["reserve", reserveBytes, "kept back, so that a full store can be emptied"],
    ["log", usedBytes, `in ${segments} segments:`],
    ["  live", liveBytes, "files and the tree as they are now"],
    ["  pinned", pinnedBytes, `by ${report.snapshots} snapshots`],
    ["  cleanable", reclaimableBytes, "what cleaning would give back"],
    ["  open", other, "of the segment that is being written"],
    ["data", dataBytes, quotaBytes === null ? "no quota" : `of ${formatBytes(quotaBytes)}`],
    ["inodes", String(inodes), quotaInodes === null ? "no quota" : `of ${quotaInodes}`],
  ];
  const lines = rows.map(([name, value, note]) => {
    const size = typeof value === "number" ? formatBytes(value) : value;
    return `${name.padEnd(12)}${size.padStart(12)}  ${note}`.trimEnd();
  });
  return `${report.store}\n${lines.join("\n")}\n`;
}
