/** What the cleaner needs of a log, and of a volume beyond what operations need: `TreeVolume` has it. */
import type { Address } from "../../log/api.ts";
import type { Log } from "../../log/log.ts";
import type { Volume } from "../api.ts";
import type { KeptSnapshots } from "../kept.ts";
import type { LiveBytes } from "../live-bytes.ts";
import type { NodeHead } from "../node.ts";
import type { Relocation } from "../relocating.ts";
import type { SegmentSet } from "../segment-set.ts";
import type { Snapshot } from "../snapshot.ts";
import type { TreeAccess } from "../snapshot-volume.ts";

export type CleanerLog = Pick<
  Log,
  | "read"
  | "segments"
  | "checkpoint"
  | "endAddress"
  | "head"
  | "failure"
  | "sealSegment"
  | "unwrittenBytes"
  | "whenWritten"
  | "whenDurable"
  | "statistics"
  | "subscribe"
>;

export interface CleanableVolume extends Volume {
  /** Of the active tree, now. */
  readonly live: Pick<LiveBytes, "of" | "writtenSecondsOf">;
  /** Segments that this state needs, and a replay of the log up to it. */
  readonly needed: Pick<SegmentSet, "has">;
  /** Bytes of nodes, by segment, that are in `live` until the next checkpoint. */
  readonly replaced: ReadonlyMap<number, number>;
  /** Segments that snapshots need. */
  readonly pinned: Pick<SegmentSet, "has">;
  readonly kept: Pick<
    KeptSnapshots,
    "mostOf" | "writtenSecondsOf" | "naming" | "unknown" | "tableBytes" | "list" | "current"
  >;
  /** Another one when a snapshot was taken or returned to: what was known of who refers to what is void. */
  readonly treesVersion: string;
  /** The tree of a snapshot, in memory. */
  treeAt(snapshot: Pick<Snapshot, "height" | "root">): TreeAccess;
  /** Only one at a time. While it is under way checkpoints that are due wait, within limits. */
  relocate<T>(work: (relocation: Relocation) => Promise<T>): Promise<T>;
  /**
   * When the tree still has this node at this address, the next checkpoint writes it somewhere else.
   * Gives whether it has.
   */
  touch(at: Address, node: NodeHead): boolean | Promise<boolean>;
  /** The next checkpoint moves the snapshots' tables that stand in this segment. */
  moveTables(segment: number): Promise<void>;
  /**
   * Writes some of what is dirty, so that the checkpoint, which is one step, finds little left; gives
   * whether there is more. Throws what the log throws.
   */
  writeAhead(): boolean;
  /** `needed`: only when there is something to write. Throws what the log throws. */
  checkpoint(when?: "needed" | "always"): number;
}
