/** What a check found: a bounded list, and how much there was in all. */
import type { Address } from "../log/api.ts";

export interface Finding {
  /** error: something is lost or contradicts itself; warning: only a count or a hint is wrong. */
  readonly severity: "error" | "warning";
  /** null: not about one inode. */
  readonly inode: number | null;
  readonly what: string;
  /** Where the bytes in question stand. */
  readonly address: Address | null;
}

/** What was looked at; grows while a check runs. */
export interface CheckTotals {
  treeNodes: number;
  treeBytes: number;
  items: number;
  inodes: number;
  directories: number;
  entries: number;
  extents: number;
  /** Bytes of files and of long attribute values. */
  dataBytes: number;
  /** Stored blocks whose checksums were verified. */
  verifiedBlocks: number;
}

/** Kept in full; the rest is only counted. */
export const DEFAULT_MAX_FINDINGS = 1000;

export class Findings {
  readonly list: Finding[] = [];
  errors = 0;
  warnings = 0;
  /** Tree nodes that could not be read: what stands below them was not looked at. */
  unread = 0;
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  error(inode: number | null, what: string, address: Address | null = null): void {
    this.errors++;
    this.add({ severity: "error", inode, what, address });
  }

  warning(inode: number | null, what: string, address: Address | null = null): void {
    this.warnings++;
    this.add({ severity: "warning", inode, what, address });
  }

  private add(finding: Finding): void {
    if (this.list.length < this.limit) this.list.push(finding);
  }
}

export function emptyTotals(): CheckTotals {
  return {
    treeNodes: 0,
    treeBytes: 0,
    items: 0,
    inodes: 0,
    directories: 0,
    entries: 0,
    extents: 0,
    dataBytes: 0,
    verifiedBlocks: 0,
  };
}
