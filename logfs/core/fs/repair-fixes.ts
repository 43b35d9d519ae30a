/**
 * From findings to repairs. What a repair changes may be what another finding is about, so they are
 * done in stages, and everything is checked again between them: first items that cannot be read,
 * then inodes that are missing, then single items, then names, then what must add up.
 */
import { ROOT_INODE, type Timestamp } from "../vfs.ts";
import type { Transaction } from "./api.ts";
import type { Finding, Problem } from "./check-findings.ts";
import {
  inodeOf,
  ITEM,
  keyOf,
  kindOf,
  LOW_END,
  type SharedOwner,
  sharedSegmentOf,
} from "./items.ts";
import {
  agreeOnOrphan,
  agreeOnTruncation,
  correctOwners,
  correctSymlinkSize,
  dropExtent,
  dropXattrsAt,
  growToData,
  makeAttributes,
  moveXattr,
  recountAllocated,
  separateExtents,
  zeroRange,
} from "./repair-items.ts";
import {
  attributesOf,
  correctEntryType,
  correctLinks,
  makeRoot,
  moveEntry,
  reconnect,
  recount,
  removeEntriesTo,
} from "./repair-names.ts";
import { updateInode } from "./inodes.ts";

const STAGES: readonly (readonly Problem[])[] = [
  ["item"],
  ["root"],
  ["attributes-missing"],
  ["extent-range", "extent-overlap", "entry-place", "entries-in-file", "shared"],
  ["entry-dangling", "entry-type", "directory-names"],
  ["directory-parent", "unreachable", "links", "unlinked", "orphan", "truncation"],
  ["allocated-bytes", "directory-size", "directory-links", "symlink-size", "size"],
];

/** Findings that can be repaired now: those of the first stage that has any. */
export function nextStage(findings: readonly Finding[]): readonly Finding[] {
  const active = findings.filter(({ snapshot }) => snapshot === null);
  for (const stage of STAGES) {
    const due = active.filter(({ problem }) => stage.includes(problem));
    if (due.length > 0) return due;
  }
  return [];
}

export interface FixContext {
  readonly now: Timestamp;
  /** Seed of the volume's names, for a root that has to be made. */
  readonly nameSeed: number;
  /** Directories that have a name of the inode, as far as it is about one of several. */
  readonly namedIn: readonly number[];
}

/** Repairs one finding; gives what was done, in words. Throws `FsError` or `SmfsError` when it cannot. */
export function fix(transaction: Transaction, finding: Finding, context: FixContext): string {
  const { problem, inode, subject, key } = finding;
  switch (problem) {
    case "item":
    case "entry-place":
    case "extent-range":
    case "extent-overlap":
    case "shared":
      return key === null ? NOTHING : fixItem(transaction, problem, key, finding.owners ?? []);
    case "unreachable":
    case "unlinked":
    case "orphan":
    case "truncation":
    case "attributes-missing":
    case "allocated-bytes":
    case "directory-size":
    case "directory-links":
    case "symlink-size":
    case "size":
    case "entries-in-file":
      return inode === null ? NOTHING : fixInode(transaction, problem, inode, context);
    case "entry-dangling":
    case "entry-type":
    case "directory-parent":
    case "links":
      if (inode === null || subject === null) return NOTHING;
      return fixPair(transaction, problem, inode, subject);
    case "directory-names":
      return inode === null ? NOTHING : keepOneName(transaction, inode, context.namedIn);
    case "root":
      for (const directory of context.namedIn) removeEntriesTo(transaction, directory, ROOT_INODE);
      makeRoot(transaction, context.nameSeed, context.now);
      return "made again; it stands in itself";
    case "log":
    case "node":
    case "segment-missing":
    case "data":
    case "next-inode":
    case "counters":
    case "live-bytes":
      return NOTHING;
  }
}

const NOTHING = "";

type ItemProblem = "item" | "entry-place" | "extent-range" | "extent-overlap" | "shared";

