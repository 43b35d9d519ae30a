/**
 * Quota of a volume: most bytes of data that files may hold (`dataBytes`, so shared blocks and holes
 * as files see them: every owner's count, holes not at all), and most inodes. It bounds what grows;
 * what exists may be above it, and making less is always allowed. Snapshots do not count.
 */
import { fail } from "../../../lib/errors.ts";
import { NO_QUOTA, type Quota } from "./superblock.ts";

interface Usage {
  readonly inodes: number;
  readonly dataBytes: number;
}

/** `growth`: how an operation changes the counts. EDQUOT. */
export function requireQuota(quota: Quota, used: Usage, growth: Usage): void {
  const { inodes, dataBytes } = growth;
  if (dataBytes > 0 && exceeds(quota.bytes, used.dataBytes + dataBytes)) fail("EDQUOT");
  if (inodes > 0 && exceeds(quota.inodes, used.inodes + inodes)) fail("EDQUOT");
}

function exceeds(limit: number, amount: number): boolean {
  return limit > 0 && amount > limit;
}

/** What a volume of `quota` has room for, of a device that has so much. */
export function spaceWithin(
  { bytes }: Quota,
  { dataBytes }: Pick<Usage, "dataBytes">,
  device: { readonly totalBytes: number; readonly freeBytes: number },
): { totalBytes: number; freeBytes: number } {
  if (bytes === NO_QUOTA.bytes) return device;
  const left = Math.max(0, bytes - dataBytes);
  return {
    totalBytes: Math.min(device.totalBytes, bytes),
    freeBytes: Math.min(device.freeBytes, left),
  };
}

/** Free inodes that are shown when only space bounds them. */
const MANY_INODES = 2 ** 32;

/** Inodes that may still be made. */
export function freeInodesWithin(quota: Quota, { inodes }: Pick<Usage, "inodes">): number {
  return quota.inodes === NO_QUOTA.inodes ? MANY_INODES : Math.max(0, quota.inodes - inodes);
}
