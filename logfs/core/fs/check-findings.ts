/** What a check found: a bounded list, and how much there was in all. */
import type { Address } from "../log/api.ts";
import type { SharedOwner } from "./items.ts";

/** What is wrong, as a stable word for programs. Repair acts on it (`repair-fixes.ts`). */
export type Problem =
  /** The log itself: a segment or a record. */
  | "log"
  /** A tree node that cannot be read, or that stands where it does not belong. */
  | "node"
  /** An item that cannot be decoded, or of a kind that there is not. */
  | "item"
  | "entry-place"
  | "entry-dangling"
  | "entry-type"
  | "attributes-missing"
  | "allocated-bytes"
  | "directory-size"
  | "directory-links"
  | "directory-names"
  | "directory-parent"
  | "entries-in-file"
  | "symlink-size"
  | "truncation"
  | "size"
  | "extent-overlap"
  | "extent-range"
  /** The owners of a shared block. */
  | "shared"
  | "segment-missing"
  /** File data whose checksum differs, or that cannot be read. */
  | "data"
  | "links"
  | "unlinked"
  | "orphan"
  | "unreachable"
  | "root"
  | "next-inode"
  | "counters"
  | "live-bytes";

/**
 * error: something is lost or contradicts itself; warning: only a count is too high; note: nothing
 * is wrong, somebody may want to know.
 */
export type Severity = "error" | "warning" | "note";

export interface Details {
  /** Where the bytes in question stand. */
  readonly address?: Address | null;
  /** Bytes of the file that are affected: from ≤ byte < to. */
  readonly range?: { readonly from: number; readonly to: number } | null;
  /** The inode at the other end; for "links" how many there are. */
  readonly subject?: number | null;
  /** Of a shared block whose item does not list all of them: who has a piece of it. */
  readonly owners?: readonly SharedOwner[] | null;
  /** The item that is wrong. */
  readonly key?: { readonly high: number; readonly low: number } | null;
}

export interface Finding extends Required<Details> {
  readonly severity: Severity;
  readonly problem: Problem;
  /** null: not about one inode. */
  readonly inode: number | null;
  /** A snapshot's name; null: the active tree. */
  readonly snapshot: string | null;
  /** A name that leads there, from the root; null: none does, or it was not asked for. */
  path: Uint8Array | null;
  readonly what: string;
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
  /** Stored blocks whose checksums were verified, and their bytes. */
  verifiedBlocks: number;
  verifiedBytes: number;
  /** Segments that no tree needs: left over until the next drop. And the bytes of their files. */
  deadSegments: number;
  deadBytes: number;
  /** Trees: the active one and the snapshots'. */
  trees: number;
  /** Walks over a tree: more than one when memory is short (`CheckOptions.memoryBytes`). */
  passes: number;
}

/** Kept in full; the rest is only counted. */
export const DEFAULT_MAX_FINDINGS = 1000;

const NO_DETAILS: Details = {};

export class Findings {
  readonly list: Finding[] = [];
  errors = 0;
  warnings = 0;
  /** Tree nodes that could not be read: what stands below them was not looked at. */
  unread = 0;
  /** The tree that is looked at. */
  snapshot: string | null = null;
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  error(problem: Problem, inode: number | null, what: string, details: Details = NO_DETAILS): void {
    this.errors++;
    this.add("error", problem, inode, what, details);
  }

  warning(problem: Problem, inode: number | null, what: string, details = NO_DETAILS): void {
    this.warnings++;
    this.add("warning", problem, inode, what, details);
  }

  note(problem: Problem, what: string, details = NO_DETAILS): void {
    this.add("note", problem, null, what, details);
  }

  private add(
    severity: Severity,
    problem: Problem,
    inode: number | null,
    what: string,
    details: Details,
  ): void {
    if (this.list.length >= this.limit) return;
    const { snapshot } = this;
    const { address = null, range = null, subject = null, key = null, owners = null } = details;
    const about = { severity, problem, inode, snapshot, path: null };
    this.list.push({ ...about, what, address, range, subject, key, owners });
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
    verifiedBytes: 0,
    deadSegments: 0,
    deadBytes: 0,
    trees: 0,
    passes: 0,
  };
}