function fixItem(
  transaction: Transaction,
  problem: ItemProblem,
  key: NonNullable<Finding["key"]>,
  owners: readonly SharedOwner[],
): string {
  const { high, low } = key;
  const inode = inodeOf(high);
  switch (problem) {
    case "item":
      transaction.delete(high, low);
      return "removed";
    case "entry-place":
      if (kindOf(high) === ITEM.xattr) moveXattr(transaction, inode, low);
      else moveEntry(transaction, inode, low);
      return "moved to where its name leads";
    case "extent-range":
      dropExtent(transaction, inode, low);
      return "removed: those bytes of the file are a hole";
    case "extent-overlap":
      separateExtents(transaction, inode, low);
      return "the extent before it ends there";
    case "shared":
      correctOwners(transaction, sharedSegmentOf(high) ?? 0, key, owners);
      return "owners corrected";
  }
}

type InodeProblem =
  | "unreachable"
  | "unlinked"
  | "orphan"
  | "truncation"
  | "attributes-missing"
  | "allocated-bytes"
  | "directory-size"
  | "directory-links"
  | "symlink-size"
  | "size"
  | "entries-in-file";

function fixInode(
  transaction: Transaction,
  problem: InodeProblem,
  inode: number,
  { now }: FixContext,
): string {
  switch (problem) {
    case "unreachable":
      return reconnect(transaction, inode, now);
    case "unlinked":
    case "orphan":
      return agreeOnOrphan(transaction, inode);
    case "truncation":
      agreeOnTruncation(transaction, inode);
      return "the pending truncation agrees with the inode's mark";
    case "attributes-missing":
      makeAttributes(transaction, inode, now);
      return "attributes made, of mode 0600 and root's";
    case "allocated-bytes":
      recountAllocated(transaction, inode);
      return "counted again";
    case "directory-size":
    case "directory-links":
      recount(transaction, inode);
      return "counted again";
    case "symlink-size":
      correctSymlinkSize(transaction, inode);
      return "size corrected";
    case "size":
      growToData(transaction, inode);
      return "the size takes in the data";
    case "entries-in-file":
      return removeEntries(transaction, inode);
  }
}

function removeEntries(transaction: Transaction, inode: number): string {
  const high = keyOf(inode, ITEM.entry);
  const lows: number[] = [];
  transaction.scan(high, 0, LOW_END, (low) => lows.push(low) < MAX_ENTRIES);
  for (const low of lows) transaction.delete(high, low);
  return `${lows.length} entries removed; what they named is looked for`;
}

/** Entries removed in one record. */
const MAX_ENTRIES = 4096;

function fixPair(
  transaction: Transaction,
  problem: "entry-dangling" | "entry-type" | "directory-parent" | "links",
  inode: number,
  subject: number,
): string {
  switch (problem) {
    case "entry-dangling":
      return `${removeEntriesTo(transaction, inode, subject)} entries removed`;
    case "entry-type":
      correctEntryType(transaction, inode, subject);
      return "the entry says what its inode is";
    case "directory-parent":
      updateInode(transaction, inode, (item) => {
        item.parent = subject;
      });
      return "it says where it stands";
    case "links":
      correctLinks(transaction, inode, subject);
      return `it says ${subject} links`;
  }
}

/** The name in the directory that it says it stands in is the one that stays. */
function keepOneName(transaction: Transaction, inode: number, namedIn: readonly number[]): string {
  const parent = attributesOf(transaction, inode)?.parent;
  const kept = namedIn.find((directory) => directory === parent) ?? namedIn[0];
  let hasName = false;
  for (const directory of new Set(namedIn)) {
    if (directory !== kept) removeEntriesTo(transaction, directory, inode);
    else hasName = true;
  }
  const twice = namedIn.filter((directory) => directory === kept).length > 1;
  if (twice && kept !== undefined) removeEntriesTo(transaction, kept, inode);
  return hasName && !twice ? "one name kept" : "its names removed";
}

/** Damaged data becomes a hole, a damaged attribute goes. */
export function zero(transaction: Transaction, { inode, range, address }: Finding): string {
  if (inode === null) return NOTHING;
  if (range !== null) {
    zeroRange(transaction, inode, range);
    return `bytes ${range.from}–${range.to - 1} are zeros now`;
  }
  if (address === null) return NOTHING;
  return `${dropXattrsAt(transaction, inode, address)} extended attributes removed`;
}
