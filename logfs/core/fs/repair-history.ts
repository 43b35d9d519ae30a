/**
 * Which records made the present state: all up to it, but for what was rolled back. A roll-back is a
 * checkpoint with the root of a snapshot; what was written between the two is no part of the state.
 */
import type { Address } from "../log/api.ts";
import type { NodeReference } from "./node.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Checkpoint } from "./superblock.ts";

/** Records from < sequence ≤ to. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface KnownCheckpoint extends Address {
  readonly sequence: number;
  readonly checkpoint: Pick<Checkpoint, "root" | "snapshots">;
}

/** The spans of the state after record `upTo`, ascending. `checkpoints`: those known, oldest first. */
export function historyOf(checkpoints: readonly KnownCheckpoint[], upTo: number): Span[] {
  const spans: Span[] = [];
  let to = upTo;
  for (const { at, taken } of rollBacks(checkpoints).toReversed()) {
    if (at > to) continue;
    spans.unshift({ from: at, to });
    to = taken;
  }
  return [{ from: 0, to }, ...spans];
}

interface RollBack {
  /** Sequence of the checkpoint that rolled back, and of the one that took the snapshot. */
  readonly at: number;
  readonly taken: number;
}

function rollBacks(checkpoints: readonly KnownCheckpoint[]): RollBack[] {
  const found: RollBack[] = [];
  const taken = new Map<string, number>();
  let before: KnownCheckpoint["checkpoint"] | null = null;
  for (const { sequence, checkpoint } of checkpoints) {
    const { root, snapshots } = checkpoint;
    const source = snapshots.find((one) => isSamePlace(one.root, root) && taken.has(nameOf(one)));
    const isBack = source !== undefined && before !== null && !isSamePlace(before.root, root);
    if (isBack) found.push({ at: sequence, taken: taken.get(nameOf(source)) ?? 0 });
    for (const one of snapshots) if (!taken.has(nameOf(one))) taken.set(nameOf(one), sequence);
    before = checkpoint;
  }
  return found;
}

function nameOf({ slot, sequence, createdMicros }: Snapshot): string {
  return `${slot} ${sequence} ${createdMicros}`;
}

function isSamePlace(a: NodeReference, b: NodeReference): boolean {
  return a.segment === b.segment && a.offset === b.offset;
}
