/** A quota as the control socket and `smfs quota` say it. */
import type { VolumeStatistics } from "../logfs/core/fs/api.ts";
import type { Quota } from "../logfs/core/fs/superblock.ts";

export interface QuotaReport {
  readonly schemaVersion: 1;
  readonly usedBytes: number;
  /** null: no limit. */
  readonly limitBytes: number | null;
  readonly usedInodes: number;
  readonly limitInodes: number | null;
}

/** undefined: stays as it is; 0: no limit. */
export interface QuotaChange {
  readonly bytes: number | undefined;
  readonly inodes: number | undefined;
}

export function quotaOf(now: Quota, { bytes, inodes }: QuotaChange): Quota {
  return { bytes: bytes ?? now.bytes, inodes: inodes ?? now.inodes };
}

export function quotaReport({ quota, dataBytes, inodes }: VolumeStatistics): QuotaReport {
  return {
    schemaVersion: 1,
    usedBytes: dataBytes,
    limitBytes: limitOf(quota.bytes),
    usedInodes: inodes,
    limitInodes: limitOf(quota.inodes),
  };
}

export function limitOf(limit: number): number | null {
  return limit === 0 ? null : limit;
}
